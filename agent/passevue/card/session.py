"""One card at work: from power on to its identity, its holder's code, its signatures. Blocking; one thread at a time.

    card = CardSession(channel, atr, Protocol.T0)
    cps = card.identify()
    card.verify(bytearray(b"1234"))
    cps = card.situations()          # the same, with the situations d'exercice
    card.sign(KeyUse.AUTH, digest, "sha256")

Rules:
- What is given is complete or an error: a card pulled at any exchange leaves nothing half read.
- A card that was lost once is lost for this session: nothing more goes to it, whatever is in the reader by then.
- After a code was refused nothing sends another by itself (`codes`).
- Each operation has its own budget of exchanges and seconds (`apdu.Budget`).
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from passevue.card import cps_data, keys
from passevue.card.apdu import Budget, Channel, Line, Protocol
from passevue.card.codes import PIN_REFERENCE, UNBLOCKING_REFERENCE, Codes, Secret
from passevue.card.cps import (
    AID_CONTACT,
    AID_CONTACTLESS,
    Cps,
    CpsKey,
    Generation,
    KeyUse,
    Padding,
    PinState,
    Situation,
    candidates,
    card_number,
    unknown_card,
    update_state,
)
from passevue.card.files import CardFiles, open_cps4
from passevue.card.pkcs15 import EF_DIR, MF, Certificate, Key, Pkcs15, Usage, application, read_application
from passevue.errors import CardAbsent, CardFault, PinNeeded, UnknownCard

EF_SN_ICC = MF + b"\xd0\x03"
EF_ACTUA = MF + b"\xd0\x10"
CPS4_CHANNEL = 1
_BROKEN = (
    "La mise à jour de cette carte a été interrompue : elle ne peut pas servir. "
    "Relancez la mise à jour sur le poste où elle a commencé, ou contactez l’ANS."
)


class CardSession:
    """A card in a reader, as `channel` reaches it. `atr` and `protocol` are the reader's word."""

    def __init__(self, channel: Channel, atr: bytes, protocol: Protocol) -> None:
        self._channel = _Lost(channel)
        self._atr = atr
        self._protocol = protocol
        self._opened: _Opened | None = None

    @property
    def lost(self) -> bool:
        """The card was pulled: nothing more can be done here."""
        return self._channel.lost

    def identify(self) -> Cps:
        """Which card, whose, what it can do. Asked again, it answers from memory but for the code's counters.

        Raises:
            UnknownCard: none of CPS3, CPS4.
            CardFault: it answers what makes no sense.
            CardAbsent: it was pulled.
        """
        if self.lost:
            raise CardAbsent("the card was pulled")
        opened = self._opened
        if opened is None:
            opened = self._opened = self._open()
            return opened.cps
        with self._operation(opened):
            opened.cps = replace(opened.cps, pin=opened.counter(PIN_REFERENCE))
        return opened.cps

    def objects(self) -> Pkcs15 | None:
        """What the application lists, as `card show` tells it; None when the card's update broke off."""
        return self._ready(broken=True).held

    def pin_state(self) -> PinState | None:
        """The code's counter now, at no cost; None in contactless, where there is no code."""
        with self._operation(self._ready(broken=True)) as opened:
            return opened.counter(PIN_REFERENCE)

    def unblocking_state(self) -> PinState | None:
        """The unblocking code's counter now, at no cost."""
        with self._operation(self._ready(broken=True)) as opened:
            return opened.counter(UNBLOCKING_REFERENCE)

    def verify(self, pin: Secret, *, last_try: bool = False) -> None:
        """The holder's code, once. A `bytearray` is overwritten, whatever happens.

        Raises:
            PinWrong, PinBlocked, LastTry, PinNeeded: see `codes`.
        """
        with _wiped(pin), self._operation(self._with_code()) as opened:
            opened.codes.verify(pin, last_try=last_try)
            opened.verified = True

    def change(self, old: Secret, new: Secret, *, last_try: bool = False) -> None:
        """Another code. Both `bytearray`s are overwritten. Raises as `verify`."""
        with _wiped(old, new), self._operation(self._with_code()) as opened:
            opened.verified = False
            opened.codes.change(old, new, last_try=last_try)

    def unblock(self, code: Secret, new: Secret, *, last_try: bool = False) -> None:
        """A new code by the unblocking code. Both `bytearray`s are overwritten. Raises as `verify`."""
        with _wiped(code, new), self._operation(self._with_code()) as opened:
            opened.verified = False
            opened.codes.unblock(code, new, last_try=last_try)

    def situations(self) -> Cps:
        """The card with its situations d'exercice.

        Raises:
            PinNeeded: the code was not given in this session.
        """
        opened = self._with_code()
        if opened.cps.situations is None:
            if not opened.verified:
                raise PinNeeded("situations are read after the code")
            with self._operation(opened), opened.forgetting():
                opened.cps = replace(opened.cps, situations=tuple(opened.read_situations()))
        return opened.cps

    def sign(self, use: KeyUse, digest: bytes, hash_name: str = "sha256", scheme: Padding = Padding.PKCS1) -> bytes:
        """A signature by that key, checked with its certificate.

        Raises:
            PinNeeded: the code was not given, or the card forgot it.
            CardFault: the card has no such key, or what it gave is no signature.
        """
        opened, key, path = self._key(use)
        with self._operation(opened), opened.forgetting():
            return keys.sign(opened.line, opened.files, path, key, opened.cps.generation, digest, hash_name, scheme)

    def decrypt_block(self, use: KeyUse, block: bytes) -> bytes:
        """Raw RSA on a whole block: CPS4's authentication key only. Raises as `sign`."""
        opened, key, path = self._key(use)
        with self._operation(opened), opened.forgetting():
            return keys.decrypt_block(opened.line, opened.files, path, key, opened.cps.generation, block)

    def prove(self, use: KeyUse) -> None:
        """Show that the key of the certificate is in this card, by a signature of 32 random bytes. Raises as `sign`."""
        self.sign(use, hashlib.sha256(secrets.token_bytes(32)).digest())

    def _key(self, use: KeyUse) -> "tuple[_Opened, CpsKey, bytes]":
        """The key, and the directory where it is used. A code verified by another program does not count."""
        opened = self._ready()
        key = opened.cps.key(use)
        if key is None or opened.held is None:
            raise CardFault(f"the card has no {use} key", hint="Cette carte n’a pas la clé demandée.")
        if key.needs_pin and not opened.verified:
            raise PinNeeded("the holder's code was not given in this session")
        return opened, key, opened.held.application.path

    # Ways in

    def _open(self) -> "_Opened":
        budget = Budget()
        for generation in candidates(self._atr):
            logical = CPS4_CHANNEL if generation is Generation.CPS4 else 0
            line = Line(self._channel, self._protocol, logical, budget)
            files = CardFiles(line)
            if generation is Generation.CPS4 and not open_cps4(line):
                continue
            serial = _known(files)
            if serial is not None:
                return _Opened(line, files, generation, card_number(serial))
        raise unknown_card(self._atr)

    def _ready(self, *, broken: bool = False) -> "_Opened":
        if self._opened is None or self.lost:
            self.identify()
        opened = self._opened
        if opened is None:
            raise CardFault("the card was not identified")
        if opened.cps.update_broken and not broken:
            raise CardFault("the card's update broke off: it is not to be used", hint=_BROKEN)
        return opened

    def _with_code(self) -> "_Opened":
        opened = self._ready()
        if opened.cps.pin is None:
            hint = "Posez la carte dans le lecteur à contacts : sans contact, elle ne prend pas de code."
            raise CardFault("the card takes no code in this mode", hint=hint)
        return opened

    @contextmanager
    def _operation(self, opened: "_Opened") -> Iterator["_Opened"]:
        opened.line.begin()
        yield opened


def _known(files: CardFiles) -> bytes | None:
    """EF.SN.ICC, or None when this is not the way to talk to the card."""
    try:
        return files.read(EF_SN_ICC)
    except CardAbsent:
        raise
    except CardFault:
        return None


class _Opened:
    """A card that proved to be a CPS, with what was read of it."""

    def __init__(self, line: Line, files: CardFiles, generation: Generation, number: str) -> None:
        self.line = line
        self.files = files
        self.codes = Codes(line, files, generation)
        self.verified = False
        broken, updated_at = update_state(files.read(EF_ACTUA))
        self.held = None if broken else _held(files, generation)
        self.cps = self._read(generation, number, broken, updated_at)

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """A card that asks for its code has forgotten it."""
        try:
            yield
        except PinNeeded:
            self.verified = False
            raise

    def _read(self, generation: Generation, number: str, broken: bool, updated_at: str) -> Cps:
        held = self.held
        found = tuple(self._keys(held, generation)) if held else ()
        owner = next((key.certificate for use in (KeyUse.AUTH, KeyUse.SIGN, KeyUse.TECH) for key in found
                      if key.use is use), None)  # fmt: skip
        person = cps_data.holder(owner) if owner and generation is not Generation.CPS3_CONTACTLESS else None
        if person is not None and not person.specialities and owner is not None:
            person = cps_data.holder(owner, self._object(cps_data.INFO_PS))
        return Cps(
            generation=generation,
            number=number,
            application=held.application.label if held else "",
            card_type=cps_data.card_type(owner) if owner else None,
            category=cps_data.category(owner) if owner else None,
            holder=person,
            keys=found,
            valid_from=max((key.certificate.not_valid_before_utc for key in found), default=None),
            valid_until=min((key.certificate.not_valid_after_utc for key in found), default=None),
            update_broken=broken,
            updated_at=updated_at,
            pin=self.counter(PIN_REFERENCE),
            situations=None,
        )

    def counter(self, reference: int) -> PinState | None:
        """State of a code that the application lists; without figures when the card does not tell them."""
        if self.held is None or not any(code.reference == reference for code in self.held.codes):
            return None
        try:
            return self.codes.state(reference)
        except CardFault:
            return PinState(None)

    def read_situations(self) -> Iterator[Situation]:
        held = self.held
        for listed in held.data if held else ():
            named = cps_data.ACTIVITY.fullmatch(listed.label)
            if named and 1 <= int(named[1]) <= cps_data.MOST_SITUATIONS:
                found = cps_data.situation(int(named[1]), self.files.read(listed.path, private=True))
                if found is not None:
                    yield found

    def _object(self, label: str) -> bytes | None:
        listed = next((each for each in self.held.data if each.label == label), None) if self.held else None
        return self.files.read(listed.path) if listed else None

    def _keys(self, held: Pkcs15, generation: Generation) -> Iterator[CpsKey]:
        """Each key that has its certificate: both carry the same identifier."""
        certificates = {each.id: each for each in reversed(held.certificates) if not each.authority}
        for key in held.keys:
            listed = certificates.get(key.id)
            if listed is None:
                continue
            content = listed.content or self.files.read(listed.path, one_value=True)
            if content is None:
                raise CardFault("a certificate that the card lists is not there")
            yield _card_key(key, listed, content, generation)


def _held(files: CardFiles, generation: Generation) -> Pkcs15:
    listed = files.read(EF_DIR)
    aid = AID_CONTACTLESS if generation is Generation.CPS3_CONTACTLESS else AID_CONTACT
    chosen = application(listed or b"", aid)
    if chosen is None:
        raise UnknownCard("the card holds no CPS application")
    return read_application(files, chosen)


def _card_key(key: Key, listed: Certificate, content: bytes, generation: Generation) -> CpsKey:
    return CpsKey(
        use=_use(key, generation),
        id=key.id,
        label=key.label,
        reference=key.reference,
        usage=key.usage,
        bits=key.bits,
        needs_pin=bool(key.auth_id),
        certificate_label=listed.label,
        certificate=cps_data.read_certificate(content),
    )


def _use(key: Key, generation: Generation) -> KeyUse:
    if generation is Generation.CPS3_CONTACTLESS:
        return KeyUse.TECH
    return KeyUse.SIGN if Usage.NON_REPUDIATION in key.usage else KeyUse.AUTH


class _Lost:
    """A channel that stays shut once its card was lost."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.lost = False

    def exchange(self, apdu: bytes | bytearray) -> bytes:
        if self.lost:
            raise CardAbsent("the card was pulled")
        try:
            return self._channel.exchange(apdu)
        except CardAbsent:
            self.lost = True
            raise


@contextmanager
def _wiped(*codes: Secret) -> Iterator[None]:
    try:
        yield
    finally:
        for code in codes:
            if isinstance(code, bytearray):
                code[:] = bytes(len(code))
