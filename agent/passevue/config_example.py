"""The complete configuration, commented in French, made from the settings themselves.

A setting that has a default is written as a comment (`#port = 2575`): removing the `#` changes nothing, which a test
checks. A setting that has none is written with an example. A new setting without its French line fails a test.
"""

import json
import re
import types
import typing
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from passevue.config import Config, Section

HEAD = """\
# Configuration de Passevue.
#
# Une ligne « #réglage = valeur » montre la valeur par défaut : ôtez le # pour la changer.
# Les chemins relatifs partent du dossier de ce fichier. Les clés privées se cherchent dans le dossier des secrets.
# Après chaque changement :  passevue config check CE_FICHIER
"""

TITLES = {
    "box": "Le boîtier lui-même",
    "registry": "Le DMP",
    "structures": "Structure (site, cabinet) au nom de laquelle le boîtier publie ; répétez la section pour chacune",
    "ris": "Le RIS, ou la plateforme d'intermédiation : comptes rendus en HL7 v2 (MLLP)",
    "modality": "Les modalités, et le PACS quand il envoie : réception DICOM",
    "images": "Les images que le boîtier garde lui-même",
    "pacs": "Le PACS du centre. Section absente : les images du boîtier tiennent lieu de PACS",
    "psc": "Pro Santé Connect : connexion des personnes par e-CPS. Section absente : pas de connexion par e-CPS",
    "trust": "Les cartes CPS : autorités reconnues. Section absente : pas de connexion par carte",
    "crl": "Les listes de révocation de toutes les autorités crues : cartes, serveurs du DMP et de Pro Santé Connect",
    "queue": "La file d'attente durable",
    "page": "La page d'état, à l'usage du cabinet",
    "update": "Les mises à jour de l'appareil : quand il peut redémarrer",
    "network": "Les réseaux de l'appareil lui-même ; ailleurs, le système règle les siens et ceci n'est pas lu",
    "network.inside": "Le câble du cabinet : RIS, modalités, PACS, navigateurs",
    "network.outside": "Le câble du réseau national, si l'appareil en a deux ; section absente : un seul câble",
    "ris.tls": "Certificat du boîtier pour chiffrer le lien avec le RIS",
    "modality.tls": "Certificat du boîtier pour chiffrer le lien DICOM (réception)",
    "pacs.tls": "Certificat du boîtier pour chiffrer le lien DICOM vers le PACS",
    "page.tls": "Certificat de la page, en https (l'appareil l'exige) ; sans lui, on ne se connecte que sur le boîtier",
}

FRENCH = {
    "tls.certificate": "fichier PEM : notre certificat, puis sa chaîne",
    "tls.key": "fichier PEM : sa clé privée, lisible par le boîtier seul",
    "tls.client_authority": "fichier PEM : autorités des certificats des voisins ; demandés si ce réglage est donné",
    "box.name": "nom de ce boîtier, montré sur sa page",
    "box.data_dir": "dossier de la file d'attente, des images et du journal d'audit",
    "box.oid": "OID de ce boîtier (XDSSubmissionSet.sourceId)",
    "box.manufacturer": "fabricant inscrit dans chaque manifeste KOS",
    "box.timezone": "fuseau horaire du centre",
    "box.realm": "production, ou test : quelle chaîne IGC-Santé et quels OID d'INS sont acceptés",
    "box.retrieve_url": "adresse https à laquelle les autres DRIMbox viennent chercher les images",
    "box.credentials_dir": "dossier des clés privées ; par défaut, celui que systemd transmet",
    "ris.host": "adresse d'écoute",
    "ris.port": "port d'écoute (2575 sur l'appareil)",
    "ris.senders": "réseaux qui peuvent se connecter",
    "ris.applications": "applications acceptées : MSH-3, ou MSH-3|MSH-4 ; vide : toutes celles de ces réseaux",
    "ris.max_message_bytes": "taille du plus grand message accepté, en octets",
    "ris.max_connections": "connexions ouvertes en même temps",
    "ris.max_connections_per_peer": "connexions ouvertes en même temps depuis une adresse",
    "ris.idle_timeout_s": "plus long silence à l'intérieur d'un message, en secondes",
    "ris.message_timeout_s": "temps laissé à un message pour arriver entier, en secondes",
    "ris.keep_open_s": "plus long silence entre deux messages, en secondes",
    "modality.host": "adresse d'écoute",
    "modality.port": "port d'écoute (11112 sur l'appareil)",
    "modality.ae_title": "notre AE title : une association qui en appelle un autre est rejetée",
    "modality.callers": "AE titles acceptés, chacun avec ses réseaux",
    "modality.commitment_peers": "AE title = adresse:port, où vont les réponses de storage commitment",
    "modality.max_pdu_bytes": "plus long PDU accepté, en octets",
    "modality.max_associations": "associations ouvertes en même temps",
    "modality.first_pdu_timeout_s": "attente de la demande d'association, en secondes",
    "modality.idle_timeout_s": "plus long silence sur une association, en secondes",
    "modality.max_object_bytes": "taille du plus grand objet accepté, en octets",
    "images.retention_days": "jours de garde d'un objet dont l'examen n'est pas publié",
    "images.quiet_s": "silence après laquelle un examen publié qui a reçu d'autres images est revu, en secondes",
    "images.budget_bytes": "place pour les images, en octets ; les plus anciennes non publiées partent d'abord",
    "pacs.host": "adresse du PACS",
    "pacs.port": "port DICOM du PACS",
    "pacs.ae_title": "AE title du PACS",
    "pacs.our_ae_title": "AE title sous lequel le PACS nous connaît",
    "pacs.authority": "fichier PEM : autorité du certificat du PACS",
    "pacs.retrieve": "comment lire les notes d'images clés : c-get, c-move ou wado-rs",
    "pacs.dicomweb_url": "adresse QIDO-RS et WADO-RS ; si elle est donnée, QIDO-RS remplace C-FIND",
    "pacs.timeout_s": "attente d'une réponse du PACS, en secondes",
    "pacs.max_associations": "associations vers le PACS en même temps",
    "structures.id": "identifiant national (StructIdNat) : préfixe et numéro, comme l'OU des deux certificats",
    "structures.name": "nom de la structure",
    "structures.sector": "secteur d'activité quand le compte rendu ne le dit pas",
    "structures.auth_certificate": "fichier PEM : certificat ORG AUTH_CLI (connexion au DMP)",
    "structures.auth_key": "sa clé privée : fichier PEM, ou adresse pkcs11: d'une clé qui reste dans son module",
    "structures.sign_certificate": "fichier PEM : certificat ORG SIGN (signature des envois)",
    "structures.sign_key": "sa clé privée : fichier PEM, ou adresse pkcs11: d'une clé qui reste dans son module",
    "registry.url": "adresse de base des services du DMP, sans /registry ni /repository",
    "registry.authority": "fichier PEM : autorités IGC-Santé du certificat du DMP",
    "registry.digest": "algorithme des signatures VIHF et XAdES : sha1 ou sha256",
    "registry.timeout_s": "attente d'une réponse, en secondes",
    "registry.connect_timeout_s": "attente d'une connexion, en secondes",
    "registry.lps_name": "nom du logiciel déclaré à l'homologation (LPS_Nom)",
    "registry.lps_version": "version déclarée à l'homologation (LPS_Version)",
    "registry.lps_id": "identifiant de cette installation (LPS_ID)",
    "registry.lps_homologation": "numéro donné à l'homologation (LPS_ID_HOMOLOGATION_DMP)",
    "registry.secret_connection_code": "valeur de connexion secrète du VIHF ; vide : ces demandes sont refusées",
    "psc.issuer": "émetteur (issuer) de Pro Santé Connect, tel que ses jetons le nomment",
    "psc.client_id": "client_id donné par l'ANS, CN du certificat client",
    "psc.redirect_url": "adresse du boîtier où le navigateur revient, déclarée à l'ANS",
    "psc.logout_url": "adresse où le navigateur va après la déconnexion, déclarée à l'ANS",
    "psc.authority": "fichier PEM : autorités des certificats de ses serveurs ; par défaut, celles du système",
    "psc.certificate": "fichier PEM : certificat ORG AUTH_CLI du client ; par défaut, celui de la première structure",
    "psc.key": "fichier PEM : sa clé privée",
    "psc.acr": "niveau minimal d'une connexion : eidas1, eidas2 ou eidas3",
    "psc.signature": "famille des algorithmes qui signent ses jetons : RS, PS ou ES",
    "psc.timeout_s": "attente d'une réponse, en secondes",
    "psc.connect_timeout_s": "attente d'une connexion, en secondes",
    "psc.max_connections": "connexions vers Pro Santé Connect en même temps",
    "psc.session_h": "heures après lesquelles une personne doit se reconnecter (4 au plus)",
    "trust.authority": "fichier PEM : autorités IGC-Santé des personnes et leurs racines, du domaine du boîtier",
    "crl.urls": "nom (CN) d'une autorité = adresse http de sa liste de révocation, si elle est ailleurs",
    "crl.refresh_h": "heures entre deux lectures de chaque liste de révocation",
    "crl.timeout_s": "temps laissé à une liste de révocation pour arriver entière, en secondes",
    "crl.max_bytes": "taille de la plus longue liste de révocation acceptée, en octets",
    "queue.url": "adresse SQLAlchemy de la base ; par défaut, SQLite dans le dossier de données",
    "queue.lanes": "examens traités en même temps",
    "queue.content_days": "jours de garde du contenu d'une publication réglée",
    "queue.proof_days": "jours de garde de la preuve (délai fixé par le responsable de traitement)",
    "queue.absent_study_h": "heures d'attente d'un examen que le PACS n'a pas encore",
    "page.host": "adresse d'écoute",
    "page.port": "port d'écoute (443 sur l'appareil)",
    "page.names": "noms sous lesquels on ouvre la page, outre le nom et les adresses de cette machine",
    "inside.interface": "nom de l'interface réseau du cabinet ; sans ce réglage : celle qui est là",
    "inside.addresses": "adresses fixes, avec leur préfixe ; vide : DHCP",
    "inside.gateway": "routeur de ce côté, avec des adresses fixes",
    "inside.routes": "autres réseaux du cabinet joints par ce routeur",
    "outside.interface": "nom de l'interface réseau qui mène au réseau national",
    "outside.addresses": "adresses fixes, avec leur préfixe ; vide : DHCP",
    "outside.gateway": "routeur de ce côté, avec des adresses fixes",
    "outside.routes": "autres réseaux joints par ce routeur",
    "network.resolvers": "serveurs DNS ; vide : ceux que donne DHCP",
    "network.page": "réseaux dont les navigateurs peuvent ouvrir la page",
    "update.days": "soirs où l'appareil peut redémarrer (monday … sunday)",
    "update.start": "heure locale à partir de laquelle il peut",
    "update.end": "heure locale jusqu'à laquelle il peut, le lendemain si elle est avant le début",
    "network.time": "serveurs de temps (NTP)",
    "network.time_nts": "serveurs de temps qui prouvent qui ils sont (NTS)",
}

EXAMPLES: dict[str, Any] = {
    "inside.interface": "enp1s0",
    "inside.gateway": "192.168.1.254",
    "outside.interface": "enp2s0",
    "outside.gateway": "192.0.2.1",
    "tls.certificate": "passevue.pem",
    "tls.key": "passevue.key",
    "tls.client_authority": "voisins.pem",
    "box.name": "Passevue du cabinet",
    "box.data_dir": "/var/lib/passevue",
    "box.oid": "1.2.250.1.213.9.9.1",
    "box.retrieve_url": "https://drimbox.cabinet.exemple/wado-rs",
    "box.credentials_dir": "/run/credentials/passevue",
    "pacs.host": "192.168.1.20",
    "pacs.ae_title": "PACS",
    "pacs.authority": "pacs.pem",
    "pacs.dicomweb_url": "https://192.168.1.20/dicom-web",
    "modality.callers": {"SCANNER": ["192.168.1.31/32"], "PACS": ["192.168.1.20/32"]},
    "modality.commitment_peers": {"SCANNER": "192.168.1.31:104"},
    "structures.id": "1750000000",
    "structures.name": "Cabinet d'imagerie",
    "structures.auth_certificate": "auth_cli.pem",
    "structures.auth_key": "auth_cli.key",
    "structures.sign_certificate": "sign.pem",
    "structures.sign_key": "sign.key",
    "registry.url": "https://dmp.exemple",
    "registry.authority": "igc-sante.pem",
    "registry.lps_homologation": "XXX-0000",
    "psc.issuer": "https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet",
    "psc.client_id": "passevue-cabinet",
    "psc.redirect_url": "https://passevue.cabinet.exemple/psc/retour",
    "psc.logout_url": "https://passevue.cabinet.exemple/",
    "psc.authority": "psc-autorites.pem",
    "psc.certificate": "psc.pem",
    "psc.key": "psc.key",
    "trust.authority": "igc-sante-personnes.pem",
    "crl.urls": {"AC IGC-SANTE FORT PERSONNES": "http://igc-sante.esante.gouv.fr/CRL/ACI-FO-PP.crl"},
    "queue.url": "postgresql+psycopg://passevue@/passevue",
}


def example() -> str:
    """The whole file."""
    blocks = [HEAD]
    for name, field in Config.model_fields.items():
        blocks.append("\n".join(_section(name, field)) + "\n")
    return "\n".join(blocks)


def settings() -> Iterator[tuple[str, FieldInfo]]:
    """Every setting under its dotted name; a TLS section's are named once, under `tls`."""
    seen: set[str] = set()
    for name, field in Config.model_fields.items():
        for key, setting in _settings(name, _model(field)):
            if key not in seen:
                seen.add(key)
                yield key, setting


def _settings(name: str, model: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    for key, field in model.model_fields.items():
        inner = _inner(field)
        if inner is None:
            yield f"{name}.{key}", field
        else:
            yield from _settings(key, inner)


def _model(field: FieldInfo) -> type[Section]:
    model = _inner(field)
    assert model is not None, "every top-level key is a section"  # noqa: S101
    return model


def _inner(field: FieldInfo) -> type[Section] | None:
    """The section that a field holds, alone, optional or repeated; None when the field is a value."""
    kinds = (field.annotation, *typing.get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)


def _section(name: str, field: FieldInfo) -> Iterator[str]:
    optional = isinstance(field.annotation, types.UnionType)
    repeated = typing.get_origin(field.annotation) is tuple
    mark = "#" if optional else ""
    yield f"# --- {TITLES[name]} ---"
    yield f"{mark}[[{name}]]" if repeated else f"{mark}[{name}]"
    inner: list[tuple[str, FieldInfo]] = []
    for key, setting in _model(field).model_fields.items():
        if _inner(setting) is not None:
            inner.append((key, setting))
        else:
            yield from _setting(f"{name}.{key}", key, setting, commented=optional)
    for key, setting in inner:
        yield ""
        yield f"# {TITLES[f'{name}.{key}']}"
        yield f"#[{name}.{key}]"
        for leaf, leaf_setting in _model(setting).model_fields.items():
            yield from _setting(f"{key}.{leaf}", leaf, leaf_setting, commented=True)


def _setting(name: str, key: str, field: FieldInfo, *, commented: bool) -> Iterator[str]:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    shown = default is None or default == {}
    value = EXAMPLES[name] if shown else default
    mark = "" if field.is_required() and not commented else "#"
    optional = " (facultatif ; exemple)" if shown and not field.is_required() else ""
    yield f"# {FRENCH.get(name, field.description)}{optional}"
    yield f"{mark}{key} = {_toml(value)}"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return f"{value:_}" if value >= 100_000 else str(value)
        case float():
            return f"{value:g}"
        case dict():
            return "{ " + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_toml(item) for item in value) + "]"
        case (
            str()
            | Path()
            | IPv4Address()
            | IPv6Address()
            | IPv4Interface()
            | IPv6Interface()
            | IPv4Network()
            | IPv6Network()
        ):
            return json.dumps(str(value), ensure_ascii=False)  # a JSON string without control characters is a TOML one
    raise TypeError(f"no TOML form for {type(value).__name__}")
