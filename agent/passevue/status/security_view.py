"""The security page as HTML: the rules of the baseline, in words. Pure but for the template.

What was measured (`observed`) is for who maintains the box: it is shown to people who have signed in, and to nobody
else on the network. What fails, why it matters and what to do is for everybody.
"""

from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from passevue.status import words
from passevue.status.page_templates import TEMPLATES
from passevue.status.protections import Grade, Protection, Protections
from passevue.status.summary import Summary
from passevue.status.view import STATIC
from passevue.status.words import Language

EFFECTS = {
    Grade.BLOCK: ("plus rien ne part", "nothing leaves any more"),
    Grade.HOLD: ("une fonction est suspendue", "a function is stopped"),
    Grade.WARN: ("à signaler", "to be reported"),
    Grade.UNSURE: ("en cours", "under way"),
}
TONES = {Grade.BLOCK: "act", Grade.HOLD: "act", Grade.WARN: "watch", Grade.UNSURE: "watch"}
VERDICTS = {
    "none": ("Pas encore vérifié", "Not checked yet"),
    "fine": ("Les protections sont en place", "The protections are in place"),
    "pending": ("Vérification en cours", "Check under way"),
    Grade.WARN: ("Une protection est à corriger", "A protection needs attention"),
    Grade.HOLD: ("Une fonction est suspendue", "A function is stopped"),
    Grade.BLOCK: ("Le boîtier s’est mis à l’abri", "The box has shut itself off"),
}
LEADS = {
    "none": ("Le boîtier n’a pas encore regardé ses protections.", "The box has not looked at its protections yet."),
    "fine": ("Le boîtier se vérifie lui-même toutes les dix minutes.", "The box checks itself every ten minutes."),
    "pending": (
        "Rien ne part vers le réseau national avant la fin de la vérification.",
        "Nothing goes to the national network before the check is done.",
    ),
    Grade.WARN: ("Le boîtier continue son travail.", "The box goes on working."),
    Grade.HOLD: (
        "Le reste continue. La fonction reprendra dès que ce sera corrigé.",
        "The rest goes on. The function resumes once this is put right.",
    ),
    Grade.BLOCK: (
        "Rien ne part vers le réseau national. Les comptes rendus reçus sont gardés et partiront ensuite.",
        "Nothing goes to the national network. Reports received are kept and will leave afterwards.",
    ),
    "elsewhere": (
        "Ce poste n’est pas le boîtier : ce qui dépend du boîtier n’y est pas vérifié, et rien n’y est arrêté.",
        "This is not the appliance: what belongs to it is not checked here, and nothing is stopped.",
    ),
}
_REASONS = {"ce poste n’est pas le boîtier": "this is not the appliance"}
_TEMPLATE = TEMPLATES.get_template("security.html")


def security_page(summary: Summary, language: Language, zone: ZoneInfo, *, detail: bool) -> str:
    """`detail`: whether what was measured is shown."""
    t = partial(_pick, language)
    found = summary.protections
    state = _state(found)
    lead = LEADS["elsewhere"] if found is not None and not found.on_box and state == "fine" else LEADS[state]
    return _TEMPLATE.render(
        t=lambda french, english: words.spaced(t(french, english), language),
        lang=language.value,
        box=summary.box,
        version=summary.version,
        path="/security",
        asked=f"?lang={language.value}",
        files={name: file.name for name, file in STATIC.items()},
        clock=lambda at: words.clock(at, summary.at, zone, language),
        tone="watch" if state in ("none", "pending") else TONES.get(Grade(state), "fine") if state in TONES else "fine",
        verdict=words.spaced(t(*VERDICTS[state]), language),
        lead=words.spaced(t(*lead), language),
        at=found.at if found is not None else None,
        failing=[_card(rule, language, detail=detail) for rule in found.failing] if found is not None else [],
        unsure=_rows(found, Grade.UNSURE, language),
        well=_rows(found, Grade.WELL, language),
        apart=_groups(found, language),
        proved=[{"id": rule_id, "title": t(*title)} for rule_id, title in found.proved] if found is not None else [],
    )


def _state(found: Protections | None) -> str:
    if found is None:
        return "none"
    if found.failing:
        return found.failing[0].grade
    return "pending" if found.closed else "fine"


def _card(rule: Protection, language: Language, *, detail: bool) -> dict[str, Any]:
    t = partial(_pick, language)
    return {
        "id": rule.id,
        "tone": TONES[rule.grade],
        "title": t(*rule.title),
        "effect": t(*EFFECTS[rule.grade]),
        "why": words.spaced(t(*rule.why), language),
        "remedy": words.spaced(t(*rule.remedy), language),
        "observed": rule.observed if detail else "",
        "since": rule.since,
    }


def _rows(found: Protections | None, grade: Grade, language: Language) -> list[dict[str, str]]:
    if found is None:
        return []
    return [{"id": rule.id, "title": words.pick(rule.title, language)} for rule in found.of(grade)]


def _groups(found: Protections | None, language: Language) -> list[dict[str, Any]]:
    """What does not apply, together where the reason is the same; reasons without English are marked as French."""
    rules = found.of(Grade.APART) if found is not None else []
    groups = []
    for reason in dict.fromkeys(rule.observed for rule in rules):
        english = _REASONS.get(reason) if language is Language.EN else None
        shown = english or words.spaced(reason, Language.FR)
        rows = [{"id": rule.id, "title": words.pick(rule.title, language)} for rule in rules if rule.observed == reason]
        groups.append(
            {
                "reason": shown[:1].upper() + shown[1:],
                "lang": (Language.EN if english else Language.FR).value,
                "rules": rows,
            }
        )
    return groups


def _pick(language: Language, french: str, english: str) -> str:
    return words.pick((french, english), language)
