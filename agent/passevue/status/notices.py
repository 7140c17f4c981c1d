"""What people are told after they have asked for something, by code: in French first and in English."""

from passevue.errors import (
    BoxError,
    CardAbsent,
    CardFault,
    CredentialError,
    LastTry,
    NetworkError,
    NotOnListeBlanche,
    PinBlocked,
    PinNeeded,
    PinWrong,
    Refused,
    SignInError,
    StoreError,
    TrustError,
    UnknownCard,
    ZoneAway,
)
from passevue.status.people_words import ELSEWHERE, LAST_TRY_ELSEWHERE, Pair, Tone, say
from passevue.status.words import Language

Notice = tuple[str, dict[str, str | int]]  # its code, and what fills it

NOTICES: dict[str, tuple[Tone, Pair]] = {
    "pin-wrong": (
        Tone.BAD,
        ("Code faux : il reste {left} essais.", "Wrong code: {left} tries are left."),
    ),
    "pin-wrong-last": (
        Tone.BAD,
        (
            "Code faux : il ne reste qu’un essai avant le blocage de la carte.",
            "Wrong code: one try is left before the card is blocked.",
        ),
    ),
    "not-sound": (
        Tone.BAD,
        (
            "Une protection du boîtier est en défaut : personne ne se connecte par carte ou e-CPS en attendant.",
            "A protection of the box fails: nobody signs in by card or e-CPS meanwhile.",
        ),
    ),
    "acts-held": (
        Tone.BAD,
        (
            "Une protection du boîtier est en défaut : rien ne se fait d’ici en attendant.",
            "A protection of the box fails: nothing is done from here meanwhile.",
        ),
    ),
    "pin-blocked": (Tone.BAD, ("La carte est bloquée.", "The card is blocked.")),
    "pin-form": (
        Tone.BAD,
        ("Le code compte quatre chiffres : rien n’a été envoyé à la carte.",
         "The code has four digits: nothing was sent to the card."),
    ),
    "last-try": (
        Tone.BAD,
        (
            "Rien n’a été envoyé à la carte : cochez la case pour confirmer le dernier essai.",
            "Nothing was sent to the card: tick the box to confirm the last try.",
        ),
    ),
    "card-absent": (
        Tone.BAD,
        ("La carte a été retirée ou changée : rien n’a été fait.",
         "The card was pulled or changed: nothing was done."),
    ),
    "card-unknown": (Tone.BAD, ("Cette carte n’est pas utilisable ici.", "This card cannot be used here.")),
    "card-fault": (
        Tone.BAD,
        (
            "La carte n’a pas répondu correctement : retirez-la, remettez-la et réessayez.",
            "The card did not answer as it should: pull it, put it back and try again.",
        ),
    ),
    "last-try-at-box": (Tone.BAD, LAST_TRY_ELSEWHERE),
    "card-not-now": (
        Tone.BAD,
        (
            "Cette carte ne peut pas être vérifiée pour l’instant : liste des cartes révoquées périmée, ou horloge du "
            "boîtier fausse. Rien n’a été envoyé à la carte.",
            "This card cannot be checked now: the list of revoked cards is out of date, or the box’s clock is wrong. "
            "Nothing was sent to the card.",
        ),
    ),
    "card-busy": (
        Tone.BAD,
        (
            "Un code est déjà en cours de vérification avec cette carte : celui-ci n’a pas été envoyé.",
            "A code is being checked with this card already: this one was not sent.",
        ),
    ),
    "put-in-again": (Tone.BAD, ELSEWHERE),
    "zone-away": (
        Tone.BAD,
        (
            "Une partie du boîtier redémarre : rien n’a été fait. Réessayez dans un instant.",
            "A part of the box is restarting: nothing was done. Try again in a moment.",
        ),
    ),
    "no-readers": (Tone.BAD, ("Ce boîtier n’a pas de lecteur de carte.", "This box has no card reader.")),
    "untrusted": (
        Tone.BAD,
        (
            "L’identité n’a pas pu être prouvée : personne n’est connecté.",
            "The identity could not be proved: nobody is signed in.",
        ),
    ),
    "paused": (
        Tone.BAD,
        (
            "Trop d’échecs : attendez un quart d’heure avant de réessayer.",
            "Too many failures: wait a quarter of an hour before trying again.",
        ),
    ),
    "push-pace": (
        Tone.BAD,
        (
            "Trop de demandes e-CPS ont été envoyées : attendez dix minutes, ou utilisez votre carte.",
            "Too many e-CPS requests were sent: wait ten minutes, or use your card.",
        ),
    ),
    "push-refused": (
        Tone.BAD,
        (
            "La demande n’a pas pu être envoyée : vérifiez le numéro (8 suivi du RPPS) et que l’e-CPS est active.",
            "The request could not be sent: check the number (8 and the RPPS) and that e-CPS is active.",
        ),
    ),
    "already_asked": (
        Tone.NEWS,
        (
            "Une demande est déjà en cours sur ce téléphone : répondez-y, ou attendez deux minutes.",
            "A request is already open on that phone: answer it, or wait two minutes.",
        ),
    ),
    "access_denied": (Tone.NEWS, ("La connexion a été refusée.", "The sign-in was refused.")),
    "other_person": (
        Tone.BAD,
        (
            "Une autre personne a répondu : recommencez avec votre propre numéro.",
            "Somebody else answered: start again with your own number.",
        ),
    ),
    "start-again": (
        Tone.BAD,
        (
            "Cette connexion n’est plus valable : recommencez depuis cette page.",
            "This sign-in is no longer valid: start again from this page.",
        ),
    ),
    "psc-away": (
        Tone.BAD,
        (
            "Pro Santé Connect ne répond pas. Réessayez dans une minute, ou utilisez votre carte.",
            "Pro Santé Connect does not answer. Try again in a minute, or use your card.",
        ),
    ),
    "psc-refuses-box": (
        Tone.BAD,
        (
            "Pro Santé Connect ne reconnaît pas ce boîtier : prévenez la maintenance.",
            "Pro Santé Connect does not know this box: tell maintenance.",
        ),
    ),
    "no-psc": (Tone.BAD, ("L’e-CPS n’est pas réglée sur ce boîtier.", "e-CPS is not set up on this box.")),
    "no_identity": (
        Tone.BAD,
        (
            "Pro Santé Connect n’a pas donné votre identifiant national : contactez son support.",
            "Pro Santé Connect did not give your national identifier: contact its support.",
        ),
    ),
    "password-wrong": (Tone.BAD, ("Ce n’est pas le mot de passe du site.", "That is not the site’s password.")),
    "code-wrong": (
        Tone.BAD,
        (
            "Ce n’est pas le code de première connexion.",
            "That is not the first sign-in code.",
        ),
    ),
    "password-short": (
        Tone.BAD,
        ("Mot de passe trop court : choisissez au moins 12 caractères.",
         "Password too short: choose at least 12 characters."),
    ),
    "password-long": (Tone.BAD, ("Mot de passe trop long : au plus 128 caractères.",
                                 "Password too long: at most 128 characters.")),
    "password-simple": (
        Tone.BAD,
        ("Ce mot de passe se devine : choisissez-en un plus varié.",
         "This password can be guessed: choose a more varied one."),
    ),
    "password-differs": (
        Tone.BAD,
        ("Les deux mots de passe ne sont pas les mêmes.", "The two passwords are not the same."),
    ),
    "password-set": (Tone.GOOD, ("Le mot de passe est changé.", "The password is changed.")),
    "store": (
        Tone.BAD,
        (
            "Le disque du boîtier ne s’écrit pas : rien n’a été fait. Appelez la maintenance.",
            "The box’s disk cannot be written: nothing was done. Call maintenance.",
        ),
    ),
    "update-asked": (
        Tone.GOOD,
        ("C’est demandé : l’état change ici dans un instant.", "It is asked for: the state changes here in a moment."),
    ),
    "configuration-placed": (
        Tone.GOOD,
        ("Configuration en place : le boîtier redémarre ses services.",
         "The configuration is in place: the box restarts its services."),
    ),
    "recovery-noted": (Tone.GOOD, ("La clé de secours est oubliée.", "The recovery key is forgotten.")),
    "erasing": (Tone.GOOD, ("Le boîtier s’efface et redémarre.", "The box erases itself and restarts.")),
    "machine-refused": (Tone.BAD, ("Refusé : {said}", "Refused: {said}")),
    "form-old": (
        Tone.BAD,
        ("Cette page avait vieilli : rien n’a été fait. Recommencez.",
         "This page had grown old: nothing was done. Start again."),
    ),
    "not-yours": (Tone.BAD, ("Cet acte ne vous est pas ouvert.", "This is not open to you.")),
    "not-your-report": (
        Tone.BAD,
        (
            "Ce compte rendu est signé par quelqu’un d’autre : seul son signataire peut le publier en son nom.",
            "This report is signed by somebody else: only its signatory may publish it in their name.",
        ),
    ),
    "not-by-psc": (
        Tone.BAD,
        (
            "Le DMP ne prend une publication en votre nom que par carte CPS. Vous pouvez la relancer au nom de la "
            "structure : le journal d’audit dit que c’est vous.",
            "The DMP takes a publication in your name by CPS card only. You may send it in the structure’s name: the "
            "audit trail says that it was you.",
        ),
    ),
    "already-prepared": (
        Tone.BAD,
        (
            "Cette demande est déjà signée au nom de la structure : elle ne peut plus partir au vôtre.",
            "This entry is already signed in the structure’s name: it can no longer go in yours.",
        ),
    ),
    "no-situation": (Tone.BAD, ("Choisissez d’abord votre situation.", "Choose your situation first.")),
    "no-entry": (Tone.BAD, ("Cette demande n’existe pas.", "There is no such entry.")),
    "no-reason": (Tone.BAD, ("Donnez la raison de la clôture.", "Give the reason for closing.")),
    "not-set-aside": (
        Tone.NEWS,
        ("Cette demande n’est plus mise de côté : il n’y a rien à relancer.",
         "This entry is no longer set aside: there is nothing to retry."),
    ),
    "not-waiting": (
        Tone.NEWS,
        ("Cette demande n’attend plus : elle est en route ou terminée.",
         "This entry no longer waits: it is under way or done."),
    ),
    "not-closable": (
        Tone.NEWS,
        ("Cette demande est en cours, en vérification ou terminée : elle ne peut pas être close.",
         "This entry is under way, being checked or done: it cannot be closed."),
    ),
    "signed-out": (Tone.NEWS, ("La session s’est terminée : rien n’a été fait.",
                               "The session ended: nothing was done.")),
    "failed": (Tone.BAD, ("Cela n’a pas pu être fait.", "This could not be done.")),
    "done-retry": (Tone.GOOD, ("La demande {number} est relancée.", "Entry {number} is tried again.")),
    "done-release": (Tone.GOOD, ("La demande {number} part maintenant.", "Entry {number} goes now.")),
    "done-close": (Tone.GOOD, ("La demande {number} est close.", "Entry {number} is closed.")),
    "done-publish": (
        Tone.GOOD,
        ("La demande {number} part en votre nom. Laissez votre carte en place jusqu’à la fin.",
         "Entry {number} goes in your name. Leave your card in place until it is done."),
    ),
    "situation-chosen": (Tone.GOOD, ("Situation choisie.", "Situation chosen.")),
}  # fmt: skip
_START_AGAIN = {"state_mismatch", "state_used", "too_late", "no_code", "expired_token", "invalid_grant", "session_over"}
_PUSH_REFUSED = {"unknown_user_id", "invalid_request", "unauthorized_client", "invalid_binding_message"}


def notice_of(err: BoxError) -> Notice:
    """The code of what to tell about `err`; the same for every way in which it could not be done, where that tells
    a stranger something."""
    match err:
        case PinWrong():
            return ("pin-wrong-last", {}) if err.tries_left == 1 else _wrong(err.tries_left)
        case PinBlocked():
            return "pin-blocked", {}
        case LastTry():
            return "last-try", {}
        case PinNeeded():
            return "pin-form", {}
        case CardAbsent():
            return "card-absent", {}
        case UnknownCard():
            return "card-unknown", {}
        case CardFault():
            return "card-fault", {}
        case SignInError():
            return _psc_code(err.code), {}
        case Refused():
            return (err.code if err.code in NOTICES else "failed"), {}
        case StoreError():
            return "store", {}
        case TrustError() | NotOnListeBlanche():
            return "untrusted", {}
        case ZoneAway():
            return "zone-away", {}
        case NetworkError():
            return "psc-away", {}
        case CredentialError():
            return "psc-refuses-box", {}
        case _:
            return "failed", {}


def _wrong(left: int) -> Notice:
    return ("pin-wrong", {"left": left}) if left else ("pin-blocked", {})


def _psc_code(code: str) -> str:
    if code in _START_AGAIN:
        return "start-again"
    if code in _PUSH_REFUSED:
        return "push-refused"
    return code if code in NOTICES else "start-again"


def told(notice: Notice, language: Language) -> tuple[Tone, str]:
    code, values = notice
    tone, pair = NOTICES.get(code, NOTICES["failed"])
    return tone, say(pair, language, values)
