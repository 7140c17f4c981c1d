"""A program of its own that finds the card in a reader, gives its code and uses it; the interop tests start it.

    python -m tests.interop.card_child get URL SERVER_AUTHORITY CHAIN [TIMES]
    python -m tests.interop.card_child sign DIGEST

It prints one JSON object a line. Apart, since libpcsclite reads the name of its socket once in a process, and each test
has a pcscd of its own.
"""

import asyncio
import contextlib
import json
import ssl
import sys
import time
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509

from passevue.card.cps import KeyUse
from passevue.card.cps_signer import CpsSigner
from passevue.card.key_signer import tls_key_of
from passevue.card.reader import CardIn, Readers, ReaderSession
from passevue.card.tls_thread import TlsThread
from passevue.errors import BoxError
from passevue.national.signature import sign_submission_set
from passevue.national.vihf import Lps, Role, VihfFacts, build_vihf

FACTS = VihfFacts(
    name_id="899700367909",
    structure_id="10B0127189",
    sector="SA07",
    subject_id="",
    roles=(Role("10", "1.2.250.1.71.1.2.7", "Médecin"), Role("SM44", "1.2.250.1.71.4.2.5", "Radio-diagnostic")),
    resource_id="",
)


async def main(what: str, *arguments: str) -> None:
    readers = Readers()
    running = asyncio.create_task(readers.run())
    try:
        async with asyncio.timeout(20):
            inserted = await anext(event async for event in readers.events() if isinstance(event, CardIn))
        async with readers.session(inserted) as session:
            await session.identify()
            await session.verify(bytearray(b"1234"))
            await {"get": get, "sign": sign}[what](session, *arguments)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def get(session: ReaderSession, url: str, authority: str, chain: str, times: str = "1") -> None:
    key = await session.key(KeyUse.AUTH)
    between = x509.load_pem_x509_certificates(await asyncio.to_thread(Path(chain).read_bytes))
    tls, operation = tls_key_of(key, asyncio.get_running_loop(), between)
    async with TlsThread(ssl.create_default_context(cafile=authority), tls, operation) as https:
        tell(ready=True)
        for _ in range(int(times)):
            blocks: list[float] = []
            watching = asyncio.create_task(watch(blocks))
            try:
                answer = await https.request("GET", url, timeout_s=20)
                tell(status=answer.status, body=answer.body.decode(), block_ms=max(blocks, default=0) * 1000)
            except BoxError as err:
                tell(error=type(err).__name__, message=err.message, hint=err.hint)
            watching.cancel()


async def sign(session: ReaderSession, digest: str) -> None:
    signer = CpsSigner(await session.key(KeyUse.SIGN))
    now = datetime.now(UTC)
    vihf = await build_vihf(FACTS, signer, now, digest, Lps("Passevue", "0.1", "PVU-0"))
    xades = await sign_submission_set(signer, "1.2.9", [("1.2.3", b"kos")], "2.25.7", now, digest)
    tell(vihf=b64encode(vihf).decode(), xades=b64encode(xades).decode())


async def watch(blocks: list[float]) -> None:
    """Notes how long the loop stands still, in seconds."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        blocks.append(time.perf_counter() - begun - 0.001)


def tell(**fields: object) -> None:
    print(json.dumps(fields), flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(*sys.argv[1:]))
