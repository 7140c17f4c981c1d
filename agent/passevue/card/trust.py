"""Whether a person's certificate is to be believed now: chain, realm, use, dates, revocation. Decides, fetches nothing.

    store = PersonTrust(realm, read_authorities(pem, realm), crls.of)
    level = store.believe(certificate, Use.AUTH, now)

Rules (igc-sante.md §§ 1, 4, 5; security-baseline TLS-03, TLS-04):
- Test and production are never together: the store holds the authorities of one realm only, and the category in the
  certificate (1.2.250.1.71.1.2.5, its high bit means test) must say the same; a certificate without it is refused.
- A person is certified by `AC IGC-SANTE … PERSONNES` under the root of the same level. Organisations' authorities
  and the old ones (CLASSE-x, GIP-CPS) certify nobody here.
- No valid list of the issuer, no belief: an absent or stale CRL refuses (a `CredentialError`: it passes once fetched),
  a certificate on the list refuses for good (a `TrustError`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from passevue.card.crl import CLOCK_SKEW, Crl, Standing, standing
from passevue.card.igc import common_name, extension, is_authority, is_test, is_test_authority, issuer_of, usable_until
from passevue.errors import ConfigError, CredentialError, TrustError

_PERSONS = re.compile(r"(TEST )?AC IGC-SANTE (ELEMENTAIRE|STANDARD|FORT) PERSONNES")
_ROOT = re.compile(r"(TEST )?AC RACINE IGC-SANTE (ELEMENTAIRE|STANDARD|FORT)")
_OLD = re.compile(r"GIP-CPS|CLASSE-\d", re.IGNORECASE)
_HASHES = {"sha256", "sha384", "sha512"}
_LEAST_BITS = 2048
_KNOWN_CRITICAL = {
    x509.KeyUsage.oid,
    x509.ExtendedKeyUsage.oid,
    x509.BasicConstraints.oid,
    x509.CertificatePolicies.oid,
    x509.SubjectAlternativeName.oid,
}
CrlOf = Callable[[x509.Certificate], Crl | None]


class Level(StrEnum):
    """How the person's identity was checked before the card was given."""

    ELEMENTAIRE = "ELEMENTAIRE"
    STANDARD = "STANDARD"
    FORT = "FORT"


class Use(StrEnum):
    """What the certificate is shown for."""

    AUTH = "auth"  # sign-in and TLS: digitalSignature, clientAuth
    SIGN = "sign"  # documents: nonRepudiation


@dataclass(frozen=True, slots=True)
class Believed:
    """A certificate that holds, with what it leads to."""

    level: Level
    issuer: x509.Certificate
    root: x509.Certificate


def read_authorities(pem: bytes, realm: str) -> tuple[x509.Certificate, ...]:
    """The authorities of a `trust.authority` file.

    Raises:
        ConfigError: not PEM, or not all of the realm.
    """
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as err:
        raise ConfigError("trust.authority", "expected PEM certificates", hint="Ce n'est pas un fichier PEM.") from err
    if any(is_test_authority(one) is not (realm == "test") for one in found):
        raise ConfigError(
            "trust.authority",
            f"expected only authorities of the {realm} realm",
            hint="Les autorités de test et de production ne se mélangent jamais : vérifiez « box.realm ».",
        )
    if not any(_PERSONS.fullmatch(common_name(one.subject)) for one in found):
        raise ConfigError(
            "trust.authority",
            "expected an authority of persons (AC IGC-SANTE … PERSONNES)",
            hint="Il manque l'autorité qui certifie les porteurs de carte (PERSONNES) et sa racine.",
        )
    return found


class PersonTrust:
    """The store of one realm. `crl_of` gives the list held of an authority, None when there is none."""

    def __init__(self, realm: str, authorities: Sequence[x509.Certificate], crl_of: CrlOf) -> None:
        self._test = realm == "test"
        self._authorities = tuple(authorities)
        self._crl_of = crl_of

    def believe(self, certificate: x509.Certificate, use: Use, now: datetime) -> Believed:
        """
        Raises:
            TrustError: it is not what it should be, and waiting does not change that.
            CredentialError: its dates, the clock, or the lists do not allow it now.
        """
        found = self.identify(certificate, use, now)
        self._check_revocation(certificate, found.issuer, now, user=True)
        self._check_revocation(found.issuer, found.root, now, user=False)
        return found

    def identify(self, certificate: x509.Certificate, use: Use, now: datetime) -> Believed:
        """`believe` without the lists: enough to know whose lists are wanted, not to let anyone in. Raises the same."""
        try:
            found = self._chain(certificate)
            self._check_category(certificate)
            _check_form(certificate, use)
            for one in (found.root, found.issuer, certificate):
                _check_dates(one, now)
        except (ValueError, x509.DuplicateExtension) as err:  # DER that cryptography reads late
            raise TrustError(f"the certificate is malformed: {type(err).__name__}", hint=_MALFORMED) from err
        return found

    def _chain(self, certificate: x509.Certificate) -> Believed:
        issuer_name = common_name(certificate.issuer)
        if _OLD.search(issuer_name) or _OLD.search(certificate.issuer.rfc4514_string()):
            raise TrustError("issued by an authority that is out of use", hint=_OLD_CARD)
        if issuer_name.startswith("TEST ") and not self._test:
            raise TrustError("a test certificate in production", hint=_TEST_CARD)
        if not issuer_name.startswith("TEST ") and self._test and _PERSONS.fullmatch(issuer_name):
            raise TrustError("a production certificate in test", hint=_PRODUCTION_CARD)
        issuer = self._issuer(certificate, _PERSONS)
        root = self._issuer(issuer, _ROOT)
        levels = {_level(issuer, _PERSONS), _level(root, _ROOT)}
        if len(levels) != 1 or root.subject != root.issuer:
            raise TrustError("the authorities of the certificate do not belong together", hint=_STRANGER)
        return Believed(levels.pop(), issuer, root)

    def _issuer(self, certificate: x509.Certificate, kind: re.Pattern[str]) -> x509.Certificate:
        found = issuer_of(certificate, (one for one in self._authorities if kind.fullmatch(common_name(one.subject))))
        if found is None:
            raise TrustError("no authority of persons in the store issued the certificate", hint=_STRANGER)
        return found

    def _check_category(self, certificate: x509.Certificate) -> None:
        test = is_test(certificate)
        if test is None:
            raise TrustError("the certificate names no category", hint=_STRANGER)
        if test is not self._test:
            raise TrustError(
                f"a {'test' if test else 'production'} card in the other realm",
                hint=_TEST_CARD if test else _PRODUCTION_CARD,
            )

    def _check_revocation(
        self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime, *, user: bool
    ) -> None:
        crl = self._crl_of(issuer)
        name = common_name(issuer.subject)
        match standing(crl, certificate, now, user=user):
            case Standing.ABSENT:
                raise CredentialError(f"no CRL of {name} is held", hint=_NO_LIST)
            case Standing.FUTURE:
                raise CredentialError(f"the CRL of {name} is of later than now", hint=_CLOCK_BEHIND)
            case Standing.REVOKED:
                raise TrustError("the certificate is revoked", hint=_REVOKED)
            case Standing.ENDED if crl is not None:
                raise CredentialError(
                    f"the CRL of {name} ended on {crl.next_update:%Y-%m-%d %H:%M}",
                    hint=f"{_STALE} (dernière liste valable jusqu'au {crl.next_update:%d/%m/%Y}).",
                )


def check_same_holder(authentication: x509.Certificate, signature: x509.Certificate) -> None:
    """Both certificates of a card name one holder, of one issuer.

    Raises:
        TrustError: they do not.
    """
    if authentication.subject != signature.subject or authentication.issuer != signature.issuer:
        raise TrustError("the certificates of the card name two holders", hint=_MALFORMED)


def _check_form(certificate: x509.Certificate, use: Use) -> None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or algorithm.name not in _HASHES:
        raise TrustError("the certificate is signed with an algorithm out of use", hint=_OLD_CARD)
    public = certificate.public_key()
    if not isinstance(public, rsa.RSAPublicKey) or public.key_size < _LEAST_BITS:
        raise TrustError(f"expected an RSA key of {_LEAST_BITS} bits or more", hint=_OLD_CARD)
    for one in certificate.extensions:
        if one.critical and one.oid not in _KNOWN_CRITICAL:
            raise TrustError(f"unknown critical extension {one.oid.dotted_string}", hint=_MALFORMED)
    if is_authority(certificate):
        raise TrustError("an authority's certificate is no person's", hint=_STRANGER)
    if not _fits(certificate, use):
        raise TrustError(f"the certificate is not one for {use}", hint=_WRONG_USE)


def _fits(certificate: x509.Certificate, use: Use) -> bool:
    usage, extended = extension(certificate, x509.KeyUsage), extension(certificate, x509.ExtendedKeyUsage)
    if usage is None or extended is None:
        return False
    if use is Use.SIGN:
        return bool(usage.content_commitment)
    return bool(usage.digital_signature) and ExtendedKeyUsageOID.CLIENT_AUTH in extended


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, usable_until(certificate)
    if now + CLOCK_SKEW < begin:
        raise CredentialError(f"a certificate is not valid before {begin:%Y-%m-%d %H:%M}", hint=_CLOCK_BEHIND)
    if now > end:
        raise CredentialError(
            f"a certificate ended on {end:%Y-%m-%d %H:%M}",
            hint=f"La carte a expiré le {end:%d/%m/%Y} : utilisez la nouvelle. (Ou l'horloge du boîtier avance.)",
        )


def _level(authority: x509.Certificate, kind: re.Pattern[str]) -> Level:
    found = kind.fullmatch(common_name(authority.subject))
    return Level(found[2]) if found else Level.ELEMENTAIRE


_OLD_CARD = "Cette carte vient d'une ancienne autorité, hors d'usage : utilisez votre carte CPS actuelle."
_TEST_CARD = "C'est une carte de test : elle n'est pas acceptée ici. Insérez votre vraie carte CPS."
_PRODUCTION_CARD = "Ce boîtier est en mode test : n'y insérez qu'une carte de test, jamais votre vraie carte."
_STRANGER = "Cette carte n'est pas délivrée par l'IGC-Santé des personnes : insérez votre carte CPS."
_WRONG_USE = "Ce certificat de la carte ne sert pas à cela : la carte est abîmée ou n'est pas une CPS."
_MALFORMED = "Les certificats de cette carte sont incohérents : faites-la vérifier par l'ANS."
_REVOKED = "Cette carte est révoquée (perdue, volée ou remplacée) : elle n'est plus acceptée."
_NO_LIST = "La liste des cartes révoquées n'a pas encore été reçue : vérifiez l'accès au réseau, puis réessayez."
_STALE = "La liste des cartes révoquées est périmée : vérifiez l'accès au réseau du boîtier"
_CLOCK_BEHIND = "L'horloge du boîtier retarde, ou la carte n'est pas encore valable : vérifiez la date et l'heure."
