"""The box dies at any moment; nothing is lost or doubled (F-01). The long run is `python -m tests.journeys.kills`."""

import random
from pathlib import Path

import pytest

from tests.journeys.kills import kill_loop


@pytest.mark.timeout(300)
async def test_box_killed_at_random_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = await kill_loop(tmp_path, kills=40, seed=random.SystemRandom().randrange(1 << 32))
    assert outcome.wrong == [], f"seed {outcome.seed}"
    assert outcome.at_work >= 20
    assert outcome.acknowledged >= 10
