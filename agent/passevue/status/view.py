"""The page as HTML: a summary in, markup out. Pure but for what is read once at import.

Everything goes through Jinja2's autoescape; nothing is marked safe. Values are chosen here; templates lay them out.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

from passevue.queue.listing import Line
from passevue.queue.room import Level
from passevue.queue.states import State
from passevue.status import words
from passevue.status.neighbours import Word
from passevue.status.page_templates import TEMPLATES
from passevue.status.protections import Grade, Protections
from passevue.status.summary import SOON_DAYS, VERY_SOON_DAYS, Certificate, Summary
from passevue.status.words import Language

MOST_TROUBLES = 20  # shown; the rest is a number


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file served from memory, under a name that changes with its content."""

    name: str
    content: bytes
    content_type: str


def _static(name: str, content_type: str) -> StaticFile:
    content = (files("passevue.status") / "static" / name).read_bytes()
    stem, _, suffix = name.partition(".")
    return StaticFile(f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}.{suffix}", content, content_type)


STATIC = {
    "css": _static("page.css", "text/css"),
    "js": _static("page.js", "text/javascript"),
    "people": _static("people.js", "text/javascript"),
    "icon": _static("icon.svg", "image/svg+xml"),
}
_PAGE = TEMPLATES.get_template("page.html")
_MAIN = TEMPLATES.get_template("main.html")


def whole_page(summary: Summary, language: Language, zone: ZoneInfo, *, sign_in: bool = False) -> str:
    """`sign_in`: whether people can sign in at this page."""
    return _PAGE.render(_values(summary, language, zone), sign_in=sign_in)


def main_part(summary: Summary, language: Language, zone: ZoneInfo) -> str:
    """What is inside <main>: what the live updates send."""
    return _MAIN.render(_values(summary, language, zone))


def _values(summary: Summary, language: Language, zone: ZoneInfo) -> dict[str, Any]:
    def t(french: str, english: str) -> str:
        return words.pick((french, english), language)

    def clock(at: datetime) -> str:
        return words.clock(at, summary.at, zone, language)

    shown = summary.troubles[:MOST_TROUBLES]
    by_state = summary.counters.by_state
    return {
        "s": summary,
        "box": summary.box,
        "path": "/",
        "asked": f"?lang={language.value}",
        "t": t,
        "lang": language.value,
        "clock": clock,
        "exact": lambda at: f"{at.astimezone(zone):%H:%M}",
        "files": {name: file.name for name, file in STATIC.items()},
        "verdict": words.verdict(summary, language),
        "lead": words.lead(summary, language),
        "findings": [
            {"word": finding.verdict.word, "sentence": words.sentence(finding, language)}
            for finding in summary.findings
        ],
        "figures": _figures(summary, language),
        "troubles": [_trouble(line, language) for line in shown],
        "more_troubles": max(by_state[State.SET_ASIDE] + by_state[State.HELD] - len(shown), 0),
        "waiting": _waiting(summary, language),
        "neighbours": [_neighbour(word, summary.at, language) for word in summary.neighbours],
        "recent": [
            {"number": line.number, "action": _action(line, language), "at": line.changed_at} for line in summary.recent
        ],
        "room": _room(summary, language),
        "certificates": [_certificate(each, summary.at, language) for each in summary.certificates],
        "protections": _protections(summary.protections, language),
    }


def _figures(summary: Summary, language: Language) -> list[dict[str, object]]:
    t = partial(_pick, language)
    counters = summary.counters
    aside = counters.by_state[State.SET_ASIDE] + counters.by_state[State.HELD]
    oldest = "" if summary.oldest is None else words.age(summary.oldest, language)
    under_way = counters.open - counters.in_doubt - counters.by_state[State.HELD]
    nothing = counters.nothing_today
    return [
        {
            "name": t("en attente", "waiting"),
            "count": under_way,
            "tone": "",
            "note": oldest and t(f"le plus ancien : {oldest}", f"oldest: {oldest}"),
        },
        {
            "name": t("en vérification", "being checked"),
            "count": counters.in_doubt,
            "tone": "watch" if counters.in_doubt else "",
            "note": "",
        },
        {
            "name": t("pour quelqu’un", "for a person"),
            "count": aside,
            "tone": "act" if aside else "",
            "note": "",
        },
        {
            "name": t("terminés aujourd’hui", "done today"),
            "count": counters.settled_today,
            "tone": "",
            "note": t(f"et {nothing} sans rien à envoyer", f"and {nothing} with nothing to send") if nothing else "",
        },
    ]


def _pick(language: Language, french: str, english: str) -> str:
    return words.pick((french, english), language)


def _trouble(line: Line, language: Language) -> dict[str, object]:
    hint, hint_language = words.hint(line, language)
    return {
        "number": line.number,
        "state": words.pick(words.STATES[line.state], language),
        "action": _action(line, language),
        "hint": hint,
        "hint_lang": hint_language.value,
        "reason": line.reason,
        "since": line.changed_at,
    }


def _action(line: Line, language: Language) -> str:
    return words.pick(words.ACTIONS.get(line.action, (line.action, line.action)), language)


def _waiting(summary: Summary, language: Language) -> list[dict[str, object]]:
    """What waits for a reason and needs nobody, by reason."""
    apart = (State.SET_ASIDE, State.HELD)
    counts: dict[str, int] = {}
    for state, reason, count in summary.counters.by_reason:
        if state not in apart:
            counts[reason] = counts.get(reason, 0) + count
    return [{"count": count, "why": words.why_waiting(reason, language)} for reason, count in counts.items()]


def _neighbour(word: Word, now: datetime, language: Language) -> dict[str, str]:
    health = word.health(now)
    return {
        "health": health.value,
        "name": words.pick(words.NEIGHBOUR_TITLES[word.neighbour], language),
        "role": words.pick(words.NEIGHBOUR_ROLES[word.neighbour], language),
        "state": words.pick(words.HEALTH[health], language),
        "when": words.last_word(word, now, language),
    }


def _room(summary: Summary, language: Language) -> dict[str, object] | None:
    if summary.room is None:
        return None
    tones = {Level.NORMAL: "", Level.WARN: "watch"}
    return {
        "state": words.pick(words.LEVELS[summary.room.level], language),
        "free": words.size(summary.room.volume.free_bytes, language),
        "percent": round(summary.room.volume.used_share * 100),
        "tone": tones.get(summary.room.level, "act"),
    }


def _protections(found: Protections | None, language: Language) -> dict[str, str] | None:
    """One line on the main page; the rest is on the page of its own."""
    if found is None:
        return None
    failing = found.failing
    if failing:
        tone = "watch" if failing[0].grade is Grade.WARN else "act"
        many = "s" if len(failing) > 1 else ""
        return {"tone": tone, "state": _pick(language, f"{len(failing)} à corriger", f"{len(failing)} problem{many}")}
    if found.closed:
        return {"tone": "watch", "state": _pick(language, "vérification en cours", "being checked")}
    count = len(found.of(Grade.WELL))
    return {"tone": "", "state": _pick(language, f"{count} protections en place", f"{count} protections in place")}


def _certificate(certificate: Certificate, now: datetime, language: Language) -> dict[str, str]:
    days = certificate.days_left(now)
    name = words.certificate(certificate.setting, certificate.structure, language)
    if days is None:
        return {"name": name, "left": _pick(language, "illisible", "unreadable"), "tone": "act"}
    if days < 0:
        return {"name": name, "left": _pick(language, "expiré", "expired"), "tone": "act"}
    left = _pick(language, f"encore {days} jours" if days > 1 else "jusqu’à demain", f"{days} days left")
    tone = "act" if days <= VERY_SOON_DAYS else "watch" if days <= SOON_DAYS else ""
    return {"name": name, "left": left, "tone": tone}
