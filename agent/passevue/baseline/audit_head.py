"""How far the audit trail, and the row of signed heads, had come when they were last found whole: left by the engine,
read by LOG-03.

The trail's folder is every zone's to write; this file is the host zone's alone. So a zone that was taken over cannot
cut records off the end, nor write the trail anew from its start, without it being seen at the next look: the record
that was the last is still there, with its chain, or it is not. The heads are the notary's alone to write; noted here,
in another zone's file, the last of them cannot be cut off by it either.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from passevue.baseline.heartbeat import put
from passevue.baseline.machine import Machine
from passevue.baseline.places import audit_folder, baseline_folder
from passevue.baseline.reading.audit_chain import Record, last_record
from passevue.baseline.reading.signed_heads import read_last
from passevue.notary.trail import TAIL
from passevue.shared import open_plain

NAME: Final = "audit-head.json"
MAX_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Noted:
    """The last record; count and digest of the last signed head, 0 and "" while there was none."""

    end: Record
    heads: int = 0
    head: str = ""


def trail_files(machine: Machine) -> list[str]:
    """Names of the trail's files, the oldest first; none where there is no trail yet. Raises: OSError."""
    try:
        names = machine.names(audit_folder(machine.config))
    except FileNotFoundError:
        return []
    return [name for name in names if name.startswith("audit-") and name.endswith(".log")]


def write_head(folder: Path, machine: Machine) -> None:
    """Note the last record and head, once they are on the disk: a power cut takes none, or this note alone. Blocks.

    Raises:
        OSError, Unreadable.
    """
    names = trail_files(machine)
    if not names:
        return
    path = audit_folder(machine.config) / names[-1]
    handle = open_plain(machine.path(path))
    try:
        last = last_record(machine.read_tail(path, TAIL))
        os.fsync(handle)
    finally:
        os.close(handle)
    signed = read_last(machine)
    told = {"heads": signed.head.count, "head": signed.digest} if signed else {}
    put(folder / NAME, json.dumps({"number": last.number, "chain": last.chain, **told}))


def read_head(machine: Machine) -> Noted | None:
    """None when none was noted, or what is there makes no sense. Raises: OSError when it may not be read."""
    try:
        tree = json.loads(machine.read_bytes(baseline_folder(machine.config) / NAME, MAX_BYTES))
        end = Record(int(tree["number"]), str(tree["chain"]))
        return Noted(end, int(tree.get("heads", 0)), str(tree.get("head", "")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None
