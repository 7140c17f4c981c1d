"""The page of what the box is made of, in words. Pure but for the template."""

from datetime import timedelta
from typing import Any

from passevue import __version__
from passevue.status import words
from passevue.status.contents import LICENCES, SBOM, Contents
from passevue.status.people_view import Frame, contents
from passevue.status.people_words import Pair, say

SOON = timedelta(days=180)  # UPD-07
TITLES: dict[str, Pair] = {
    SBOM: ("Nomenclature logicielle (SBOM)", "Bill of materials (SBOM)"),
    LICENCES: ("Liste des licences", "List of licences"),
}
USES: dict[str, Pair] = {
    SBOM: (
        "Pour un programme : il y cherche les failles qui viennent d’être publiées.",
        "For a program: it looks in it for flaws that were just made public.",
    ),
    LICENCES: (
        "Pour une personne : chaque logiciel, sa licence, où se trouvent son texte et ses sources.",
        "For a person: each piece of software, its licence, where its text and its sources are. In French.",
    ),
}
TAKES: dict[str, Pair] = {
    SBOM: ("Télécharger la nomenclature", "Download the bill of materials"),
    LICENCES: ("Télécharger les licences", "Download the licences"),
}


def page(frame: Frame, found: Contents | None, wrong: str) -> str:
    """`found` None with `wrong` "": a laptop. `wrong`: a French sentence for who maintains the box."""
    shown: dict[str, Any] = {
        "wrong": words.spaced(wrong, words.Language.FR),
        "support": None,
        "facts": [],
        "papers": [],
    }
    if found is None:
        shown["facts"] = [_fact(frame, ("Version", "Version"), __version__)]
    else:
        shown |= {"support": _support(frame, found), "facts": _facts(frame, found), "papers": _papers(frame, found)}
    return contents(frame, shown)


def _facts(frame: Frame, found: Contents) -> list[dict[str, Any]]:
    lang = frame.language
    kind = say(("développement, pas pour des patients", "development, not for patients"), lang)
    built = words.day(found.built_at.astimezone(frame.zone).date(), lang) if found.built_at else ""
    counted = say(
        (
            "{all} : {debian} paquets Debian, {python} bibliothèques Python, {carried} qu’elles emportent",
            "{all}: {debian} Debian packages, {python} Python libraries, {carried} that these carry",
        ),
        lang,
        {"all": found.components, "debian": found.debian, "python": found.python, "carried": found.carried},
    )
    return [
        _fact(frame, ("Version", "Version"), f"{found.version} ({kind})" if found.development else found.version),
        _fact(frame, ("Révision du code", "Source commit"), found.commit or _unsaid(frame), code=bool(found.commit)),
        _fact(frame, ("Date du code", "Date of the source"), built or _unsaid(frame)),
        _fact(frame, ("Composants", "Components"), counted),
    ]


def _unsaid(frame: Frame) -> str:
    return say(("non indiquée par cette image", "not said by this image"), frame.language)


def _fact(frame: Frame, name: Pair, value: str, *, code: bool = False) -> dict[str, Any]:
    return {"name": say(name, frame.language), "value": value, "code": code}


def _support(frame: Frame, found: Contents) -> dict[str, str]:
    """How long flaws are still corrected."""
    if found.support_end is None:
        pair = (
            "Cette version ne dit pas jusqu’à quand elle est maintenue.",
            "This version does not say how long it is supported.",
        )
        return {"tone": "watch", "text": say(pair, frame.language)}
    left = found.support_end - frame.now.astimezone(frame.zone).date()
    until = {"day": words.day(found.support_end, frame.language)}
    if left < timedelta():
        tone, pair = (
            "act",
            (
                "La maintenance s’est arrêtée le {day} : les failles ne sont plus corrigées. Changez de version.",
                "Support ended on {day}: flaws are corrected no more. Move to the next version.",
            ),
        )
    elif left < SOON:
        tone, pair = (
            "watch",
            (
                "Cette version est maintenue jusqu’au {day} : prévoyez le passage à la version suivante.",
                "This version is supported until {day}: plan the move to the next version.",
            ),
        )
    else:
        tone, pair = (
            "fine",
            (
                "Cette version est maintenue jusqu’au {day} : d’ici là, les failles sont corrigées.",
                "This version is supported until {day}: flaws are corrected until then.",
            ),
        )
    return {"tone": tone, "text": say(pair, frame.language, until)}


def _papers(frame: Frame, found: Contents) -> list[dict[str, str]]:
    lang = frame.language
    formats = {SBOM: f"{found.format}, JSON", LICENCES: say(("texte", "text"), lang)}
    return [
        {
            "name": paper.name,
            "title": say(TITLES[paper.name], lang),
            "use": say(USES[paper.name], lang),
            "take": say(TAKES[paper.name], lang),
            "kind": f"{formats[paper.name]}, {words.size(paper.size, lang)}",
            "sha256": paper.sha256,
        }
        for paper in found.papers
    ]
