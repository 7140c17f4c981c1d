"""What people read about the protections: on the main page, on the page of their own, in both languages."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from passevue.status import words
from passevue.status.protections import Grade
from passevue.status.security_view import security_page
from passevue.status.summary import Verdict
from passevue.status.words import Language
from tests.unit.status import protected
from tests.unit.status.test_page import PARIS, Scene, serving


async def shown(scene: Scene, path: str = "/security?lang=fr") -> str:
    async with serving(scene) as (_, session):
        answer = await session.get(path)
        assert answer.status == 200
        return re.sub(r"[ \n]+", " ", await answer.text())


async def test_what_fails_comes_with_why_and_what_to_do() -> None:
    html = await shown(Scene(protected.summary(protected.BLOCKED)))
    assert "Le boîtier s’est mis à l’abri" in html
    assert "Non assuré\N{NO-BREAK SPACE}: L’horloge est à l’heure" in html
    assert "une trace fausse ne prouve rien" in html
    assert "Vérifiez que le boîtier atteint ses serveurs de temps" in html
    assert html.index("APP-04") < html.index("TIME-01") < html.index("TLS-07")  # the gravest first


async def test_it_is_there_in_english() -> None:
    html = await shown(Scene(protected.summary(protected.BLOCKED)), "/security?lang=en")
    assert "The box has shut itself off" in html
    assert "Not ensured: The clock is right" in html
    assert "Check that the box reaches its time servers" in html
    assert '<html lang="en">' in html


async def test_a_stranger_is_not_told_what_was_measured() -> None:
    assert "offset 1.84 s" not in await shown(Scene(protected.summary(protected.BLOCKED)))


@pytest.mark.parametrize(
    ("lang", "reason"), [("fr", "Ce poste n’est pas le boîtier"), ("en", "This is not the appliance")]
)
async def test_a_laptop_says_why_rules_do_not_apply(lang: str, reason: str) -> None:
    html = await shown(Scene(protected.summary(protected.LAPTOP)), f"/security?lang={lang}")
    assert reason in html
    assert "BOOT-01" in html


async def test_what_was_proved_before_release_is_listed() -> None:
    html = await shown(Scene(protected.summary(protected.SOUND)))
    assert "Vérifiées avant la livraison" in html
    assert "Les protections sont en place" in html


async def test_before_the_first_look_it_says_so() -> None:
    assert "Pas encore vérifié" in await shown(Scene(protected.summary(None)))
    assert "Sécurité" not in await shown(Scene(protected.summary(None)), "/?lang=fr")


async def test_the_main_page_leads_there() -> None:
    html = await shown(Scene(protected.summary(protected.BLOCKED)), "/?lang=fr")
    assert 'href="/security?lang=fr"' in html
    assert "3 à corriger" in html


@pytest.mark.parametrize(
    ("found", "verdict", "said"),
    [
        (protected.SOUND, Verdict.FINE, ""),
        (protected.BLOCKED, Verdict.ACT, "plus rien ne part"),
        (protected.PENDING, Verdict.WATCH, "vérifie ses protections"),
        (protected.JUST_STARTED, Verdict.WATCH, "vérifie ses protections"),
        (protected.protections({"TIME-01": Grade.HOLD}), Verdict.ACT, "une fonction est suspendue"),
        (protected.protections({"TLS-07": Grade.WARN, "TIME-02": Grade.WARN}), Verdict.WATCH, "2 protections"),
        (protected.LAPTOP, Verdict.FINE, ""),
    ],
)
def test_the_verdict_of_the_box_counts_its_protections(found: object, verdict: Verdict, said: str) -> None:
    summary = protected.summary(found)  # type: ignore[arg-type]
    assert summary.verdict is verdict
    sentences = [words.sentence(finding, Language.FR) for finding in summary.findings]
    assert any(said in sentence for sentence in sentences) == bool(said)


def test_a_block_does_not_hide_a_warning() -> None:
    codes = [finding.code for finding in protected.summary(protected.BLOCKED).findings]
    assert codes == ["protection_block", "protection_hold", "protection_warn"]


def test_every_grade_has_its_words() -> None:
    for grade in (Grade.BLOCK, Grade.HOLD, Grade.WARN):
        found = replace(protected.protections({"TIME-01": grade}), closed=grade is Grade.BLOCK)
        for language in Language:
            for finding in protected.summary(found).findings:
                assert words.sentence(finding, language)


def test_the_page_holds_no_script_and_no_style_of_its_own() -> None:
    template = Path(words.__file__).parent / "templates" / "security.html"
    assert not re.search(r"<script|style=", template.read_text(encoding="utf-8"))


def test_who_has_signed_in_is_told_what_was_measured() -> None:
    html = security_page(protected.summary(protected.BLOCKED), Language.FR, PARIS, detail=True)
    assert html.count("offset 1.84 s") == 3
    assert "offset 1.84 s" not in security_page(protected.summary(protected.BLOCKED), Language.FR, PARIS, detail=False)
