"""CERT-04: each endpoint trusts the authorities of its own file, of one realm, and never those of the system."""

from pathlib import Path

from cryptography import x509

from passevue.baseline.certificates import authorities
from passevue.baseline.machine import Machine
from passevue.baseline.remedies import CONFIG
from passevue.baseline.rule import Effect, Event, Finding, Level, Rule, Text, When, failed, passed
from passevue.config import Config, Pacs
from passevue.national.certificate import is_test_authority


def check(machine: Machine) -> Finding:
    config = machine.config
    if config.psc is not None and config.psc.authority is None:
        return failed("psc.authority is not set: the authorities of the system are trusted")
    if config.pacs is not None and _under_tls(config.pacs) and config.pacs.authority is None:
        return failed("pacs.authority is not set: the authorities of the system are trusted")
    stores = _stores(config)
    for setting, path in stores.items():
        found = authorities(machine, setting, path)
        if not found or not all(_may_certify(one) for one in found):
            return failed(f"{setting} holds something else than authorities")
        if setting in ("registry.authority", "trust.authority"):
            test = {is_test_authority(one) for one in found}
            if test != {config.box.realm == "test"}:
                return failed(f"{setting} is not of the {config.box.realm} realm alone")
    return passed(f"{len(stores)} files of authorities")


def _under_tls(pacs: Pacs) -> bool:
    return pacs.tls is not None or (pacs.dicomweb_url is not None and pacs.dicomweb_url.scheme == "https")


def _stores(config: Config) -> dict[str, Path]:
    stores: dict[str, Path | None] = {"registry.authority": config.registry.authority}
    stores["trust.authority"] = config.trust.authority if config.trust is not None else None
    stores["psc.authority"] = config.psc.authority if config.psc is not None else None
    stores["pacs.authority"] = config.pacs.authority if config.pacs is not None else None
    return {setting: path for setting, path in stores.items() if path is not None}


def _may_certify(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


RULE = Rule(
    id="CERT-04",
    slug="anchors_per_endpoint",
    level=Level.MUST,
    effect=Effect.BLOCK,
    when=frozenset({When.START}),
    title=Text(
        "Chaque service n’est cru que sur la foi de ses propres autorités",
        "Each service is believed on the word of its own authorities alone",
    ),
    why=Text(
        "Parmi les centaines d’autorités du web, une seule compromise suffirait à se faire passer pour le DMP.",
        "Among the web’s hundreds of authorities, one compromised would be enough to pose as the DMP.",
    ),
    expected="a file of authorities for each endpoint, all of the realm; none of the system",
    remedy=CONFIG,
    source="TLS R8, BP R59",
    check=check,
    on=frozenset({Event.CONFIG}),
    appliance_only=False,
)
