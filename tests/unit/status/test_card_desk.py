"""A card that was believed when read and no longer is when its code comes: no code is sent, nobody else is blamed."""

import asyncio
from datetime import UTC, datetime

import pytest
from cryptography import x509

from passevue.card.trust import Use
from passevue.errors import CredentialError, Refused
from passevue.status.card_desk import CardDesk
from passevue.status.notices import NOTICES, notice_of
from tests.peers.card import Profile, VirtualCard
from tests.peers.card_hand import CardHand
from tests.peers.pki_persons import of_process


async def test_a_list_that_ended_meanwhile_is_told_as_such_and_the_code_is_not_sent() -> None:
    stale = False

    async def believe(_certificate: x509.Certificate, _now: datetime, _use: Use) -> None:
        if stale:
            raise CredentialError("the CRL ended")

    desk = CardDesk("test", believe, lambda: datetime.now(UTC))
    running = asyncio.ensure_future(desk.run())
    profile = Profile(category="test")
    card = VirtualCard(profile, await asyncio.to_thread(of_process("test").card_keys, profile))
    insertion = CardHand(desk).put_in(card)
    async with asyncio.timeout(20):
        version = -1
        while not (seen := desk.view().card(insertion)) or not seen.phase.asks_code:
            version = await desk.changed(version)
    stale = True
    code = bytearray(b"1234")
    with pytest.raises(Refused) as caught:
        await desk.open(insertion, code)
    assert notice_of(caught.value)[0] == "card-not-now"
    assert "card-not-now" in NOTICES
    assert code == bytes(4)
    assert not any(one.command[1] == 0x20 and len(one.command) > 5 for one in card.trace)
    running.cancel()
    await asyncio.wait([running])
