"""What the ANS publishes over plain HTTP: revocation lists and certificates of authorities (igc-sante.md §§ 1, 4).

    lists = Lists(authority_certificate, authority_key)
    ans = Ans()
    ans.serve("/CRL/ACI-FO-PP-TEST.crl", lists.make(revoked=[serial]))
    async with ans:
        ans.url("/CRL/ACI-FO-PP-TEST.crl")
    ans.fault = Fault.SLOW                    # what may go wrong between a box and the ANS

By hand: `python -m tests.peers.ans FOLDER [--servers KEYS] [--realm test] [--port 8091]` makes a persons' authority
there, serves its lists, and those of the authority in KEYS (that of `dmp` and `psc` by hand), and prints the `[trust]`
and `[crl]` sections that believe in them.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .pki import Pki
from .pki_authority import Authority, revocation_list
from .pki_persons import Persons
from .ports import free_port


class Fault(StrEnum):
    """What the server does instead of answering well."""

    NONE = "none"
    AWAY = "away"  # closes the connection
    ERROR = "error"  # 503
    HTML = "html"  # 200 and a page: a captive portal
    HUGE = "huge"  # bytes without end
    SLOW = "slow"  # a byte every now and then
    CUT = "cut"  # half of it, then nothing
    REDIRECT = "redirect"  # to another host
    HELD = "held"  # nothing, until the fault is taken away; then it answers well


@dataclass(frozen=True, slots=True)
class Lists:
    """Makes lists in the name of one authority; `key` may be another's, as a forger's would."""

    authority: x509.Certificate
    key: rsa.RSAPrivateKey

    def make(
        self,
        *,
        revoked: Sequence[int] = (),
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int | None = None,
        hash_algorithm: hashes.SHA256 | hashes.SHA1 | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> bytes:
        """DER."""
        return revocation_list(
            Authority(self.authority, self.key), revoked, begin=this_update, end=next_update, number=number,
            hash_algorithm=hash_algorithm, extensions=extensions,
        )  # fmt: skip

    def long(self, count: int, width: int = 16) -> bytes:
        """DER of a list with `count` serials of `width` octets, as long as the real ones; in one go, unlike `make`."""
        begin = datetime.now(UTC) - timedelta(minutes=5)
        algorithm = _der(0x30, bytes.fromhex("06092a864886f70d01010b0500"))  # sha256WithRSAEncryption
        when = _der(0x17, begin.strftime("%y%m%d%H%M%SZ").encode())
        until = _der(0x17, (begin + timedelta(days=7)).strftime("%y%m%d%H%M%SZ").encode())
        first = 0x40 << 8 * (width - 1)
        serials = ((first + at * 0x9E3779B97F4A7C15 % first).to_bytes(width, "big") for at in range(count))
        entries = b"".join(_der(0x30, _der(0x02, serial) + when) for serial in serials)
        number = _der(0x30, _der(0x06, bytes.fromhex("551d14")) + _der(0x04, _der(0x02, b"\x01")))
        tail = _der(0x30, entries) + _der(0xA0, _der(0x30, number))
        tbs = _der(0x30, b"\x02\x01\x01" + algorithm + self.authority.subject.public_bytes() + when + until + tail)
        signature = self.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
        return _der(0x30, tbs + algorithm + _der(0x03, b"\x00" + signature))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


class Ans:
    """The server. `requests` are the paths asked for."""

    def __init__(self, port: int = 0) -> None:
        self.fault = Fault.NONE
        self.requests: list[str] = []
        self._content: dict[str, bytes] = {}
        self._port = port or free_port()
        self._runner: web.AppRunner | None = None

    def serve(self, path: str, content: bytes) -> None:
        self._content[path] = content

    def serve_all(self, lists: Mapping[str, Lists]) -> dict[str, str]:
        """An empty list of each; where it is, as `crl.urls` says it. Once the server listens."""
        for number, each in enumerate(lists.values()):
            self.serve(f"/CRL/{number}.crl", each.make())
        return {name: self.url(f"/CRL/{number}.crl") for number, name in enumerate(lists)}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._port}{path}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.path)
        while self.fault is Fault.HELD:  # noqa: ASYNC110 - a switch, not an event
            await asyncio.sleep(0.02)
        content = self._content.get(request.path)
        if content is None:
            return web.Response(status=404)
        match self.fault:
            case Fault.NONE:
                return web.Response(body=content, content_type="application/pkix-crl")
            case Fault.ERROR:
                return web.Response(status=503)
            case Fault.HTML:
                return web.Response(text="<html>Bienvenue sur le réseau</html>", content_type="text/html")
            case Fault.REDIRECT:
                return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})
        assert request.transport is not None
        if self.fault is Fault.AWAY:
            request.transport.abort()
            return web.Response()
        return await self._badly(request, content)

    async def _badly(self, request: web.Request, content: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        if self.fault is Fault.CUT:
            response.content_length = len(content)
        await response.prepare(request)
        try:
            if self.fault is Fault.CUT:
                await response.write(content[: len(content) // 2])
                assert request.transport is not None
                request.transport.abort()
            while self.fault is Fault.HUGE:
                await response.write(b"\x30" * 65_536)
            while self.fault is Fault.SLOW:
                await response.write(content[:1])
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        return response


def lists_of(made: Persons | Pki) -> dict[str, Lists]:
    """The lists that an authority and its root answer for, by name of the authority."""
    pairs = (made._sub, made._root)
    return {
        str(one.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value): Lists(one, key)
        for one, key in pairs
    }


async def _by_hand(folder: Path, servers: Path | None, realm: str, port: int) -> None:
    persons = Persons(folder, realm)
    lists = lists_of(persons) | (lists_of(Pki(servers, realm)) if servers is not None else {})
    async with Ans(port) as ans:
        names = ", ".join(f'"{name}" = "{url}"' for name, url in ans.serve_all(lists).items())
        print(f'[trust]\nauthority = "{persons.authority}"\n\n[crl]\nurls = {{ {names} }}', flush=True)
        await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.peers.ans", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--servers", type=Path, help="folder of the authority of the DMP and Pro Santé Connect")
    parser.add_argument("--realm", choices=("test", "production"), default="test")
    parser.add_argument("--port", type=int, default=8091)
    options = parser.parse_args(arguments)
    asyncio.run(_by_hand(options.folder, options.servers, options.realm, options.port))


if __name__ == "__main__":
    main(sys.argv[1:])
