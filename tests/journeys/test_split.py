"""The box in four processes, one a trust zone, each its own user where the test may change users: as in one."""

from collections.abc import AsyncIterator

import pytest

from tests.peers.ris import PAT_TROIS, invented_exam
from tests.peers.split_box import SplitCabinet

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def cabinet() -> AsyncIterator[SplitCabinet]:
    async with SplitCabinet() as cabinet:
        yield cabinet


async def test_a_report_goes_out(cabinet: SplitCabinet) -> None:
    exam = invented_exam(70)
    cabinet.examine(PAT_TROIS, exam)
    assert (await cabinet.send(cabinet.cda(PAT_TROIS, exam), PAT_TROIS)).code == "AA"
    await cabinet.settled(1)
    assert len(cabinet.dmp.committed) == 1
