"""A card in JSON and in French, for the person who typed `passevue card …`. Holds identities: for standard output only.

Shapes are in agent/README.md; names are added, never renamed or dropped.
"""

from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes

from passevue.card.cps import CardType, Category, Cps, CpsKey, Generation, Holder, PinState, Situation
from passevue.card.pkcs15 import Code, DataObject, Pkcs15
from passevue.card.reader import CardIn, CardOut, Event, ReaderIn, ReaderOut
from passevue.card.seats import Seat

_EVENTS = {ReaderIn: "reader_in", ReaderOut: "reader_out", CardIn: "card_in", CardOut: "card_out"}
_GENERATIONS = {
    Generation.CPS3: "CPS3, à contacts",
    Generation.CPS3_CONTACTLESS: "CPS3, sans contact",
    Generation.CPS4: "CPS4, à contacts",
}
_TYPES = {
    CardType.CPS: "professionnel de santé",
    CardType.CPF: "professionnel en formation",
    CardType.CPE: "personnel d’établissement",
    CardType.CPA: "personnel autorisé",
}
_CATEGORIES = {Category.TEST: "carte de test", Category.PRODUCTION: "carte de production"}


# --- JSON ------------------------------------------------------------------------------------------------------------


def plain_seat(seat: Seat) -> dict[str, Any]:
    card = {"insertion": seat.insertion, "atr": seat.atr.hex()} if seat.insertion else None
    return {"reader": seat.reader, "card": card, "mute": bool(seat.insertion and not seat.atr)}


def plain_event(event: Event) -> dict[str, Any]:
    told: dict[str, Any] = {"event": _EVENTS[type(event)], "reader": event.reader}
    if isinstance(event, (CardIn, CardOut)):
        told["insertion"] = event.insertion
    if isinstance(event, CardIn):
        told |= {"atr": event.atr.hex(), "mute": event.mute}
    return told


def plain_cps(cps: Cps, held: Pkcs15 | None) -> dict[str, Any]:
    """Everything known of the card; `held` adds what its application lists."""
    return {
        "generation": cps.generation.value,
        "number": cps.number,
        "application": cps.application,
        "aid": held.application.aid.hex() if held else None,
        "card_type": cps.card_type.value if cps.card_type else None,
        "category": cps.category.value if cps.category else None,
        "holder": _holder(cps.holder) if cps.holder else None,
        "valid_from": _moment(cps.valid_from),
        "valid_until": _moment(cps.valid_until),
        "update_broken": cps.update_broken,
        "updated_at": cps.updated_at,
        "pin": plain_pin(cps.pin),
        "situations": None if cps.situations is None else [_situation(each) for each in cps.situations],
        "keys": [_key(each) for each in cps.keys],
        "codes": [_code(each) for each in held.codes] if held else [],
        "data": [_data(each) for each in held.data] if held else [],
    }


def plain_pin(state: PinState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "tries_left": state.tries_left,
        "tries_max": state.tries_max,
        "uses_left": state.uses_left,
        "verified": state.verified,
        "blocked": state.blocked,
    }


def _holder(holder: Holder) -> dict[str, Any]:
    return {
        "id_nat": holder.id_nat,
        "name": holder.name,
        "given": holder.given,
        "title": holder.title,
        "profession": holder.profession,
        "specialities": list(holder.specialities),
        "structure_id": holder.structure_id,
    }


def _situation(situation: Situation) -> dict[str, Any]:
    return {
        "number": situation.number,
        "structure_name": situation.structure_name,
        "structure_id": situation.structure_id,
        "sector": situation.sector,
    }


def _key(key: CpsKey) -> dict[str, Any]:
    certificate = key.certificate
    return {
        "use": key.use.value,
        "id": key.id.hex(),
        "label": key.label,
        "reference": f"{key.reference:02x}",
        "bits": key.bits,
        "usage": sorted(key.usage),
        "needs_pin": key.needs_pin,
        "certificate": {
            "label": key.certificate_label,
            "serial": f"{certificate.serial_number:x}",
            "sha256": certificate.fingerprint(hashes.SHA256()).hex(),
            "valid_from": _moment(certificate.not_valid_before_utc),
            "valid_until": _moment(certificate.not_valid_after_utc),
        },
    }


def _code(code: Code) -> dict[str, Any]:
    return {
        "id": code.id.hex(),
        "label": code.label,
        "reference": f"{code.reference:02x}",
        "unblocking": code.unblocking,
        "least": code.least,
        "stored": code.stored,
        "most": code.most,
    }


def _data(listed: DataObject) -> dict[str, Any]:
    return {"label": listed.label, "path": listed.path.hex(), "auth_id": listed.auth_id.hex()}


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


# --- French ----------------------------------------------------------------------------------------------------------


def rows(cps: Cps) -> list[tuple[str, str]]:
    """Heading and value, most wanted first; empty values left out."""
    found = [
        ("Porteur", _person(cps.holder) if cps.holder else ""),
        ("Carte", ", ".join(_card(cps))),
        ("Profession", _profession(cps.holder) if cps.holder else ""),
        ("Identifiant", cps.holder.id_nat if cps.holder else ""),
        ("Structure", cps.holder.structure_id if cps.holder else ""),
        ("Valable", f"jusqu’au {cps.valid_until:%d/%m/%Y}" if cps.valid_until else ""),
        ("Code", _tries(cps.pin) if cps.pin else ""),
    ]
    if cps.update_broken:
        found.append(("Attention", "la mise à jour de cette carte a été interrompue : elle ne peut pas servir"))
    for situation in cps.situations or ():
        where = f"{situation.structure_name} ({situation.structure_id}, {situation.sector})"
        found.append((f"Situation {situation.number}", where))
    found += [(f"Clé {key.use.value}", f"{key.certificate_label}, {key.bits} bits") for key in cps.keys]
    return [(heading, value) for heading, value in found if value]


def _person(holder: Holder) -> str:
    return " ".join(part for part in (holder.title, holder.given, holder.name) if part)


def _card(cps: Cps) -> list[str]:
    parts = [f"n° {cps.number}", _GENERATIONS[cps.generation]]
    parts += [_TYPES[cps.card_type]] if cps.card_type else []
    return parts + ([_CATEGORIES[cps.category]] if cps.category else [])


def _profession(holder: Holder) -> str:
    return " ".join(part for part in (holder.profession, *holder.specialities) if part)


def _tries(state: PinState) -> str:
    if state.blocked:
        return "bloqué"
    if state.tries_left is None:
        return "vérifié" if state.verified else "essais restants inconnus"
    return f"{state.tries_left} essai{'s' if state.tries_left > 1 else ''} avant blocage"
