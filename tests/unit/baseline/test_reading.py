"""What the kernel and the system's programs write: anything is read, or refused with our own error, and soon."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passevue.baseline.reading import accounts, device_mapper, event_log, luks, properties, ruleset, settings, sockets
from passevue.baseline.reading.command_line import read_command_line
from passevue.baseline.reading.links import read_links
from passevue.baseline.reading.modules import loaded, names_of, refused
from passevue.baseline.reading.mounts import holding, read_mounts
from passevue.baseline.reading.resolved import read_values
from passevue.baseline.reading.signature_list import entries
from passevue.baseline.reading.slots import read_slots
from passevue.errors import Unreadable
from tests.unit.baseline.a_box import EVENTS, MOUNTS, OWN_KEY, firmware_log, healthy, recorded, signature_list

BOX = healthy()
PASSWD = "root:x:0:0:root:/root:/usr/sbin/nologin\nsync:x:4:65534:sync:/bin:/bin/sync\n"
SHADOW = "root:!*:19000:0:99999:7:::\nsync:*:19000:0:99999:7:::\n"
PROC_NET = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 5001 1 0 100 0 0 10 5\n"
)


def spoiled(text: str) -> st.SearchStrategy[str]:
    """`text` with a piece taken out and something else put in, or anything at all."""
    place = st.integers(0, len(text))
    pieces = st.tuples(
        place,
        place,
        st.text(max_size=8) | st.sampled_from([" ", "\n", "=", ":", "-1", "\0", "[", "é", "²", "1e999", "7"]),
    )
    return pieces.map(lambda found: text[: min(found[:2])] + found[2] + text[max(found[:2]) :]) | st.text(max_size=60)


TEXTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "mounts": (lambda text: holding(read_mounts(text), "/var/lib"), MOUNTS),
    "dmsetup": (lambda text: [device_mapper.read_verity(each) for each in device_mapper.read_targets(text)],
                BOX["verity_table"]),
    "mapped": (device_mapper.read_mapped, BOX["mapped"]),
    "command line": (lambda text: (read_command_line(text).root_hash, read_command_line(text).fixed), BOX["cmdline"]),
    "accounts": (accounts.read_accounts, BOX["accounts"]),
    "passwd": (lambda text: accounts.joined(text, SHADOW), PASSWD),
    "shadow": (lambda text: accounts.joined(PASSWD, text), SHADOW),
    "proc net": (lambda text: sockets.read_proc_net(text, "tcp"), PROC_NET),
    "cgroup": (sockets.unit_of, "0::/system.slice/passevue-page.service\n"),
    "units": (properties.read_units, BOX["units"]),
    "duration": (properties.seconds, "1min 30s 500ms"),
    "sysctls": (settings.read_sysctls, BOX["sysctls"]),
    "settings": (settings.read_settings, BOX["coredump"]),
    "links": (read_links, BOX["links"]),
    "modules": (loaded, BOX["modules_loaded"]),
    "modprobe": (refused, BOX["modprobe"]),
    "modules.dep": (lambda text: names_of(text.splitlines()), "kernel/fs/erofs/erofs.ko.xz: kernel/lib/x.ko.xz\n"),
    "resolvectl": (read_values, BOX["llmnr"]),
    "systemd's log": (lambda text: event_log.replay(firmware_log(EVENTS), text), BOX["event_log_systemd"]),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@given(data=st.data())
def test_any_text_is_read_or_refused(name: str, data: st.DataObject) -> None:
    read, text = TEXTS[name]
    with contextlib.suppress(Unreadable):
        read(data.draw(spoiled(text)))


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_whole_is_read(name: str) -> None:
    read, text = TEXTS[name]
    assert read(text)


RAW: dict[str, tuple[Callable[[bytes], Any], bytes]] = {
    "firmware log": (event_log.replay, firmware_log(EVENTS)),
    "signature list": (entries, signature_list(OWN_KEY, b"another")),
}


@pytest.mark.parametrize("name", RAW)
@given(data=st.data())
def test_any_bytes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    read, raw = RAW[name]
    at, more = data.draw(st.integers(0, len(raw))), data.draw(st.binary(max_size=12))
    cut = data.draw(st.integers(at, len(raw)))
    with contextlib.suppress(Unreadable):
        read(raw[:at] + more + raw[cut:])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
TREES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "luks": (lambda tree: luks.read_luks(luks.without_secrets(tree)), recorded("luks_header.json")),
    "luks, pruned": (luks.read_luks, BOX["luks"]),
    "slots": (lambda tree: read_slots(tree).booted, recorded("slots.json")),
    "sockets": (lambda tree: [each.loopback for each in sockets.read_sockets(tree)], BOX["sockets"]),
    "ruleset": (lambda tree: ruleset.read_ruleset(tree).shape, recorded("ruleset_sets.json")),
    "networks": (lambda tree: ruleset.networks([json.dumps(tree)]), '{"prefix": {"addr": "10.0.0.0", "len": 8}}'),
    "range": (lambda tree: ruleset.networks([json.dumps(tree)]), '{"range": ["10.0.0.1", "10.0.0.9"]}'),
    "pairs": (lambda tree: ruleset.pairs([json.dumps(tree)]), '{"concat": ["10.0.0.1", 443]}'),
}


@pytest.mark.parametrize("name", TREES)
@given(data=st.data())
def test_any_tree_is_read_or_refused(name: str, data: st.DataObject) -> None:
    read, text = TREES[name]
    tree = json.loads(text)
    whole = [tree]
    _spoil(whole, data)
    with contextlib.suppress(Unreadable):
        read(whole[0])


@pytest.mark.parametrize("name", TREES)
def test_a_whole_tree_is_read(name: str) -> None:
    read, text = TREES[name]
    assert read(json.loads(text))


def _spoil(parent: Any, data: st.DataObject) -> None:
    """Go down some steps, then put anything there, or take it away."""
    keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
    key = data.draw(st.sampled_from(keys))
    inner = parent[key]
    if isinstance(inner, dict | list) and inner and data.draw(st.booleans() | st.just(True)):
        _spoil(inner, data)
    elif isinstance(parent, dict) and data.draw(st.booleans()):
        del parent[key]
    else:
        parent[key] = data.draw(JSON)


def test_a_replay_does_not_end_early() -> None:
    """Each event that extends a PCR changes its value, and no other's."""
    whole = event_log.replay(firmware_log(EVENTS))
    assert set(whole) == {4, 7, 11}
    more = event_log.replay(firmware_log([*EVENTS, (4, 1, b"x" * 32)]))
    assert {pcr for pcr in whole if more[pcr] != whole[pcr]} == {4}


def test_many_events_are_too_many() -> None:
    with pytest.raises(Unreadable):
        event_log.replay(firmware_log([(4, 1, bytes(32))] * 20_001))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("proc net", "3500007F:0035", "3500007:0035"),  # half a byte
        ("proc net", " 5001 ", " 5²01 "),  # a digit to Unicode, no number to anybody
        ("links", " 772 ", " 77² "),
        ("links", " 772 ", f" {'7' * 5000} "),  # longer than Python makes a number of
        ("accounts", ":0:", ":²:"),
        ("systemd's log", '"pcr": 11', '"pcr": 1e999'),
    ],
)
def test_what_only_looks_like_a_number_is_refused(name: str, old: str, new: str) -> None:
    read, text = TEXTS[name]
    assert old in text
    with pytest.raises(Unreadable):
        read(text.replace(old, new, 1))
