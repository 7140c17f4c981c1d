"""The one configuration file: TOML, a section per neighbour, checked whole at start.

Every setting has a safe default where one exists, its unit in its name, and a line that says what it is: the same text
makes `passevue config example`. Unknown keys are errors. Nothing here turns a control off. Secrets are not settings:
private keys are read from files that systemd hands over (`credentials_dir`) or stay in a card or TPM.
"""

import tomllib
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError

from passevue.errors import ConfigError

Network = IPv4Network | IPv6Network
Port = Annotated[int, Field(ge=1, le=65535)]
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
Oid = Annotated[str, Field(max_length=64, pattern=r"^[0-2](\.(0|[1-9]\d*))+$")]
Seconds = Annotated[float, Field(gt=0)]
LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(Section):
    """Certificate of one of our listeners, and who may speak to it."""

    certificate: Path = Field(description="PEM file: our certificate, then its chain")
    key: Path = Field(description="PEM file: its private key, readable by the box only")
    client_authority: Path | None = Field(
        None, description="PEM file: authorities of the neighbours' certificates; asked for when set"
    )


class Box(Section):
    """The box itself."""

    name: str = Field(description="name of this box, as shown on its page", max_length=60)
    data_dir: Path = Field(description="folder of the queue, the images and the audit trail")
    oid: Oid = Field(description="OID of this box: XDSSubmissionSet.sourceId, root of what it identifies")
    manufacturer: str = Field("Passevue", description="DICOM Manufacturer written in each KOS", max_length=64)
    timezone: str = Field("Europe/Paris", description="time zone of the centre, for the dates of the KOS")
    realm: Literal["production", "test"] = Field(
        "production", description="which IGC-Santé chain and which INS OIDs are taken"
    )
    retrieve_url: HttpUrl = Field(description="https address under which other DRIMboxes fetch images from this box")
    credentials_dir: Path | None = Field(None, description="folder of private keys; default: what systemd hands over")


class Ris(Section):
    """The RIS, or the intermediation platform: HL7 v2 over MLLP."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(2575, description="port to listen on")
    tls: Tls | None = Field(None, description="MLLP over TLS when set")
    senders: tuple[Network, ...] = Field(LOOPBACK, description="networks that may connect")
    applications: tuple[str, ...] = Field(
        (), description="MSH-3 (or MSH-3|MSH-4) that may send; empty: any of the networks above"
    )
    max_message_bytes: int = Field(16 << 20, ge=1 << 16, le=64 << 20, description="largest message taken")
    max_connections: int = Field(64, ge=1, le=1024, description="connections open at once")
    max_connections_per_peer: int = Field(20, ge=1, le=1024, description="connections open at once from one address")
    idle_timeout_s: Seconds = Field(30, description="longest silence inside a message")
    message_timeout_s: Seconds = Field(300, description="longest time for one message to come whole")
    keep_open_s: Seconds = Field(3600, description="longest silence between two messages")


class Modality(Section):
    """Modalities, and the PACS when it sends: DICOM storage, commitment and notes."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(11112, description="port to listen on")
    ae_title: AeTitle = Field("PASSEVUE", description="our AE title: associations that call another are rejected")
    tls: Tls | None = Field(None, description="DICOM over TLS (BCP 195 profile) when set")
    callers: dict[AeTitle, tuple[Network, ...]] = Field(
        default_factory=dict, description="calling AE titles taken, each with its networks"
    )
    commitment_peers: dict[AeTitle, str] = Field(
        default_factory=dict,
        description="AE title = host:port, where commitment results go when the association has closed",
    )
    max_pdu_bytes: int = Field(1 << 20, ge=4096, le=1 << 20, description="longest PDU taken")
    max_associations: int = Field(40, ge=1, le=256, description="associations open at once")
    first_pdu_timeout_s: Seconds = Field(10, description="longest wait for the association request")
    idle_timeout_s: Seconds = Field(60, description="longest silence on an association")
    max_object_bytes: int = Field(4 << 30, ge=1 << 20, description="largest object taken")


class Images(Section):
    """Images that the box keeps itself."""

    retention_days: int = Field(
        30, ge=1, description="days an object is kept after it came, if its study is not published"
    )
    budget_bytes: int = Field(
        200 << 30, ge=1 << 30, description="room for images; the oldest unpublished go first, then intake says no"
    )


class Pacs(Section):
    """The PACS of the centre. Left out: the box's own images are the PACS."""

    host: str = Field(description="address of the PACS")
    port: Port = Field(104, description="DICOM port of the PACS")
    ae_title: AeTitle = Field(description="AE title of the PACS")
    our_ae_title: AeTitle = Field("PASSEVUE", description="AE title that the PACS knows us by")
    tls: Tls | None = Field(None, description="DICOM over TLS towards the PACS when set")
    authority: Path | None = Field(None, description="PEM file: authority of the PACS's certificate")
    retrieve: Literal["c-get", "c-move", "wado-rs"] = Field("c-get", description="how key image notes are fetched")
    dicomweb_url: HttpUrl | None = Field(None, description="QIDO-RS and WADO-RS root; QIDO-RS replaces C-FIND when set")
    timeout_s: Seconds = Field(30, description="longest wait for an answer of the PACS")
    max_associations: int = Field(4, ge=1, le=32, description="associations to the PACS at once")


class Structure(Section):
    """One structure (site, cabinet) in whose name the box speaks: two IGC-Santé certificates and their keys."""

    id: str = Field(
        description="StructIdNat: prefix and identifier, equal to OU of both certificates",
        pattern=r"^[0-9A-Za-z/]{2,40}$",
    )
    name: str = Field(description="name, as authorInstitution", max_length=120)
    sector: str = Field(
        "SA07", description="Secteur_Activite of the VIHF when the report does not say", pattern=r"^SA\d{2}$"
    )
    auth_certificate: Path = Field(description="PEM file: ORG AUTH_CLI certificate, opens TLS")
    auth_key: Path = Field(description="PEM file of its key, in the credentials folder when relative")
    sign_certificate: Path = Field(description="PEM file: ORG SIGN certificate, signs VIHF and submission sets")
    sign_key: Path = Field(description="PEM file of its key, in the credentials folder when relative")


class Registry(Section):
    """The DMP."""

    url: HttpUrl = Field(description="base address of its services, without /registry or /repository")
    authority: Path = Field(description="PEM file: IGC-Santé authorities of the DMP's server certificate")
    digest: Literal["sha1", "sha256"] = Field("sha1", description="algorithm of VIHF and XAdES signatures")
    timeout_s: Seconds = Field(60, description="longest wait for an answer")
    connect_timeout_s: Seconds = Field(10, description="longest wait for a connection")
    lps_name: str = Field("Passevue", description="LPS_Nom, as declared at homologation")
    lps_version: str = Field("0.1", description="LPS_Version, as declared at homologation")
    lps_id: str = Field("", description="LPS_ID: identifier of this installation")
    lps_homologation: str = Field(description="LPS_ID_HOMOLOGATION_DMP: number given at homologation")


class Queue(Section):
    """The durable queue."""

    url: str | None = Field(None, description="SQLAlchemy address; default: SQLite in the data folder")
    lanes: int = Field(4, ge=1, le=32, description="examinations worked on at once")
    content_days: int = Field(7, ge=1, description="days the content of a settled entry is kept")
    proof_days: int = Field(3650, ge=30, description="days the proof of a settled entry is kept (controller's delay)")
    absent_study_h: int = Field(72, ge=1, description="hours to wait for a study that the PACS does not have yet")


class Page(Section):
    """The local status page, health and metrics."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Port = Field(8080, description="port to listen on")


class Config(Section):
    """The whole file."""

    box: Box
    registry: Registry
    structures: tuple[Structure, ...] = Field(min_length=1, description="structures, the first is the default")
    ris: Ris = Ris()
    modality: Modality = Modality()
    images: Images = Images()
    pacs: Pacs | None = None
    queue: Queue = Queue()
    page: Page = Page()


def load(path: Path) -> Config:
    """The configuration in `path`; relative files in it are looked for beside it.

    Raises:
        ConfigError: the file is missing, not TOML, or a key is wrong; the first one is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(
            str(path), f"cannot be read: {err}", hint="Vérifiez le chemin du fichier de configuration."
        ) from err
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as err:
        raise ConfigError(str(path), f"is not TOML: {err}", hint="Corrigez la ligne indiquée.") from err
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(key, first["msg"], hint=f"Corrigez « {key} » dans {path.name}.") from err
