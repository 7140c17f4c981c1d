"""The one configuration file: TOML, a section per neighbour, checked whole at start.

Every setting has a safe default where one exists, its unit in its name, and a line that says what it is (in French in
`config_example`, for the person at the site). Unknown keys are errors. Nothing here turns a control off. Secrets are
not settings: private keys are read from files that systemd hands over (`credentials_dir`) or stay in a card or token
(`config_keys`).

What one key alone can show to be wrong is refused here; what takes two keys in `config_check`, what takes a look
at the disk in `config_files`.
"""

import os
import stat
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PlainValidator,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from passevue.config_keys import SCHEME, TokenKeyUri, WrongUri, read_key_uri
from passevue.errors import ConfigError

MAX_FILE_BYTES = 1 << 20  # a full example is 10 KiB; a larger file is not ours (reliability N-23)


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    return _folder("folder", info) / path


def _among_credentials(path: Path, info: ValidationInfo) -> Path:
    return _folder("credentials", info) / path


def _key_place(value: object, info: ValidationInfo) -> Path | TokenKeyUri:
    credentials = _folder("credentials", info)
    match value:
        case str() if value.startswith(SCHEME):
            try:
                return read_key_uri(value).among(credentials)
            except WrongUri as err:
                raise PydanticCustomError("pkcs11_uri", "{reason}", {"reason": str(err), "hint": err.hint}) from err
        case str() | Path():
            return credentials / value
        case TokenKeyUri():
            return value
        case _:
            raise PydanticCustomError("path_type", "Input is not a path or a pkcs11: URI")


def _folder(name: str, info: ValidationInfo) -> Path:
    context: dict[str, Path] = info.context or {}  # empty when a Config is made in Python: paths stay as they are
    return context.get(name, Path())


File = Annotated[Path, AfterValidator(_beside_the_file)]
KeyFile = Annotated[Path, AfterValidator(_among_credentials)]
KeyPlace = Annotated[Path | TokenKeyUri, PlainValidator(_key_place)]

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any that is free
AeTitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]*[!-\[\]-~][ -\[\]-~]*$")]
Oid = Annotated[str, Field(max_length=64, pattern=r"^[0-2](\.(0|[1-9]\d*))+$")]
HttpAddress = Annotated[str, Field(max_length=500, pattern=r"^https?://[!-~]+$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Host = Annotated[
    str, Field(max_length=253, pattern=r"^([0-9A-Za-z_]([0-9A-Za-z_-]*[0-9A-Za-z_])?\.?)+$|^[0-9A-Fa-f:.]+$")
]
InterfaceName = Annotated[str, Field(pattern=r"^(en|eth)[0-9a-z]{1,12}$")]
LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
PRIVATE: tuple[Network, ...] = (  # RFC 1918, RFC 4193, link-local
    IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16"),
    IPv4Network("169.254.0.0/16"), IPv6Network("fc00::/7"), IPv6Network("fe80::/10"),
)  # fmt: skip


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Tls(Section):
    """Certificate of one of our listeners, and who may speak to it."""

    certificate: File = Field(description="PEM file: our certificate, then its chain")
    key: KeyFile = Field(description="PEM file: its private key, readable by the box only")
    client_authority: File | None = Field(
        None, description="PEM file: authorities of the neighbours' certificates; asked for when set"
    )


class Box(Section):
    """The box itself."""

    name: str = Field(description="name of this box, as shown on its page", max_length=60)
    data_dir: File = Field(description="folder of the queue, the images and the audit trail")
    oid: Oid = Field(description="OID of this box: XDSSubmissionSet.sourceId, root of what it identifies")
    manufacturer: str = Field("Passevue", description="DICOM Manufacturer written in each KOS", max_length=64)
    timezone: str = Field("Europe/Paris", description="time zone of the centre, for the dates of the KOS")
    realm: Literal["production", "test"] = Field(
        "production", description="which IGC-Santé chain and which INS OIDs are taken"
    )
    retrieve_url: HttpUrl = Field(description="https address under which other DRIMboxes fetch images from this box")
    credentials_dir: File | None = Field(None, description="folder of private keys; default: what systemd hands over")


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
    quiet_s: Seconds = Field(
        20, description="silence after which a published study that got more images is looked at again"
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
    authority: File | None = Field(None, description="PEM file: authority of the PACS's certificate")
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
    auth_certificate: File = Field(description="PEM file: ORG AUTH_CLI certificate, opens TLS")
    auth_key: KeyPlace = Field(
        description="its key: PEM file, in the credentials folder when relative, or `pkcs11:` URI of a token's"
    )
    sign_certificate: File = Field(description="PEM file: ORG SIGN certificate, signs VIHF and submission sets")
    sign_key: KeyPlace = Field(
        description="its key: PEM file, in the credentials folder when relative, or `pkcs11:` URI of a token's"
    )


class Registry(Section):
    """The DMP."""

    url: HttpUrl = Field(description="base address of its services, without /registry or /repository")
    authority: File = Field(description="PEM file: IGC-Santé authorities of the DMP's server certificate")
    digest: Literal["sha1", "sha256"] = Field("sha1", description="algorithm of VIHF and XAdES signatures")
    timeout_s: Seconds = Field(60, description="longest wait for an answer")
    connect_timeout_s: Seconds = Field(10, description="longest wait for a connection")
    lps_name: str = Field("Passevue", description="LPS_Nom, as declared at homologation")
    lps_version: str = Field("0.1", description="LPS_Version, as declared at homologation")
    lps_id: str = Field("", description="LPS_ID: identifier of this installation")
    lps_homologation: str = Field(description="LPS_ID_HOMOLOGATION_DMP: number given at homologation")
    secret_connection_code: str = Field(
        "", description="value that states a secret connection in the VIHF; such requests are refused while it is empty"
    )


class Psc(Section):
    """Pro Santé Connect: people who sign in by e-CPS, tokens that other DRIMboxes show. Left out: neither."""

    issuer: HttpUrl = Field(description="issuer of Pro Santé Connect, exactly as its tokens name it")
    client_id: str = Field(
        description="client_id given by the ANS; CN of the client certificate", pattern=r"^[!-~]{1,100}$"
    )
    redirect_url: HttpUrl = Field(description="where the browser comes back to this box, as registered with the ANS")
    logout_url: HttpUrl | None = Field(None, description="where the browser goes after leaving, as registered")
    authority: File | None = Field(
        None, description="PEM file: authorities of its servers' certificates; default: those of the system"
    )
    certificate: File | None = Field(
        None, description="PEM file: ORG AUTH_CLI certificate of this client; default: that of the first structure"
    )
    key: KeyFile | None = Field(None, description="PEM file of its key, in the credentials folder when relative")
    acr: Literal["eidas1", "eidas2", "eidas3"] = Field("eidas1", description="least level of a sign-in (acr_values)")
    signature: Literal["RS", "PS", "ES"] = Field("RS", description="family of the algorithms that sign its tokens")
    timeout_s: Seconds = Field(10, description="longest wait for an answer")
    connect_timeout_s: Seconds = Field(5, description="longest wait for a connection")
    max_connections: int = Field(8, ge=1, le=64, description="connections to it at once")
    session_h: float = Field(4, gt=0, le=4, description="hours after which a person signs in anew")


class Trust(Section):
    """Cards of professionals: whose certificates are believed. Left out: nobody signs in with a card."""

    authority: File = Field(description="PEM file: IGC-Santé authorities of persons, roots included, of this realm")


class Crl(Section):
    """Revocation lists of every authority that the box believes: cards, the DMP's servers, Pro Santé Connect's."""

    urls: dict[str, HttpAddress] = Field(
        default_factory=dict,
        description="name (CN) of an authority = http address of its revocation list, where it lies elsewhere",
    )
    refresh_h: float = Field(6, gt=0, le=6, description="hours between two fetches of each revocation list")
    timeout_s: Seconds = Field(300, description="longest time for one revocation list to come whole")
    max_bytes: int = Field(64 << 20, ge=1 << 20, le=256 << 20, description="longest revocation list taken")


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
    names: tuple[str, ...] = Field(
        (), description="names under which people open the page, besides this machine's name and addresses"
    )
    tls: Tls | None = Field(None, description="HTTPS when set; without it people sign in on this machine only")


class Wire(Section):
    """One network connection of the appliance."""

    interface: InterfaceName | None = Field(
        None, description="name of the network interface, e.g. enp1s0; left out: whichever there is"
    )
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = Field(
        (), description="fixed addresses with their prefix; empty: DHCP"
    )
    gateway: Address | None = Field(None, description="router of this side, when the addresses are fixed")
    routes: tuple[Network, ...] = Field((), description="other networks reached through that router")


class Surroundings(Section):
    """The appliance's own place on the networks; elsewhere the system's settings hold, and this is not read."""

    inside: Wire = Wire()
    outside: Wire | None = None
    resolvers: tuple[Address, ...] = Field((), description="DNS servers; empty: those that DHCP names")
    page: tuple[Network, ...] = Field(PRIVATE, description="networks whose browsers may open the page")
    time: tuple[Host, ...] = Field(("2.debian.pool.ntp.org",), description="NTP servers")
    time_nts: tuple[Host, ...] = Field((), description="NTP servers that prove who they are (NTS)")


Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
Hour = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Update(Section):
    """When the appliance may restart into a new version; elsewhere this is not read."""

    days: tuple[Day, ...] = Field(
        ("sunday", "monday", "tuesday", "wednesday", "thursday"), description="evenings on which it may"
    )
    start: Hour = Field("22:00", description="local time from which it may")
    end: Hour = Field("05:00", description="local time until which it may, on the next day when earlier than start")


class Config(Section):
    """The whole file."""

    box: Box
    registry: Registry
    structures: tuple[Structure, ...] = Field(min_length=1, description="structures, the first is the default")
    ris: Ris = Ris()
    modality: Modality = Modality()
    images: Images = Images()
    pacs: Pacs | None = None
    psc: Psc | None = None
    trust: Trust | None = None
    crl: Crl = Crl()
    queue: Queue = Queue()
    page: Page = Page()
    network: Surroundings = Surroundings()
    update: Update = Update()


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`; relative files in it are looked for beside it.

    Private keys are looked for in `box.credentials_dir`, else where systemd hands credentials over, else beside it.

    Raises:
        ConfigError: the file is missing, not TOML, or a key is wrong; the first one is named.
    """
    found = parse(read(path), path, environ)
    if isinstance(found, Config):
        return found
    raise found[0]


def read(path: Path) -> str:
    """The text of a configuration file, read with bounds: a regular file, of reasonable size, in UTF-8 (N-23).

    Raises:
        ConfigError: it is missing, a link, a device, too large, or not UTF-8.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as err:
        hint = "Vérifiez le chemin du fichier de configuration ; un lien symbolique n'est pas accepté."
        raise ConfigError(str(path), f"cannot be read: {err.strerror}", hint=hint) from err
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise ConfigError(str(path), "is not a regular file", hint="Donnez un fichier ordinaire.")
    with open(handle, "rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(str(path), f"is larger than {MAX_FILE_BYTES} bytes", hint="Ce n'est pas une configuration.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as err:
        hint = "Enregistrez le fichier en UTF-8."
        raise ConfigError(str(path), f"is not UTF-8 at byte {err.start}", hint=hint) from err


def parse(text: str, path: Path, environ: Mapping[str, str] = os.environ) -> Config | list[ConfigError]:
    """The configuration in `text`, or everything that is wrong with it, each with its key. `path` is where it lies."""
    try:
        tree = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as err:  # tomllib recurses once a nested bracket
        return [ConfigError(path.name, f"is not TOML: {err}", hint="Corrigez la ligne indiquée.")]
    try:
        return Config.model_validate(tree, context=_folders(tree, path, environ))
    except ValidationError as err:
        return [_config_error(problem) for problem in err.errors(include_url=False, include_input=False)]


def _folders(tree: dict[str, Any], path: Path, environ: Mapping[str, str]) -> dict[str, Path]:
    folder = path.absolute().parent
    box = tree.get("box")
    asked = box.get("credentials_dir") if isinstance(box, dict) else None
    handed = asked if isinstance(asked, str) else environ.get("CREDENTIALS_DIRECTORY", "")
    return {"folder": folder, "credentials": folder / handed}


def _config_error(problem: ErrorDetails) -> ConfigError:
    key = printable(".".join(str(part) for part in problem["loc"]))
    french = _FRENCH.get(problem["type"], "valeur refusée").format_map(problem.get("ctx", {}))
    return ConfigError(key, problem["msg"], hint=f"« {key} » : {printable(french)}.")


# What a person reads for each kind of pydantic error; the English message goes to the log.
_FRENCH = {
    "missing": "réglage obligatoire absent",
    "extra_forbidden": "réglage inconnu, vérifiez l'orthographe et la section",
    "string_type": "un texte entre guillemets est attendu",
    "string_too_long": "texte trop long ({max_length} caractères au plus)",
    "string_too_short": "texte trop court ({min_length} caractères au moins)",
    "string_pattern_mismatch": "la forme n'est pas celle attendue",
    "int_type": "un nombre entier est attendu",
    "int_parsing": "un nombre entier est attendu",
    "int_from_float": "un nombre entier est attendu",
    "float_type": "un nombre est attendu",
    "float_parsing": "un nombre est attendu",
    "finite_number": "un nombre fini est attendu",
    "greater_than": "la valeur doit être supérieure à {gt}",
    "greater_than_equal": "la valeur doit être au moins {ge}",
    "less_than_equal": "la valeur doit être au plus {le}",
    "literal_error": "valeurs possibles : {expected}",
    "url_parsing": "une adresse http:// ou https:// est attendue",
    "url_scheme": "une adresse http:// ou https:// est attendue",
    "url_type": "une adresse entre guillemets est attendue",
    "ip_v4_network": "un réseau est attendu, par exemple 192.168.1.0/24",
    "ip_v6_network": "un réseau est attendu, par exemple fd00::/64",
    "ip_v4_address": "une adresse est attendue, par exemple 192.168.1.10",
    "ip_v6_address": "une adresse est attendue, par exemple fd00::10",
    "ip_v4_interface": "une adresse avec son préfixe est attendue, par exemple 192.168.1.10/24",
    "ip_v6_interface": "une adresse avec son préfixe est attendue, par exemple fd00::10/64",
    "ip_any_network": "un réseau est attendu, par exemple 192.168.1.0/24",
    "pkcs11_uri": "{hint}",
    "path_type": "un chemin de fichier entre guillemets est attendu",
    "model_type": "une section est attendue, pas une valeur seule",
    "model_attributes_type": "une section est attendue, pas une valeur seule",
    "dict_type": "une section est attendue, pas une valeur seule",
    "tuple_type": "une liste est attendue, entre crochets",
    "too_short": "il en faut au moins {min_length}",
}


def printable(text: str, longest: int = 120) -> str:
    """`text` without what could act on a terminal, and cut: keys and values of a hostile file are shown to people."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
