"""Facts: kept whole, believed while they are fresh and root's own, read once where they are dear."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.baseline import facts
from passevue.baseline.collect import ALL, HANDS, JOINED, LASTING_S, ROUND_S, Hand, collect, joined, with_part
from passevue.baseline.facts import Facts, from_json, to_json
from passevue.baseline.machine import Machine
from passevue.baseline.reading.links import read_links
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.reading.settings import read_sysctls
from passevue.baseline.reading.sockets import read_sockets
from passevue.baseline.takes import TAKES
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import BOOT_ID, NOW, recorded
from tests.unit.baseline.machines import Recorded

SOME = Facts(BOOT_ID, 100.0, {"cmdline": "quiet\n", "é": "\0"}, {"pcrs": "no"}, {"cmdline": 7.5})


def test_facts_come_back_as_they_were() -> None:
    assert from_json(to_json(SOME).encode()) == SOME


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(json.dumps).map(str.encode)
)
def test_any_bytes_are_facts_or_refused(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(from_json(data), Facts)


@pytest.mark.parametrize(
    "changed",
    [
        {"schema": 2},
        {"texts": {"cmdline": 1}},
        {"texts": []},
        {"missing": None},
        {"since": {"cmdline": "soon"}},
        {"uptime_s": "x"},
        {"boot_id": None, "texts": None},
    ],
)
def test_facts_in_another_form_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        from_json(json.dumps({**json.loads(to_json(SOME)), **changed}).encode())


def test_facts_longer_than_their_bound_are_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(Unreadable):
        facts.write(tmp_path / "facts.json", Facts(BOOT_ID, 1.0, {"long": "x" * facts.MAX_BYTES}))
    assert not (tmp_path / "facts.json").exists()
    with pytest.raises(Unreadable):
        from_json(b" " * (facts.MAX_BYTES + 1))


def test_only_the_owner_writes_facts(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    facts.write(path, SOME)
    assert path.stat().st_mode & 0o777 == 0o640
    assert facts.read(path, owner=os.getuid()) == SOME
    with pytest.raises(Unreadable):
        facts.read(path, owner=os.getuid() + 1)
    path.chmod(0o660)
    with pytest.raises(Unreadable):
        facts.read(path, owner=os.getuid())


def test_a_link_to_facts_is_no_facts(tmp_path: Path) -> None:
    facts.write(tmp_path / "real.json", SOME)
    (tmp_path / "facts.json").symlink_to("real.json")
    with pytest.raises(OSError):
        facts.read(tmp_path / "facts.json", owner=os.getuid())


def test_a_half_written_round_leaves_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    facts.write(path, SOME)
    path.with_suffix(".new").write_text("{", encoding="utf-8")
    assert facts.read(path, owner=os.getuid()) == SOME
    facts.write(path, Facts(BOOT_ID, 200.0))
    assert facts.read(path, owner=os.getuid()).uptime_s == 200.0


@pytest.mark.parametrize(("boot_id", "uptime_s"), [("other", 101.0), (BOOT_ID, 99.0), (BOOT_ID, 100.0 + facts.FRESH_S)])
def test_old_facts_and_those_of_another_boot_are_none(boot_id: str, uptime_s: float) -> None:
    with pytest.raises(Unreadable):
        SOME.check_fresh(boot_id, uptime_s)
    SOME.check_fresh(BOOT_ID, 99.9 + facts.FRESH_S)


def test_a_machine_believes_fresh_facts_only(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.file(facts.PLACE)
    for at, fresh in [(3900.0, True), (4001.0, False), (4000.0 - facts.FRESH_S, False)]:
        facts.write(box.root / facts.PLACE.lstrip("/"), Facts(BOOT_ID, at, {"cmdline": "quiet"}))
        if fresh:
            assert box.machine().facts.text("cmdline") == "quiet"
        else:
            with pytest.raises(Unreadable):
                _ = box.machine().facts


def test_what_is_missing_says_why(tmp_path: Path) -> None:
    found = collect(Recorded(tmp_path).machine())
    assert set(found.texts) | set(found.missing) == set(TAKES)
    assert found.missing["cmdline"].startswith("FileNotFoundError")
    assert found.absent("cmdline")
    assert found.missing["ruleset"] == "Unmeasurable: nft is not installed"
    assert not found.absent("ruleset")
    with pytest.raises(Unreadable, match="nft is not installed"):
        found.text("ruleset")


def test_one_fact_out_of_bounds_leaves_the_others(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.file("/proc/cmdline", "x" * (facts.MAX_FACT_BYTES + 1))
    box.file("/proc/swaps", "Filename\n")
    box.answers("rauc status --output-format=json", out="y" * (facts.MAX_FACT_BYTES + 1))
    found = collect(box.machine())
    assert "longer than" in found.missing["cmdline"]
    assert "longer than" in found.missing["slots"]
    assert found.texts["swaps"] == "Filename\n"


def network_of(box: Recorded, own: int, box_has: int) -> None:
    for who, number in (("self", own), ("1", box_has)):
        folder = box.root / "proc" / who / "ns"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "net").unlink(missing_ok=True)
        (folder / "net").symlink_to(f"net:[{number}]")


def test_the_signed_firewall_is_loaded_into_an_empty_network_only(tmp_path: Path) -> None:
    """Into the box's own it would wipe what the configuration filled."""
    box = Recorded(tmp_path)
    bare, apart = "nft -j --echo -f /etc/nftables.conf", "unshare --net nft -j --echo -f /etc/nftables.conf"
    box.answers(bare, out="loaded here")
    box.answers(apart, out="loaded in a new one")
    assert collect(box.machine()).missing["ruleset_signed"].startswith("FileNotFoundError"), "not known: not loaded"
    network_of(box, own=7, box_has=7)
    assert collect(box.machine()).texts["ruleset_signed"] == "loaded in a new one"
    network_of(box, own=8, box_has=7)
    assert collect(box.machine()).texts["ruleset_signed"] == "loaded here"


def test_what_cannot_change_is_read_once_a_boot(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    network_of(box, own=1, box_has=1)
    command = "unshare --net nft -j --echo -f /etc/nftables.conf"
    box.answers(command, out="first")
    first = collect(box.machine())
    box.answers(command, out="second")
    assert collect(box.machine(), first).texts["ruleset_signed"] == "first"
    assert collect(box.machine()).texts["ruleset_signed"] == "second"
    other_boot = Facts("other", first.uptime_s, first.texts, {}, first.since)
    assert collect(box.machine(), other_boot).texts["ruleset_signed"] == "second"


def test_what_is_dear_is_read_anew_after_a_while(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    for path, content in [("/etc/passwd", "root:x:0:0::/:/x\n"), ("/etc/group", "root:x:0:\n"), ("/var/a", "")]:
        box.file(path, content)
    first = collect(box.machine())
    assert json.loads(first.texts["data_rights"])["files"] == 1
    box.file("/var/b")
    assert json.loads(collect(box.machine(), first).texts["data_rights"])["files"] == 1
    old = Facts(first.boot_id, first.uptime_s, first.texts, {}, {"data_rights": 4000.0 - LASTING_S["data_rights"]})
    assert json.loads(collect(box.machine(), old).texts["data_rights"])["files"] == 2


def test_wrong_rights_on_the_data_are_counted(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    me = f"me:x:{os.getuid()}:{os.getgid()}::/:/x\n"
    box.file("/etc/passwd", me)
    box.file("/etc/group", f"me:x:{os.getgid()}:\n")
    box.file("/var/lib/open/file").parent.chmod(0o777)
    box.file("/var/lib/sticky/file").parent.chmod(0o1777)
    box.file("/var/lib/program", mode=0o4755)
    (tmp_path / "var/lib/link").symlink_to("/etc")
    assert json.loads(collect(box.machine()).texts["data_rights"]) == {
        "files": 7, "unowned": 0, "open_folders": 1, "setuid": 1,
    }  # fmt: skip
    box.file("/etc/passwd", "somebody:x:4294967294:0::/:/x\n")
    assert json.loads(collect(box.machine()).texts["data_rights"])["unowned"] == 7


def test_neither_hashes_nor_salts_are_in_the_facts(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    box.file("/etc/passwd", "root:x:0:0::/:/usr/sbin/nologin\n")
    box.file("/etc/shadow", "root:$y$j9T$verysecret:1::::::\n")
    header = recorded("luks_header.json")
    box.answers(
        "cryptsetup luksDump --disable-locks --dump-json-metadata /dev/disk/by-partlabel/passevue-var", out=header
    )
    told = to_json(collect(box.machine()))
    assert "verysecret" not in told
    assert json.loads(header)["keyslots"]["0"]["kdf"]["salt"] not in told
    assert "root:0:open" in told


def test_sets_that_strangers_fill_are_not_listed(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    terse = json.loads(recorded("ruleset.json"))
    box.answers("nft -j --terse list ruleset", out=json.dumps(terse))
    for each in terse["nftables"]:
        if "set" in each:
            one = {"nftables": [each]}
            box.answers(f"nft -j list set inet passevue {each['set']['name']}", out=json.dumps(one))
    listed = json.loads(collect(box.machine()).texts["ruleset_sets"])["nftables"]
    names = {each["set"]["name"] for each in listed}
    assert {"mllp4", "page6", "cabinet", "national_outside4"} <= names
    assert not any("_open" in name or "_pace" in name for name in names)


def test_a_slot_is_empty_while_its_partitions_have_no_version_in_their_name(tmp_path: Path) -> None:
    box = Recorded(tmp_path)
    assert TAKES["slots_empty"](box.machine()) == ""
    for name, number in {"root-a": 2, "verity-a": 3, "root-b": 5, "verity-b": 6}.items():
        box.file(f"/dev/vda{number}")
        link = tmp_path / "dev/passevue" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../vda{number}")
    labels = tmp_path / "dev/disk/by-partlabel"
    labels.mkdir(parents=True)
    for number, told in {6: "verity-b\n", 5: "root-b\n", 9: ""}.items():  # the last is no slot of ours
        box.file(f"/dev/vda{number}")
        (labels / "_empty").unlink(missing_ok=True)
        (labels / "_empty").symlink_to(f"../../vda{number}")
        assert TAKES["slots_empty"](box.machine()) == told


def test_each_fact_is_read_by_one_unit() -> None:
    assert sorted(name for names in HANDS.values() for name in names) == sorted(ALL)
    assert {name for pieces in JOINED.values() for name in pieces} <= ALL


WHOLE = Facts(BOOT_ID, 1000.0, {"cmdline": "quiet"}, {"swaps": "no"})


def test_what_another_unit_read_is_taken_while_it_is_of_this_round() -> None:
    left = Facts(BOOT_ID, 990.0, {"links": "lo 772 - -"}, {"dns": "Unmeasurable: x"}, {"links": 3.0})
    whole = with_part(WHOLE, Hand.NETWORK, left, 1020.0)
    assert whole.texts == {"cmdline": "quiet", "links": "lo 772 - -"}
    assert whole.since == {"links": 3.0}
    assert whole.missing["dns"] == "Unmeasurable: x"
    assert whole.missing["ruleset"] == "not collected"
    assert whole.uptime_s == 990.0, "no fact is older than they say together"
    for late in (
        Facts(BOOT_ID, 1020.0 - ROUND_S, left.texts),
        Facts("other", 990.0, left.texts),
        Facts(BOOT_ID, 1021.0, left.texts),
        FileNotFoundError("none"),
    ):
        without = with_part(WHOLE, Hand.NETWORK, late, 1020.0)
        assert without.texts == WHOLE.texts
        assert without.uptime_s == 1000.0
        assert all(without.missing[name].startswith("passevue-facts-network: ") for name in HANDS[Hand.NETWORK])
        assert without.missing["swaps"] == "no"


def test_what_another_unit_read_while_this_one_was_at_work_counts() -> None:
    newer = Facts(BOOT_ID, 1010.0, {"links": "lo 772 - -"})
    whole = with_part(WHOLE, Hand.NETWORK, newer, 1020.0)
    assert whole.texts == {"cmdline": "quiet", "links": "lo 772 - -"}
    assert whole.uptime_s == 1000.0


def test_a_unit_speaks_of_its_own_facts_alone() -> None:
    """Who has taken the one that is not root says nothing about the disks, or the accounts."""
    whole = with_part(
        WHOLE,
        Hand.NETWORK,
        Facts(BOOT_ID, 999.0, {"cmdline": "lie", "luks": "lie", "accounts": "lie"}, {"mounts": "x"}),
        1020.0,
    )
    assert whole.texts == WHOLE.texts
    assert "mounts" not in whole.missing


def test_what_is_read_in_pieces_is_one_fact_or_none() -> None:
    pieces = {"sysctls_kernel": "a = 1\n", "sysctls_network": "b = 2\n"}
    assert joined(Facts(BOOT_ID, 1.0, pieces)).texts == {"sysctls": "a = 1\nb = 2\n"}
    del pieces["sysctls_network"]
    assert joined(Facts(BOOT_ID, 1.0, pieces)).missing == {"sysctls": "not collected"}
    lost = joined(Facts(BOOT_ID, 1.0, pieces, {"sysctls_network": "why"}))
    assert lost.missing == {"sysctls": "why"}
    assert not lost.texts


def test_a_value_that_systemd_handed_over_is_read_from_its_file(tmp_path: Path) -> None:
    """As the unit gets it: a number after the standard three, named in the environment."""
    (tmp_path / "value").write_text("2\n")
    program = (
        "from passevue.baseline.machine import Machine; from passevue.baseline.takes import TAKES;"
        "from datetime import datetime, UTC; from pathlib import Path;"
        f"print(TAKES['sysctls_guarded'](Machine(Path({str(tmp_path)!r}), now=datetime.now(UTC))), end='')"
    )
    shell = ["sh", "-c", 'exec "$0" -c "$1" 3<"$2"', sys.executable, program, str(tmp_path / "value")]
    environ = {**os.environ, "LISTEN_FDNAMES": "bpf_jit_harden"}
    done = subprocess.run(shell, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "net.core.bpf_jit_harden = 2\n"
    environ["LISTEN_FDNAMES"] = "another"
    done = subprocess.run(shell, env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "", "and where it is not there nothing is said"


def test_this_machine_shows_what_the_rules_read() -> None:
    """Whatever machine runs the tests: the kernel's own files, in their real form."""
    machine = Machine(Path("/"), now=NOW)
    assert holding(read_mounts(TAKES["mounts"](machine)), "/proc/self").point == "/proc"
    assert read_sysctls(TAKES["sysctls_kernel"](machine))["kernel.randomize_va_space"] in {"0", "1", "2"}
    assert any(link.name == "lo" for link in read_links(TAKES["links"](machine)))
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = read_sockets(json.loads(TAKES["sockets"](machine)))
        ours = [each for each in found if each.port == server.getsockname()[1] and each.proto == "tcp"]
        assert [(each.address, each.loopback) for each in ours] == [("127.0.0.1", True)]
        assert ours[0].units  # a socket of this very process, whose files it may read
