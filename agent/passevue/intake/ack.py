"""The acknowledgement of an HL7 v2 message (hl7v2.md § 6): bytes made from the received MSH and an outcome.

One ACK per message, in original mode (`AA`, `AE`, `AR`); in enhanced mode when the sender fills MSH-15 or MSH-16 (HL7
v2.5 § 2.9.3). The standard's separators are used, whatever the sender's: MSH-1 and MSH-2 of the ACK announce them. What
is echoed is bounded and escaped: an ACK cannot be made to carry segments of the sender's choice.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

from passevue.errors import Ack, Hl7Error
from passevue.intake.hl7 import STANDARD, Segment, escaped, unescape

# Table 0357, in the words of the volet and of HL7.
CONDITIONS = {
    0: "Message accepted",
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    198: "Non-conformant cardinality",
    199: "Other HL7 error",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    206: "Application record locked",
    207: "Application internal error",
}
# Table 0533 of the volet.
APPLICATION_CODES = {
    900: "Mauvaise version du document",
    901: "Auteur non habilité",
    902: "Identifiant patient inconnu",
    903: "INS absent du document",
    904: "INS du document différent de celui du message",
    905: "INS incomplet",
    906: "Autre",
}
# HL7 v2.5 table 0155: which outcomes the sender wants to hear of.
_WANTS = {"AL": (True, True), "NE": (False, False), "SU": (True, False), "ER": (False, True)}
_COMMIT = {Ack.AA: "CA", Ack.AE: "CE", Ack.AR: "CR"}
_VERSIONS = {"ORU": "2.5", "MDM": "2.6", "OMI": "2.5.1"}
# Charsets that an ACK is written in, as declared by the sender; anything else gets UTF-8.
_CHARSETS = {"8859/15": "iso8859-15", "8859/1": "iso8859-1", "UNICODE UTF-8": "utf-8"}
_ECHO = 227  # length of HD, the longest thing echoed (HL7 v2.5 § 2.A.33)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is answered: `error` is None when the message was taken."""

    error: Hl7Error | None = None

    @property
    def ack(self) -> Ack:
        return Ack.AA if self.error is None else self.error.ack


def acknowledgement(msh: Segment, outcome: Outcome, now: datetime) -> bytes:
    """The ACK to the message whose header is `msh`; empty when the sender asked for none."""
    code = answer_code(echo(msh, 15), echo(msh, 16), outcome.ack)
    if not code:
        return b""
    charset, codec = _charset(msh)
    lines = [_header(msh, charset, now), f"MSA|{code}|{echo(msh, 10)}"]
    if outcome.error is not None:
        lines.append(_err(outcome.error))
    return ("\r".join(lines) + "\r").encode(codec, errors="replace")


def answer_code(msh_15: str, msh_16: str, ack: Ack) -> str:
    """MSA-1, or nothing when none is asked for.

    MSH-15 asks for the commit acknowledgement; with none of it wanted, MSH-16 asks for the application's. Values
    outside table 0155 count as empty, and with both empty the original mode holds.
    """
    commit, application = _WANTS.get(msh_15), _WANTS.get(msh_16)
    if commit is None and application is None:
        return str(ack)
    bad = ack is not Ack.AA
    if commit is not None and any(commit):
        return _COMMIT[ack] if commit[bad] else ""
    return str(ack) if application is not None and application[bad] else ""


def echo(msh: Segment, number: int) -> str:
    """A field of the received MSH, fit for an ACK: decoded as well as can be, components kept, bounded."""
    seps = msh.separators
    raw = msh.field(number).partition(seps.repetition)[0][:_ECHO]
    text = raw.decode(msh.codec, errors="replace").strip()
    if seps == STANDARD and text.isprintable():
        return text  # as it came: MSA-2 must equal MSH-10 to the byte
    component, subcomponent = seps.component.decode("latin-1"), seps.subcomponent.decode("latin-1")
    return "^".join(
        "&".join(escaped(_plain(leaf, msh)) for leaf in part.split(subcomponent)) for part in text.split(component)
    ).strip()


def _plain(text: str, msh: Segment) -> str:
    try:
        return unescape(text, msh.separators, msh.codec)
    except UnicodeDecodeError:
        return text


def _charset(msh: Segment) -> tuple[str, str]:
    declared = echo(msh, 18).upper()
    return (declared, _CHARSETS[declared]) if declared in _CHARSETS else ("UNICODE UTF-8", "utf-8")


def _header(msh: Segment, charset: str, now: datetime) -> str:
    kind, _, rest = echo(msh, 9).partition("^")
    event = rest.partition("^")[0][:3]
    return "|".join(
        (
            "MSH",
            "^~\\&",
            echo(msh, 5),
            echo(msh, 6),
            echo(msh, 3),
            echo(msh, 4),
            f"{now:%Y%m%d%H%M%S%z}",
            "",
            f"ACK^{event}^ACK" if event.isascii() and event.isalnum() else "ACK",
            secrets.token_hex(10),
            echo(msh, 11),
            _VERSIONS.get(kind) or echo(msh, 12) or "2.5",
            *("", "", "", ""),
            "FRA",
            charset,
        )
    )


def _err(error: Hl7Error) -> str:
    condition = f"{error.code}^{CONDITIONS.get(error.code, CONDITIONS[199])}^messageErrorCondition"
    application = ""
    if error.application_code is not None:
        application = f"{error.application_code}^{APPLICATION_CODES.get(error.application_code, 'Autre')}"
    # ERR-7 is for the vendor's log, ERR-8 for the person who reads it.
    return f"ERR||{error.location}|{condition}|E|{application}||{escaped(error.message)}|{escaped(error.hint)}".rstrip(
        "|"
    )
