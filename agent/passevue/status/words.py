"""The words people read, in French first and in English: sentences for every code of the summary.

French sentences are for a secretary: what is the matter, then what to do. No jargon, no blame, no code.
"""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from passevue.queue.listing import Line
from passevue.queue.room import Level
from passevue.queue.states import State
from passevue.status.neighbours import CALLERS, Health, Neighbour, Word
from passevue.status.summary import Finding, Summary, Verdict


class Language(StrEnum):
    FR = "fr"
    EN = "en"


MONTHS = (
    "janvier", "février", "mars", "avril", "mai", "juin",
    "juillet", "août", "septembre", "octobre", "novembre", "décembre",
)  # fmt: skip
VERDICTS = {
    Verdict.FINE: ("Tout va bien", "All is well"),
    Verdict.WATCH: ("À surveiller", "Worth a look"),
    Verdict.ACT: ("Une action est attendue", "Someone needs to act"),
}
LEADS = {
    Verdict.FINE: (
        "Les examens partent normalement. Il n’y a rien à faire.",
        "Examinations go out normally. There is nothing to do.",
    ),
    Verdict.WATCH: (
        "Rien d’urgent : le boîtier continue de travailler.",
        "Nothing urgent: the box keeps working.",
    ),
    Verdict.ACT: (
        "Rien n’est perdu. Voici ce qui demande quelqu’un.",
        "Nothing is lost. This is what needs a person.",
    ),
}

# code: (French singular, French plural, English singular, English plural); the count or nothing decides.
FINDINGS: dict[str, tuple[str, str, str, str]] = {
    "set_aside": (
        "Un envoi est mis de côté : il attend une correction.",
        "{count} envois sont mis de côté : ils attendent une correction.",
        "One submission is set aside: it awaits a correction.",
        "{count} submissions are set aside: they await a correction.",
    ),
    "held": (
        "Un envoi est retenu : un certificat ou une carte manque.",
        "{count} envois sont retenus : un certificat ou une carte manque.",
        "One submission is held: a certificate or card is missing.",
        "{count} submissions are held: a certificate or card is missing.",
    ),
    "in_doubt": (
        "Un envoi a été coupé en route : le boîtier vérifie s’il est arrivé.",
        "{count} envois ont été coupés en route : le boîtier vérifie s’ils sont arrivés.",
        "One submission was cut off: the box checks whether it arrived.",
        "{count} submissions were cut off: the box checks whether they arrived.",
    ),
    "oldest": (
        "Le plus ancien envoi attend depuis plus d’une heure.",
        "Le plus ancien envoi attend depuis {hours} heures.",
        "The oldest submission has waited for more than an hour.",
        "The oldest submission has waited for {hours} hours.",
    ),
    "room_warn": (
        "Le disque se remplit : {percent} %. Prévenez la maintenance cette semaine.",
        "",
        "The disk is filling up: {percent}%. Tell maintenance this week.",
        "",
    ),
    "room_hold_bulk": (
        "Le disque est presque plein ({percent} %) : les images sont refusées pour l’instant. Appelez la maintenance.",
        "",
        "The disk is nearly full ({percent}%): images are refused for now. Call maintenance.",
        "",
    ),
    "room_stop": (
        "Le disque est plein ({percent} %) : plus rien n’est accepté. Appelez la maintenance maintenant.",
        "",
        "The disk is full ({percent}%): nothing is taken in any more. Call maintenance now.",
        "",
    ),
    "protection_block": (
        "Une protection du boîtier est en défaut : plus rien ne part. Voyez « Sécurité ».",
        "{count} protections du boîtier sont en défaut : plus rien ne part. Voyez « Sécurité ».",
        "A protection of the box fails: nothing leaves any more. See “Security”.",
        "{count} protections of the box fail: nothing leaves any more. See “Security”.",
    ),
    "protection_pending": (
        "Le boîtier vérifie ses protections : rien ne part avant la fin.",
        "",
        "The box is checking its protections: nothing leaves before it is done.",
        "",
    ),
    "protection_hold": (
        "Une protection est en défaut : une fonction est suspendue. Voyez « Sécurité ».",
        "{count} protections sont en défaut : des fonctions sont suspendues. Voyez « Sécurité ».",
        "A protection fails: a function is stopped. See “Security”.",
        "{count} protections fail: functions are stopped. See “Security”.",
    ),
    "protection_warn": (
        "Une protection du boîtier est à corriger. Voyez « Sécurité ».",
        "{count} protections du boîtier sont à corriger. Voyez « Sécurité ».",
        "A protection of the box needs attention. See “Security”.",
        "{count} protections of the box need attention. See “Security”.",
    ),
    "certificate_unreadable": (
        "Un certificat est absent ou illisible ({certificate}). Appelez la maintenance.",
        "",
        "A certificate is missing or unreadable ({certificate}). Call maintenance.",
        "",
    ),
    "certificate_expired": (
        "Un certificat a expiré ({certificate}) : les envois sont retenus. Renouvelez-le sans attendre.",
        "",
        "A certificate has expired ({certificate}): submissions are held. Renew it now.",
        "",
    ),
    "certificate_soon": (
        "Un certificat expire demain au plus tard ({certificate}). Renouvelez-le.",
        "Un certificat expire dans {days} jours ({certificate}). Commandez son renouvellement.",
        "A certificate expires by tomorrow ({certificate}). Renew it.",
        "A certificate expires in {days} days ({certificate}). Order its renewal.",
    ),
    "store_restored": (
        "Ce boîtier a été restauré d’une copie : il n’envoie rien avant confirmation. Appelez la maintenance.",
        "",
        "This box was restored from a copy: it sends nothing until confirmed. Call maintenance.",
        "",
    ),
    "store_salvaged": (
        "La file d’attente a été réparée après un incident de disque. Appelez la maintenance.",
        "",
        "The queue was repaired after a disk fault. Call maintenance.",
        "",
    ),
    "store_failing": (
        "Le disque du boîtier ne s’écrit plus : rien n’est accepté. Appelez la maintenance maintenant.",
        "",
        "The box’s disk cannot be written: nothing is taken in. Call maintenance now.",
        "",
    ),
    "neighbour_refused": (
        "{neighbour} a envoyé quelque chose que le boîtier n’a pas pu accepter. S’il recommence, prévenez son éditeur.",
        "",
        "{neighbour} sent something that the box could not take. If it happens again, tell its supplier.",
        "",
    ),
    "neighbour_late": (
        "{neighbour} n’a pas répondu la dernière fois. Le boîtier réessaie.",
        "",
        "{neighbour} did not answer the last time. The box is trying again.",
        "",
    ),
    "neighbour_down": (
        "{neighbour} ne répond plus. Les envois attendent à l’abri et partiront tout seuls.",
        "",
        "{neighbour} does not answer. Submissions wait safely and will leave by themselves.",
        "",
    ),
    "neighbour_down_long": (
        "{neighbour} ne répond plus depuis {hours} heures. Vérifiez la connexion internet du cabinet.",
        "",
        "{neighbour} has not answered for {hours} hours. Check the centre’s internet connection.",
        "",
    ),
}

NEIGHBOURS = {
    Neighbour.RIS: ("Le RIS", "The RIS"),
    Neighbour.MODALITY: ("Une modalité", "A modality"),
    Neighbour.PACS: ("Le PACS", "The PACS"),
    Neighbour.DMP: ("Le DMP", "The DMP"),
}
NEIGHBOUR_TITLES = {
    Neighbour.RIS: ("RIS", "RIS"),
    Neighbour.MODALITY: ("Modalités", "Modalities"),
    Neighbour.PACS: ("PACS", "PACS"),
    Neighbour.DMP: ("DMP", "DMP"),
}
NEIGHBOUR_ROLES = {
    Neighbour.RIS: ("envoie les comptes rendus", "sends the reports"),
    Neighbour.MODALITY: ("envoient les images", "send the images"),
    Neighbour.PACS: ("garde les images", "keeps the images"),
    Neighbour.DMP: ("reçoit les publications", "receives the publications"),
}
CERTIFICATES = {
    "auth_certificate": ("connexion au DMP", "connection to the DMP"),
    "sign_certificate": ("signature des envois", "signature of submissions"),
    "ris.tls.certificate": ("lien avec le RIS", "link with the RIS"),
    "modality.tls.certificate": ("réception des images", "reception of images"),
    "pacs.tls.certificate": ("lien avec le PACS", "link with the PACS"),
    "page.tls.certificate": ("page du boîtier", "page of the box"),
}
HEALTH = {
    Health.QUIET: ("pas encore de nouvelles", "nothing heard yet"),
    Health.OK: ("répond", "answers"),
    Health.REFUSED: ("dernier envoi refusé", "last message refused"),
    Health.LATE: ("en retard", "late"),
    Health.DOWN: ("ne répond plus", "does not answer"),
}
LEVELS = {
    Level.NORMAL: ("il y a de la place", "there is room"),
    Level.WARN: ("il se remplit", "it is filling up"),
    Level.HOLD_BULK: ("presque plein", "nearly full"),
    Level.STOP: ("plein", "full"),
}
STATES = {
    State.WAITING: ("en attente", "waiting"),
    State.BUILDING: ("en préparation", "being prepared"),
    State.READY: ("prêt à partir", "ready to leave"),
    State.STARTED: ("en cours d’envoi", "being sent"),
    State.IN_DOUBT: ("à vérifier", "to be checked"),
    State.CHECKING: ("en vérification", "being checked"),
    State.HELD: ("retenu", "held"),
    State.SET_ASIDE: ("mis de côté", "set aside"),
    State.SETTLED: ("terminé", "done"),
    State.CLOSED: ("clos", "closed"),
}
ACTIONS = {
    "publish": ("publication", "publication"),
    "withdraw": ("retrait", "withdrawal"),
    "refresh": ("mise à jour des images", "update of the images"),
}

# English of the queue's own French hints, by reason code; another code's hint is shown in French, marked as such.
ENGLISH_HINTS = {
    "network": "The network or the far service does not answer. The box tries again by itself.",
    "in-doubt": "The sending was cut off. The box checks whether it arrived before trying again.",
    "study-absent": "The PACS does not have the images of this examination yet. Check that they were sent there.",
    "cabinet": "The PACS gave an answer that makes no sense. Tell whoever looks after the PACS.",
    "credential": "A certificate or card is missing. Sending goes on as soon as it can be used again.",
    "baseline": "A protection of the box fails. Nothing is sent meanwhile. See the page “Security”.",
    "audit": "The audit trail cannot be written. Nothing is sent until it can. Tell maintenance.",
    "trust": "The far service could not prove who it is. Nothing is sent to it. Tell maintenance.",
    "unreadable": "The message received cannot be read. Correct it at the source and send it again.",
    "crashed": "This document makes the box fail. Tell maintenance; the others go on.",
    "overdue": "Work on this document does not end. Tell maintenance; the others go on.",
    "uid-padded": "The PACS keeps objects in this examination whose UID DICOM does not allow: a number of it begins "
    "with a zero. No manifest can name them. Have them renumbered in the PACS, then try again.",
    "store": "The disk of the box does not answer. The box tries again by itself; tell maintenance if it lasts.",
    "damaged": "The content kept on the disk is damaged. Send the report again from the RIS, then try again here.",
}


WAITING = {
    "network": ("le réseau ou le service distant ne répond pas", "the network or the far service does not answer"),
    "in-doubt": ("envoi coupé, à vérifier avant de réessayer", "sending was cut off, checked before another try"),
    "study-absent": ("le PACS n’a pas encore les images", "the PACS does not have the images yet"),
    "cabinet": ("le PACS donne une réponse incohérente", "the PACS gives an answer that makes no sense"),
    "store": ("le disque du boîtier ne répond pas", "the disk of the box does not answer"),
    "crashed": ("la préparation a échoué, nouvel essai", "preparation failed, another try follows"),
    "overdue": ("la préparation dure trop, nouvel essai", "preparation takes too long, another try follows"),
}


def why_waiting(reason: str, language: Language) -> str:
    """Why entries wait by themselves; a code that has no words is shown as it is."""
    return pick(
        WAITING.get(reason, (f"le service distant répond « {reason} »", f"the far service says “{reason}”")), language
    )


def pick(pair: tuple[str, str], language: Language) -> str:
    return pair[1] if language is Language.EN else pair[0]


def verdict(summary: Summary, language: Language = Language.FR) -> str:
    return pick(VERDICTS[summary.verdict], language)


def lead(summary: Summary, language: Language = Language.FR) -> str:
    """The one sentence under the verdict."""
    return pick(LEADS[summary.verdict], language)


def sentence(finding: Finding, language: Language = Language.FR) -> str:
    french, french_many, english, english_many = FINDINGS[finding.code]
    one, many = (english, english_many) if language is Language.EN else (french, french_many)
    values = _named(finding.values, language)
    number = next((value for value in finding.values.values() if isinstance(value, int)), 1)
    return spaced((many if many and number > 1 else one).format(**values), language)


def spaced(text: str, language: Language) -> str:
    """French puts a space before some signs, which must not end a line."""
    return re.sub(r" ([:;?!%»])", "\N{NO-BREAK SPACE}\\1", text) if language is Language.FR else text


def _named(values: Mapping[str, int | str], language: Language) -> dict[str, int | str]:
    named = dict(values)
    if "neighbour" in named:
        named["neighbour"] = pick(NEIGHBOURS[Neighbour(str(named["neighbour"]))], language)
    if "certificate" in named:
        named["certificate"] = certificate(str(named["certificate"]), str(named["structure"]), language)
    return named


def certificate(setting: str, structure: str, language: Language = Language.FR) -> str:
    """What a certificate is for, with its structure when there are several."""
    known = CERTIFICATES.get(setting) or CERTIFICATES.get(setting.rpartition(".")[2]) or (setting, setting)
    return pick(known, language) + (f", {structure}" if structure else "")


def hint(trouble: Line, language: Language = Language.FR) -> tuple[str, Language]:
    """What to do about an entry, and in which language that is."""
    if language is Language.EN and trouble.reason in ENGLISH_HINTS:
        return ENGLISH_HINTS[trouble.reason], Language.EN
    return spaced(trouble.hint or "Appelez la maintenance.", Language.FR), Language.FR


def age(delta: timedelta, language: Language = Language.FR) -> str:
    """`3 min`, `2 h 05`, `4 j`: short, rounded down, the same width in both languages."""
    minutes = int(max(delta, timedelta()).total_seconds() // 60)
    if minutes < 1:
        return pick(("moins d’une minute", "less than a minute"), language)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d}"
    return pick((f"{minutes // 1440} jours", f"{minutes // 1440} days"), language)


def ago(at: datetime, now: datetime, language: Language = Language.FR) -> str:
    if now - at < timedelta(minutes=1):
        return pick(("à l’instant", "just now"), language)
    told = age(now - at, language)
    return pick((f"il y a {told}", f"{told} ago"), language)


def clock(at: datetime, now: datetime, zone: ZoneInfo, language: Language = Language.FR) -> str:
    """`14:05` today, `19/11 à 14:05` before."""
    local = at.astimezone(zone)
    if local.date() == now.astimezone(zone).date():
        return f"{local:%H:%M}"
    return pick((f"{local:%d/%m} à {local:%H:%M}", f"{local:%d %b} {local:%H:%M}"), language)


def day(on: date, language: Language = Language.FR) -> str:
    """`9 août 2028`."""
    if language is Language.EN:
        return f"{on.day} {on:%B} {on.year}"
    return f"{'1er' if on.day == 1 else on.day} {MONTHS[on.month - 1]} {on.year}"


def last_word(word: Word, now: datetime, language: Language = Language.FR) -> str:
    """`il y a 3 min`, or since when it fails."""
    if word.failing_since is not None and word.neighbour in CALLERS:
        return "" if word.failed_at is None else ago(word.failed_at, now, language)
    if word.failing_since is not None:
        told = age(now - word.failing_since, language)
        return pick((f"depuis {told}", f"for {told}"), language)
    return "" if word.ok_at is None else ago(word.ok_at, now, language)


def size(count: int, language: Language = Language.FR) -> str:
    """`12 Go`: powers of ten, as disks are sold."""
    amount, units = (
        float(count),
        ("o", "ko", "Mo", "Go", "To") if language is Language.FR else ("B", "kB", "MB", "GB", "TB"),
    )
    for unit in units[:-1]:
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} {units[-1]}".replace(".", "," if language is Language.FR else ".")
