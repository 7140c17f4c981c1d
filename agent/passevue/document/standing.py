"""Which reports stand on a study, and which of them its manifest speaks for. Pure.

A study has one manifest (kos.md) but may have several reports: two radiologists, two RIS, a second reading. The last
one that came speaks; the others are kept in its record (`Record.others`), so that deleting one report never takes the
images from under another. Versions of one report are known by their setId, in older files by the id that each replaces.
"""

from dataclasses import replace

from passevue.document.header import Report
from passevue.document.record import Record

__all__ = ["MAX_OTHERS", "is_older", "less", "same_report", "taking_over"]

MAX_OTHERS = 8  # headers are some 25 kB each; a ninth report of one study would push out the oldest


def same_report(one: Report, other: Report) -> bool:
    """Two versions of one report, in whichever order."""
    if one.set_id is not None and other.set_id is not None:
        return one.set_id == other.set_id
    return one.id in (other.id, other.replaced_id) or one.replaced_id == other.id


def is_older(asked: Report, known: Record) -> bool:
    """Whether a later version of `asked` stands already: it was overtaken on its way, and must not undo that one."""
    return any(_precedes(asked, standing) for each in (known, *known.others) if (standing := each.report) is not None)


def _precedes(asked: Report, standing: Report) -> bool:
    if not same_report(asked, standing) or asked.replaced_id == standing.id:
        return False
    return standing.replaced_id == asked.id or 0 < asked.version < standing.version


def taking_over(record: Record, report: Report, known: Record) -> Record:
    """`record`, of `report`, which speaks from now on; what `known` keeps of other reports stays."""
    others = tuple(_alone(each) for each in (known, *known.others) if _is_other(each, report))
    return replace(record, others=others[:MAX_OTHERS])


def less(known: Record, report: Report | None) -> Record:
    """`known` without that report: the next one speaks, or none (empty header). The same when it is not among them."""
    if report is None:
        return known
    others = tuple(each for each in known.others if _is_other(each, report))
    if not known.header or _is_other(known, report):
        return replace(known, others=others)
    following = others[0] if others else Record()
    return replace(
        following,
        kos_series_uid=known.kos_series_uid,
        instance_number=known.instance_number,
        rejected=known.rejected,
        others=others[1:],
    )


def _is_other(record: Record, report: Report) -> bool:
    standing = record.report
    return standing is not None and not same_report(report, standing)


def _alone(record: Record) -> Record:
    """What is kept of a report beside another: nothing of the study."""
    return replace(record, kos_series_uid="", instance_number=0, rejected=(), others=())
