"""What stands on the screen: drawn anew when it is so no longer; a sentence there when nothing of ours can start."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from passevue.cli.console import CONFIG, DATA_DIR, FIRST_CERTIFICATE
from passevue.status.claim_code import CODE_FILE, FOLDER, HASH_FILE
from tests.unit.systemd.box_root import TREE, analyze, settings, value

HERE = "usr/lib/systemd/system"
NETIF = Path("/run/systemd/netif")
SHUT = "/usr/share/passevue/data-shut.txt"
MANAGER = Path("/usr/lib/systemd/systemd")
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
needs_manager = pytest.mark.skipif(
    os.geteuid() != 0 or not MANAGER.exists() or shutil.which("unshare") is None,
    reason="a systemd of its own needs root, systemd and unshare",
)
# A manager of this test's own, in a /run of its own, with our .path unit; the service notes that it was started.
MANAGED = """
set -e
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/own
export XDG_RUNTIME_DIR=/run/own SYSTEMD_UNIT_PATH=$1/units:
timeout 90 systemd --user --log-target=null --unit=passevue-console.path </dev/null >/dev/null 2>&1 &
cd "$1"
for i in $(seq 100); do systemctl --user -q is-active passevue-console.path 2>/dev/null && break; sleep 0.1; done
systemctl --user is-active passevue-console.path
started() {  # what happened; how often it should have been started by then, and was
  for i in $(seq 100); do [ "$(wc -l <log)" -ge "$2" ] && break; sleep 0.1; done
  for i in $(seq 100); do
    [ "$(systemctl --user show -P SubState passevue-console.path)" = waiting ] && break
    sleep 0.1
  done
  sleep 0.5
  echo "$1 $(wc -l <log)"
}
over() { echo new >"$1/.new"; mv "$1/.new" "$1/$2"; }
: >log
started start 0
over netif state; started state 1
over netif/leases 2; started lease 2
over netif/leases 2; started renewed 3
over data/config passevue.toml; started configuration 4
rm data/page/claim-code; started claimed 5
over data/page local-account.json; started account 6
echo later >>netif/links; started other 6
systemctl --user --no-block exit
"""


def watched() -> set[str]:
    return {path for _, path in settings(f"{HERE}/passevue-console.path", "Path")}


def test_everything_that_the_screen_shows_and_that_changes_is_watched() -> None:
    page = DATA_DIR / FOLDER
    files = {DATA_DIR / CONFIG, DATA_DIR / FIRST_CERTIFICATE, page / CODE_FILE, page / HASH_FILE}
    assert watched() == {str(path) for path in {*files, NETIF / "state", NETIF / "leases"}}
    kinds = {kind for kind, _ in settings(f"{HERE}/passevue-console.path", "Path")}
    assert kinds == {"PathChanged"}, "another kind starts it again for as long as a file is there"


@needs_manager
def test_systemd_draws_anew_after_each_change_and_rests_in_between(tmp_path: Path) -> None:
    text = (TREE / HERE / "passevue-console.path").read_text()
    text = text.replace(str(NETIF), f"{tmp_path}/netif").replace(str(DATA_DIR), f"{tmp_path}/data")
    limit = value(f"{HERE}/passevue-console.service", "Unit", "StartLimitIntervalSec")
    for folder in ("units", "netif/leases", "data/config", "data/page"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("netif/state", "netif/links", "data/page/claim-code"):
        (tmp_path / file).write_text("")
    (tmp_path / "units/passevue-console.path").write_text(text.replace("RequiresMountsFor", "#"))
    (tmp_path / "units/passevue-console.service").write_text(
        f"[Unit]\nStartLimitIntervalSec={limit}\n"
        f"[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo >>{tmp_path}/log'\n"
    )
    environ = {**os.environ, "PATH": f"{os.environ['PATH']}:{MANAGER.parent}"}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "bash", "-c", MANAGED, "bash", str(tmp_path)],
        capture_output=True, text=True, timeout=120, env=environ, check=False,
    )  # fmt: skip
    if not done.stdout.startswith("active"):
        pytest.skip(f"no systemd runs here: {done.stderr[-200:]}")
    names = ("start", "state", "lease", "renewed", "configuration", "claimed", "account", "other")
    counts = (0, 1, 2, 3, 4, 5, 6, 6)
    assert done.stdout.splitlines()[1:] == [f"{name} {count}" for name, count in zip(names, counts, strict=True)]


def test_the_sentence_for_data_that_do_not_open_fits_the_screen_and_its_font() -> None:
    text = (TREE / SHUT.lstrip("/")).read_text(encoding="utf-8")
    assert "les données de ce boîtier ne s'ouvrent pas" in text
    lines = text.splitlines()
    assert max(map(len, lines)) < 80
    assert len(lines) < 24, "the question of systemd stands below it"
    text.encode("cp437")  # what the kernel's own fonts have


@needs_systemd
def test_people_are_told_before_systemd_asks_and_before_the_machine_starts_again(root: Path) -> None:
    drop_ins = {
        "systemd-ask-password-console.service": f"{HERE}/systemd-ask-password-console.service.d/10-passevue.conf",
        "emergency.service": f"{HERE}/emergency.service.d/10-reboot.conf",
    }
    for unit, drop_in in drop_ins.items():
        found = settings(drop_in, "Service")
        assert [line for key, line in found if key == "ExecStartPre"][-1] == f"-/usr/bin/cat {SHUT}", (
            "and goes on without"
        )
        assert ("StandardOutput", "tty") in found
        assert ("TTYPath", "/dev/tty1") in found, "the screen, in development too, where the console is a serial line"
        checked = analyze("verify", f"--root={root}", "--man=no", "--recursive-errors=no", unit)
        assert "10-passevue.conf" not in checked.stderr
        assert "10-reboot.conf" not in checked.stderr
