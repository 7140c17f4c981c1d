"""What leaves and comes back on one HTTPS connection: a request in pieces, a bounded answer, transport errors as ours.

Facts:
- Whether a request left whole decides between `NetworkError` and `InDoubt`. aiohttp does not tell, so the last byte
  is a piece of its own, and the mark is set just before it is handed over.
- TLS 1.3 tells a client that its certificate is refused only after the handshake, as a read error: the alert is looked
  for in the causes of whatever aiohttp raises.
"""

import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import NoReturn

import aiohttp

from passevue.errors import BoxError, CredentialError, InDoubt, NetworkError, TrustError, Unreadable
from passevue.national.servers import ServerRefused
from passevue.national.soap import Request

MAX_ANSWER_BYTES = 32 << 20
_CHUNK_BYTES = 64 << 10

# Alerts with which a server refuses our certificate (OpenSSL's reason names).
_OUR_CERTIFICATE = (
    "BAD_CERTIFICATE",
    "UNSUPPORTED_CERTIFICATE",
    "CERTIFICATE_REVOKED",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "ACCESS_DENIED",
)


class Sent:
    """Whether the last byte of a request has been handed to the connection."""

    def __init__(self) -> None:
        self.whole = False


async def in_pieces(request: Request, sent: Sent) -> AsyncIterator[bytes]:
    """The request in pieces. The mark is set before the last piece is given: it may err only towards doubt."""
    waiting = b""
    for piece in pieces(request.chunks):
        if waiting:
            yield waiting
        waiting = piece
    sent.whole = True
    yield waiting


def pieces(chunks: tuple[bytes, ...]) -> Iterator[bytes]:
    """Pieces of at most 64 KiB; the last is one byte."""
    for chunk in chunks[:-1]:
        for at in range(0, len(chunk), _CHUNK_BYTES):
            yield chunk[at : at + _CHUNK_BYTES]
    last = chunks[-1]
    for at in range(0, len(last) - 1, _CHUNK_BYTES):
        yield last[at : min(at + _CHUNK_BYTES, len(last) - 1)]
    yield last[-1:]


async def bounded(response: aiohttp.ClientResponse) -> bytes:
    if (response.content_length or 0) > MAX_ANSWER_BYTES:
        raise Unreadable(f"expected an answer of at most {MAX_ANSWER_BYTES} bytes")
    content = bytearray()
    async for piece in response.content.iter_any():
        content += piece
        if len(content) > MAX_ANSWER_BYTES:
            raise Unreadable(f"expected an answer of at most {MAX_ANSWER_BYTES} bytes")
    return bytes(content)


def retry_after(header: str | None, now: datetime) -> float | None:
    """RFC 9110 § 10.2.3: seconds, or a date; at most a day, so that nobody can park us."""
    if header is None:
        return None
    try:
        seconds = float(header) if header.strip().isdigit() else (parsedate_to_datetime(header) - now).total_seconds()
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), 86_400.0)


def raise_for_transport(err: BaseException, *, in_doubt: bool) -> NoReturn:
    """What aiohttp and ssl raise, as ours.

    A server that is refused leaves nothing in doubt: at least the last byte of the request was not written to it.
    """
    refused = refusal_of_server(err)
    if refused is not None:
        raise refused from err
    if distrusts(err):
        raise TrustError(
            "the certificate of the DMP's server is not trusted",
            hint="Le serveur atteint n'est pas le DMP : pare-feu ou proxy qui intercepte ? Rien n'a été envoyé.",
        ) from err
    if refuses_our_certificate(err):
        raise CredentialError(
            "the DMP refuses the connection's certificate",
            hint="Le DMP refuse le certificat de connexion de la structure : expiré, révoqué ou de l'autre domaine ?",
        ) from err
    kind = InDoubt if in_doubt else NetworkError
    raise kind(f"{'sent whole, then' if in_doubt else 'not sent whole:'} {type(err).__name__}") from err


def refusal_of_server(err: BaseException) -> BoxError | None:
    """Why the server is not vouched for, where that is what ended the connection."""
    return next((one.why for one in _causes(err) if isinstance(one, ServerRefused)), None)


def distrusts(err: BaseException) -> bool:
    """Whether the server's certificate is what ended the connection."""
    return any(
        isinstance(one, ssl.SSLCertVerificationError | aiohttp.ServerFingerprintMismatch) for one in _causes(err)
    )


def refuses_our_certificate(err: BaseException) -> bool:
    """Whether an alert about our certificate is what ended the connection."""
    return any(isinstance(one, ssl.SSLError) and _is_about_us(one) for one in _causes(err))


def _is_about_us(err: ssl.SSLError) -> bool:
    reason = str(getattr(err, "reason", None) or "").upper()  # aiohttp's own subclasses have none
    return "ALERT" in reason and any(name in reason for name in _OUR_CERTIFICATE)


def _causes(err: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [err]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, one.__context__, getattr(one, "os_error", None)]
        certificate_error = getattr(one, "certificate_error", None)
        waiting.append(certificate_error if isinstance(certificate_error, BaseException) else None)
