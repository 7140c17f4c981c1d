"""What time removes (Q-18): the content of settled entries after some days, their proof after the controller's delay.

The KOS that the archive shows stays whatever its age: it is what replaces, withdraws and exports. Each call removes a
bounded number, so that no transaction is long; the caller repeats until nothing is left, and audits the sums.
"""

from dataclasses import dataclass

from passevue.queue.connection import Connection

__all__ = ["Purged", "purge_content", "purge_proof"]

BATCH = 200


@dataclass(frozen=True, slots=True)
class Purged:
    """What one purge removed: for the audit trail."""

    contents: int = 0
    proofs: int = 0


def purge_content(conn: Connection, before: int) -> int:
    """Remove the bytes of entries settled before the stamp; gives how many entries. Runs in a transaction."""
    rows = conn.run("purge.EXPIRED", before=before, most=BATCH)
    for number, received_id, study_uid in rows:
        conn.run("purge.DROP_FROZEN", which=number, study=study_uid)
        if not conn.run("purge.SIBLING_OPEN", which=received_id, before=before):
            conn.run("purge.DROP_CONTENT", which=received_id)
        conn.run("purge.MARK", which=number)
    return len(rows)


def purge_proof(conn: Connection, before: int) -> int:
    """Remove all trace of entries settled before the stamp, whose content went earlier; gives how many."""
    rows = conn.run("purge.OLD", before=before, most=BATCH)
    for number, received_id, _study_uid in rows:
        for statement in (
            "purge.DROP_PROOF",
            "purge.DROP_ACTS",
            "purge.DROP_SUBMISSION",
            "purge.ORPHAN",
            "purge.DROP_ENTRY",
        ):
            conn.run(statement, which=number)
        if not conn.run("purge.SIBLING", which=received_id):
            conn.run("purge.DROP_CONTENT", which=received_id)
            conn.run("purge.DROP_RECEIVED", which=received_id)
    return len(rows)
