"""What people read when they sign in and act, in French first and in English: what is the matter, then what to do."""

from collections.abc import Mapping
from enum import StrEnum

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
from passevue.status.card_view import CardPhase
from passevue.status.roles import Method, Right
from passevue.status.session import Ended
from passevue.status.visits import PushPhase
from passevue.status.words import Language, pick, spaced

Notice = tuple[str, dict[str, str | int]]
Pair = tuple[str, str]


class Tone(StrEnum):
    GOOD = "fine"
    NEWS = "watch"
    BAD = "act"


# Each card in a reader: a title, then what to do.
CARDS: dict[CardPhase, tuple[Pair, Pair]] = {
    CardPhase.READING: (
        ("Lecture de la carte…", "Reading the card…"),
        ("Laissez-la en place.", "Leave it in place."),
    ),
    CardPhase.READY: (
        ("Carte reconnue", "Card recognised"),
        ("Tapez le code à quatre chiffres de votre carte.", "Type your card’s four-digit code."),
    ),
    CardPhase.LAST_TRY: (
        ("Dernier essai", "Last try"),
        (
            "Encore un code faux et la carte se bloque. Ne continuez que si vous êtes sûr de votre code.",
            "One more wrong code blocks the card. Go on only if you are sure of your code.",
        ),
    ),
    CardPhase.BLOCKED: (
        ("Carte bloquée", "Card blocked"),
        (
            "Trop de codes faux ont été tapés. Débloquez-la avec votre code de déblocage (commande « passevue card "
            "pin », ou CPS-Gestion), ou connectez-vous par e-CPS.",
            "Too many wrong codes were typed. Unblock it with your unblocking code (command “passevue card pin”, or "
            "CPS-Gestion), or sign in by e-CPS.",
        ),
    ),
    CardPhase.IN_USE: (
        ("Carte déjà utilisée", "Card already in use"),
        (
            "Quelqu’un est connecté avec cette carte sur un autre écran. Pour vous connecter ici, retirez-la puis "
            "remettez-la.",
            "Somebody is signed in with this card on another screen. To sign in here, pull it and put it back.",
        ),
    ),
    CardPhase.TOO_EARLY: (
        ("Carte pas encore valable", "Card not valid yet"),
        (
            "Sa période de validité n’a pas commencé. Vérifiez aussi l’heure du boîtier.",
            "Its validity has not begun. Check the box’s clock as well.",
        ),
    ),
    CardPhase.EXPIRED: (
        ("Carte expirée", "Card expired"),
        (
            "Utilisez votre nouvelle carte, ou l’e-CPS. Si vous ne l’avez pas reçue, contactez l’ANS (esante.gouv.fr).",
            "Use your new card, or e-CPS. If it has not come, contact the ANS (esante.gouv.fr).",
        ),
    ),
    CardPhase.TEST_CARD: (
        ("Carte de test", "Test card"),
        (
            "Ce boîtier est en production : il n’accepte que de vraies cartes CPS.",
            "This box is in production: it takes real CPS cards only.",
        ),
    ),
    CardPhase.REAL_CARD: (
        ("Carte de production", "Production card"),
        (
            "Ce boîtier est en test : n’y utilisez pas votre vraie carte, mais une carte de test.",
            "This box is for tests: use a test card here, not your real one.",
        ),
    ),
    CardPhase.CONTACTLESS: (
        ("Carte sans contact", "Contactless card"),
        (
            "Insérez-la dans le lecteur, puce vers l’avant : sans contact, elle ne prend pas de code.",
            "Put it into the reader, chip first: without contact it takes no code.",
        ),
    ),
    CardPhase.STAFF: (
        ("Carte sans profession de santé", "Card without a health profession"),
        (
            "Cette carte est celle d’un personnel : seule la carte CPS d’un professionnel permet d’agir ici.",
            "This is a staff card: only a professional’s CPS lets one act here.",
        ),
    ),
    CardPhase.BROKEN_UPDATE: (
        ("Mise à jour interrompue", "Update broken off"),
        (
            "La mise à jour de cette carte n’est pas allée au bout. Relancez-la sur le poste où elle a commencé.",
            "This card’s update did not finish. Run it again on the computer where it began.",
        ),
    ),
    CardPhase.UNKNOWN: (
        ("Carte inconnue", "Unknown card"),
        (
            "Ce n’est pas une carte CPS utilisable ici. Insérez votre carte CPS, puce vers l’avant.",
            "This is not a CPS that can be used here. Put in your CPS, chip first.",
        ),
    ),
    CardPhase.UNTRUSTED: (
        ("Carte refusée", "Card refused"),
        (
            "Son certificat n’est pas reconnu, ou a été révoqué. Si c’est bien votre carte, contactez l’ANS.",
            "Its certificate is not recognised, or was revoked. If it is your card, contact the ANS.",
        ),
    ),
    CardPhase.MUTE: (
        ("La carte ne répond pas", "The card does not answer"),
        (
            "Retirez-la et remettez-la, puce vers l’avant et vers le haut.",
            "Pull it and put it back, chip first and facing up.",
        ),
    ),
    CardPhase.FAULT: (
        ("La carte n’a pas pu être lue", "The card could not be read"),
        ("Retirez-la, essuyez la puce et remettez-la.", "Pull it, wipe the chip and put it back."),
    ),
}
NO_SERVICE: tuple[Pair, Pair] = (
    ("Les lecteurs ne répondent pas", "The readers do not answer"),
    (
        "Le service des cartes redémarre. S’il ne revient pas, appelez la maintenance.",
        "The card service is starting again. If it does not come back, call maintenance.",
    ),
)
NO_READER: tuple[Pair, Pair] = (
    ("Aucun lecteur de carte", "No card reader"),
    ("Branchez le lecteur sur le boîtier.", "Plug the reader into the box."),
)
NO_CARD: tuple[Pair, Pair] = (
    ("Insérez votre carte", "Insert your card"),
    ("Puce vers l’avant, dans le lecteur du boîtier.", "Chip first, into the box’s reader."),
)
ELSEWHERE: Pair = (
    "Depuis ce poste, le code n’est accepté que dans les deux minutes qui suivent l’insertion : retirez la carte et "
    "remettez-la.",
    "From this computer, the code is taken only within two minutes after the card was put in: pull it and put it back.",
)
LAST_TRY_ELSEWHERE: Pair = (
    "Il ne reste qu’un essai avant que la carte se bloque : il ne se tente que sur le boîtier, rien ne part d’ici.",
    "One try is left before the card is blocked: it is made at the box only, nothing is sent from here.",
)

PUSH: dict[PushPhase, tuple[Pair, Pair]] = {
    PushPhase.WAITING: (
        ("Répondez sur votre téléphone", "Answer on your phone"),
        (
            "Ouvrez l’application e-CPS et vérifiez qu’elle montre bien ce nombre. S’il est différent, refusez.",
            "Open the e-CPS application and check that it shows this very number. If it differs, refuse.",
        ),
    ),
    PushPhase.APPROVED: (("C’est approuvé", "Approved"), ("Un instant…", "One moment…")),
    PushPhase.REFUSED: (
        ("Demande refusée", "Request refused"),
        (
            "Vous avez refusé sur votre téléphone. Si la demande ne venait pas de vous, rien n’a été ouvert.",
            "It was refused on the phone. If the request was not yours, nothing was opened.",
        ),
    ),
    PushPhase.EXPIRED: (
        ("Le temps est passé", "Time is up"),
        ("Personne n’a répondu en deux minutes. Recommencez quand vous êtes prêt.",
         "Nobody answered within two minutes. Start again when you are ready."),
    ),
    PushPhase.FAILED: (
        ("La connexion n’a pas abouti", "Sign-in did not succeed"),
        ("Recommencez ; si cela dure, connectez-vous avec votre carte.",
         "Start again; if it lasts, sign in with your card."),
    ),
}  # fmt: skip

ENDED: dict[Ended, tuple[Tone, Pair]] = {
    Ended.LEFT: (Tone.GOOD, ("Vous êtes déconnecté.", "You are signed out.")),
    Ended.IDLE: (
        Tone.NEWS,
        (
            "Session fermée : rien n’a été fait depuis quelques minutes. Reconnectez-vous pour continuer.",
            "Session closed: nothing was done for some minutes. Sign in again to go on.",
        ),
    ),
    Ended.TOO_LONG: (
        Tone.NEWS,
        (
            "Session fermée : elle avait atteint sa durée maximale. Reconnectez-vous pour continuer.",
            "Session closed: it had reached its longest time. Sign in again to go on.",
        ),
    ),
    Ended.CARD_OUT: (
        Tone.GOOD,
        ("Carte retirée : votre session est fermée.", "Card pulled: your session is closed."),
    ),
    Ended.PSC_OVER: (
        Tone.NEWS,
        (
            "Pro Santé Connect a fermé votre session. Reconnectez-vous pour continuer.",
            "Pro Santé Connect closed your session. Sign in again to go on.",
        ),
    ),
    Ended.REPLACED: (Tone.NEWS, ("La session précédente est fermée.", "The session before is closed.")),
    Ended.PASSWORD_CHANGED: (
        Tone.NEWS,
        (
            "Session fermée : le mot de passe du site a été changé.",
            "Session closed: the site’s password was changed.",
        ),
    ),
    Ended.CROWDED: (
        Tone.NEWS,
        ("Session fermée : trop d’écrans étaient ouverts.", "Session closed: too many screens were open."),
    ),
    Ended.CLOCK: (
        Tone.NEWS,
        (
            "Session fermée : l’horloge du boîtier a été changée. Reconnectez-vous.",
            "Session closed: the box’s clock was changed. Sign in again.",
        ),
    ),
}

# By code: what to tell after something was asked.
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
            "Ce n’est pas le code de première connexion. Il se lit sur le boîtier : passevue admin code",
            "That is not the first sign-in code. It is read at the box: passevue admin code",
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

ACTS: dict[Right, Pair] = {
    Right.PUBLISH: ("Publier en mon nom", "Publish in my name"),
    Right.RETRY: ("Relancer", "Try again"),
    Right.RELEASE: ("Faire partir maintenant", "Send now"),
    Right.CLOSE: ("Clore", "Close"),
}
METHODS: dict[Method, Pair] = {
    Method.CARD: ("par carte CPS", "by CPS card"),
    Method.BROWSER: ("par Pro Santé Connect", "by Pro Santé Connect"),
    Method.PHONE: ("par e-CPS", "by e-CPS"),
    Method.PASSWORD: ("par mot de passe", "by password"),
}
PROFESSIONS: dict[str, Pair] = {  # TRE_G15, those who may come to an imaging centre
    "10": ("Médecin", "Doctor"),
    "21": ("Pharmacien", "Pharmacist"),
    "32": ("Physicien médical", "Medical physicist"),
    "40": ("Chirurgien-dentiste", "Dental surgeon"),
    "50": ("Sage-femme", "Midwife"),
    "60": ("Infirmier", "Nurse"),
    "98": ("Manipulateur ERM", "Radiographer"),
}
SECTORS: dict[str, Pair] = {  # TRE_R02, as a person says them
    "SA01": ("hôpital public", "public hospital"),
    "SA04": ("clinique", "private hospital"),
    "SA05": ("centre de santé", "health centre"),
    "SA07": ("cabinet individuel", "own practice"),
    "SA08": ("cabinet de groupe", "group practice"),
    "SA09": ("société d’exercice", "company of practitioners"),
}
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


def say(pair: Pair, language: Language, values: Mapping[str, str | int] | None = None) -> str:
    return spaced(pick(pair, language).format(**(values or {})), language)


def sector(code: str, language: Language) -> str:
    """Its code when it has no words here."""
    return pick(SECTORS[code], language) if code in SECTORS else code


def profession(code: str, language: Language) -> str:
    return pick(PROFESSIONS[code], language) if code in PROFESSIONS else ""
