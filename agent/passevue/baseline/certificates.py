"""The certificates of a box, by what each is for, as its configuration names their files. Reads only public halves."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from passevue.baseline.machine import Machine, Unmeasurable
from passevue.config import Config

MAX_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Held:
    """One certificate in use.

    Attributes:
        setting: its key in the configuration, `structures.0.auth_certificate`.
        role: `dmp` (TLS client of a structure), `sign`, `listener`, `psc`, `pacs` (TLS client towards the PACS).
        structure: StructIdNat that it must be of; "" for others.
    """

    setting: str
    role: str
    path: Path
    structure: str = ""


def in_use(config: Config) -> Iterator[Held]:
    """Every certificate that the configuration names, in its order."""
    for index, one in enumerate(config.structures):
        yield Held(f"structures.{index}.auth_certificate", "dmp", one.auth_certificate, one.id)
        yield Held(f"structures.{index}.sign_certificate", "sign", one.sign_certificate, one.id)
    if config.psc is not None and config.psc.certificate is not None:
        yield Held("psc.certificate", "psc", config.psc.certificate)
    sections = {
        "ris": config.ris.tls,
        "modality": config.modality.tls,
        "page": config.page.tls,
    }
    for name, tls in sections.items():
        if tls is not None:
            yield Held(f"{name}.tls.certificate", "listener", tls.certificate)
    if config.pacs is not None and config.pacs.tls is not None:
        yield Held("pacs.tls.certificate", "pacs", config.pacs.tls.certificate)


def read(machine: Machine, held: Held) -> x509.Certificate:
    """The first certificate of its file. Raises: Unmeasurable."""
    try:
        return x509.load_pem_x509_certificates(machine.read_bytes(held.path, MAX_BYTES))[0]
    except (OSError, ValueError, IndexError) as err:
        raise Unmeasurable(f"{held.setting} cannot be read") from err


def authorities(machine: Machine, setting: str, path: Path) -> list[x509.Certificate]:
    """All of a file of authorities. Raises: Unmeasurable."""
    try:
        return x509.load_pem_x509_certificates(machine.read_bytes(path, 4 * MAX_BYTES))
    except (OSError, ValueError) as err:
        raise Unmeasurable(f"{setting} cannot be read") from err


def public_key(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
