"""The pages of people as HTML: sign-in, one's own page, entries, the site's page. Pure but for the templates.

Everything goes through Jinja2's autoescape. What every page needs is a `Frame`; each function adds what it shows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from passevue.errors import ConfigError
from passevue.queue.listing import Line, Shown
from passevue.queue.states import State
from passevue.status import people_words, words
from passevue.status.card_view import CardPhase, CardSeen, CardsView
from passevue.status.entry_acts import Looked
from passevue.status.notices import Notice, notice_of, told
from passevue.status.page_templates import TEMPLATES
from passevue.status.people_words import Pair
from passevue.status.roles import Right, Role
from passevue.status.session import Session
from passevue.status.view import STATIC
from passevue.status.visitor import Place
from passevue.status.visits import Push, PushPhase
from passevue.status.words import Language, pick

FOR_PERSON = (State.SET_ASIDE, State.HELD)
HOMES = {Role.PRACTITIONER: "/me", Role.ADMIN: "/site"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page stands in.

    Attributes:
        path: of this page, for the links to the other language.
        asked: query to keep the language, "" when it was not asked for.
        token: for the forms of this page.
        events: where its live view is, "" when it has none.
        on_box: this is an appliance.
    """

    box: str
    version: str
    zone: ZoneInfo
    language: Language
    now: datetime
    place: Place
    path: str
    asked: str
    token: str
    session: Session | None = None
    notice: tuple[people_words.Tone, str] | None = None
    events: str = ""
    on_box: bool = False


def _render(template: str, frame: Frame, values: Mapping[str, Any]) -> str:
    return TEMPLATES.get_template(template).render(_common(frame), **values)


def _common(frame: Frame) -> dict[str, Any]:
    def t(french: str, english: str) -> str:
        return people_words.say((french, english), frame.language)

    return {
        "t": t,
        "lang": frame.language.value,
        "box": frame.box,
        "version": frame.version,
        "files": {name: file.name for name, file in STATIC.items()},
        "path": frame.path,
        "asked": frame.asked,
        "token": frame.token,
        "events": frame.events,
        "on_box": frame.on_box,
        "clock": lambda at: words.clock(at, frame.now, frame.zone, frame.language),
        "session": _session(frame.session, t),
        "notice": {"tone": frame.notice[0].value, "text": frame.notice[1]} if frame.notice else None,
    }


def _session(session: Session | None, t: Any) -> dict[str, str] | None:
    if session is None:
        return None
    name = session.person.name if session.person is not None else t("Compte du site", "Site account")
    return {"name": name, "home": HOMES[session.role]}


# --- sign-in ---------------------------------------------------------------------------------------------------------


def sign_in(frame: Frame, view: CardsView | None, *, has_psc: bool) -> str:
    """`view` None: this box has no readers to speak of."""
    shown = {
        "may_sign_in": frame.place.may_sign_in,
        "has_cards": view is not None,
        "has_psc": has_psc,
        **_cards(frame, view or CardsView()),
    }
    return _render("sign_in.html", frame, shown)


def cards_part(frame: Frame, view: CardsView) -> str:
    return _render("cards.html", frame, _cards(frame, view))


def _cards(frame: Frame, view: CardsView) -> dict[str, Any]:
    empty = people_words.NO_CARD if view.readers else people_words.NO_READER
    state = "wanted" if view.readers else "away"
    if not view.service:
        empty, state = people_words.NO_SERVICE, "away"
    cards = [_card(frame, seen) for seen in view.cards]
    said = [card["words"] for card in cards] or [_both(empty, frame.language)]
    return {
        "cards": cards,
        "state": state,
        "words": _both(empty, frame.language),
        "say": " ".join(f"{title}. {do}" for title, do in said),
    }


def _card(frame: Frame, seen: CardSeen) -> dict[str, Any]:
    at_box = frame.place is Place.AT_BOX
    title, do = _both(people_words.CARDS[seen.phase], frame.language)
    said_in = frame.language
    if seen.said and seen.phase in (CardPhase.UNKNOWN, CardPhase.FAULT) and frame.language is Language.FR:
        do = seen.said
    asks = seen.phase.asks_code and (at_box or seen.phase is not CardPhase.LAST_TRY)
    if seen.phase.asks_code and not asks:
        do = pick(people_words.LAST_TRY_ELSEWHERE, frame.language)
    tone = "" if asks or seen.phase in (CardPhase.READING, CardPhase.IN_USE) else "wrong"
    return {
        "insertion": seen.insertion,
        "phase": seen.phase.value,
        "tone": tone,
        "words": (title, do),
        "lang": said_in.value,
        "name": f"{seen.given} {seen.family}".strip() if at_box else "",
        "number": seen.number if at_box else "",
        "form": asks,
        "tries": _tries(seen.tries_left, frame.language),
    }


def _tries(left: int | None, language: Language) -> str:
    """Told when somebody was wrong before."""
    if left is None or left >= 3:
        return ""
    many = "s" if left > 1 else ""
    return pick((f"Il reste {left} essai{many}.", f"{left} {'tries are' if many else 'try is'} left."), language)


def phone(frame: Frame, push: Push) -> str:
    return _render("phone.html", frame, _phone(frame, push))


def phone_part(frame: Frame, push: Push) -> str:
    return _render("phone_part.html", frame, _phone(frame, push))


def _phone(frame: Frame, push: Push) -> dict[str, Any]:
    title, do = _both(people_words.PUSH[push.phase], frame.language)
    if push.phase is PushPhase.FAILED and push.error is not None:
        do = told(notice_of(push.error), frame.language)[1]
    number = push.request.binding_message
    return {
        "phase": push.phase.value,
        "words": (title, do),
        "number": number,
        "ends_at": push.request.ends_at,
        "until": f"{push.request.ends_at.astimezone(frame.zone):%H:%M:%S}",
        "say": f"{title}. {number}" if push.phase is PushPhase.WAITING else f"{title}. {do}",
    }


def site_sign_in(frame: Frame, *, claimed: bool) -> str:
    return _render("site.html", frame, {"claimed": claimed, "may_sign_in": frame.place.may_sign_in})


def passage(frame: Frame, to: str) -> str:
    return _render("passage.html", frame, {"to": to})


def turned_away(frame: Frame, notice: Notice) -> str:
    return _render("turned_away.html", frame, {"text": told(notice, frame.language)[1]})


# --- signed in -------------------------------------------------------------------------------------------------------


def me(frame: Frame, session: Session, lines: Sequence[Line]) -> str:
    person = session.person
    if person is None:
        raise ValueError("a practitioner's session names a person")
    situations = [
        {
            "name": one.structure_name or one.structure_id,
            "detail": _detail(one.profession, one.sector, frame.language),
            "chosen": one == session.situation,
        }
        for one in person.situations
    ]
    shown = {
        "name": person.name,
        "id_nat": person.id_nat,
        "profession": people_words.profession(person.profession, frame.language),
        "method": pick(people_words.METHODS[session.method], frame.language),
        "situations": situations,
        "chosen": session.situation is not None,
    }
    return _render("me.html", frame, {"me": shown, **_entries(lines, frame.language)})


def _detail(profession: str, sector: str, language: Language) -> str:
    both = (people_words.profession(profession, language), people_words.sector(sector, language))
    return ", ".join(one for one in both if one)


def site(frame: Frame, lines: Sequence[Line], problems: Iterable[ConfigError], *, has_machine: bool = False) -> str:
    wrong = [{"key": one.key, "hint": one.hint or one.message} for one in problems]
    return _render(
        "admin.html", frame, {"problems": wrong, "has_machine": has_machine, **_entries(lines, frame.language)}
    )


def machine(frame: Frame, shown: Mapping[str, Any]) -> str:
    return _render("machine.html", frame, shown)


def stick_part(frame: Frame, percent: int) -> str:
    """How far a file from the stick is: a live part of `machine`."""
    return _render("stick_part.html", frame, {"percent": percent})


def update_part(frame: Frame, update: Mapping[str, Any]) -> str:
    """Where the update is: a live part of `machine`."""
    return _render("update_part.html", frame, {"update": update})


def contents(frame: Frame, shown: Mapping[str, Any]) -> str:
    return _render("contents.html", frame, shown)


def entry(frame: Frame, looked: Looked) -> str:
    line = looked.shown.line
    acts = [{"name": act.value, "words": pick(people_words.ACTS[act], frame.language)} for act in looked.acts]
    shown = {
        "entry": _line(line, frame.language),
        "about": _about(looked),
        "acts": acts,
        "own_name_by_card": looked.own_name_by_card,
        "facts": _facts(frame, looked.shown),
    }
    return _render("entry.html", frame, shown)


def _entries(lines: Sequence[Line], language: Language) -> dict[str, Any]:
    return {
        "for_person": [_line(line, language) for line in lines if line.state in FOR_PERSON],
        "by_itself": [_line(line, language) for line in lines if line.state not in FOR_PERSON],
    }


def _line(line: Line, language: Language) -> dict[str, Any]:
    hint, hint_language = words.hint(line, language) if line.reason or line.hint else ("", language)
    return {
        "number": line.number,
        "state": pick(words.STATES[line.state], language),
        "action": pick(words.ACTIONS.get(line.action, (line.action, line.action)), language),
        "hint": hint,
        "hint_lang": hint_language.value,
        "reason": line.reason,
        "since": line.changed_at,
    }


def _about(looked: Looked) -> dict[str, Any] | None:
    about = looked.about
    if about is None:
        return None
    return {
        "patient": about.patient,
        "birth_date": _date(about.birth_date),
        "exam_date": _date(about.exam_date),
        "exam": about.exam,
        "signatory": about.signatory,
        "mine": about.mine,
    }


def _date(digits: str) -> str:
    """`28/03/1979` of an HL7 date; what is shorter stays as it is."""
    return f"{digits[6:8]}/{digits[4:6]}/{digits[:4]}" if len(digits) == 8 else digits


def _facts(frame: Frame, shown: Shown) -> list[dict[str, str]]:
    def t(french: str, english: str) -> str:
        return pick((french, english), frame.language)

    def clock(at: datetime) -> str:
        return words.clock(at, frame.now, frame.zone, frame.language)

    line = shown.line
    facts = [
        (t("Demande", "Entry"), pick(words.ACTIONS.get(line.action, (line.action, line.action)), frame.language), ""),
        (t("Reçue", "Received"), f"{clock(line.received_at)}, {line.sender}", ""),
        (t("Changée", "Changed"), clock(line.changed_at), ""),
        (t("Essais", "Tries"), str(line.tries), ""),
        (t("Prochain essai", "Next try"), clock(line.next_try_at) if line.next_try_at else "", ""),
        (t("Code", "Code"), line.reason, ""),
        (t("Détail technique", "Technical detail"), shown.detail, "en"),
    ]
    facts += [(f"{t('Acte', 'Act')}, {clock(act.at)}", _act(act.act, act.by, act.why), "") for act in shown.acts]
    return [{"name": name, "value": value, "lang": lang} for name, value, lang in facts if value]


def _act(what: str, by: str, why: str) -> str:
    return f"{what}, {by}" + (f" : {why}" if why else "")


def _both(pair: tuple[Pair, Pair], language: Language) -> tuple[str, str]:
    return people_words.say(pair[0], language), people_words.say(pair[1], language)


def act_names() -> dict[str, Right]:
    """Acts of an entry by their name in addresses."""
    return {right.value: right for right in people_words.ACTS}
