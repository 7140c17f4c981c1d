"""How much each unit could do if it were taken (`systemd-analyze security`, SERV-03): it may fall, never rise."""

import shutil
from pathlib import Path

import pytest

from tests.unit.systemd.box_root import analyze, own_services

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
AIM = 15  # tenths
# Measured with systemd 252 and 257, which agree.
MEASURED = {
    "passevue-audit.service": 15,
    "passevue-configuration.service": 7,
    "passevue-configure.service": 12,
    "passevue-console.service": 10,
    "passevue-erase.service": 13,
    "passevue-facts-devices.service": 12,
    "passevue-facts-network.service": 11,
    "passevue-facts.service": 15,
    "passevue-guard.service": 9,
    "passevue-health.service": 11,
    "passevue-host.service": 13,
    "passevue-intake.service": 12,
    "passevue-modules.service": 9,
    "passevue-names.service": 14,
    "passevue-national.service": 12,
    "passevue-network.service": 12,
    "passevue-notary.service": 6,
    "passevue-page.service": 12,
    "passevue-recovery.service": 11,
    "passevue-stick.service": 5,
    "passevue-undo.service": 9,
}


def test_every_service_has_its_figure_and_none_is_over_the_aim() -> None:
    assert sorted(MEASURED) == own_services()
    assert max(MEASURED.values()) <= AIM


@needs_systemd
@pytest.mark.parametrize("name", own_services())
def test_exposure_does_not_rise(root: Path, name: str) -> None:
    shown = analyze("security", "--offline=true", f"--root={root}", "--no-pager", f"--threshold={MEASURED[name]}", name)
    figure = next((line for line in shown.stdout.splitlines() if "Overall exposure level" in line), shown.stderr)
    assert shown.returncode == 0, figure
