"""What people read where they sign in and act, in French first and in English: what is the matter, then what to do.

What they are told once they have asked for something is in `notices`.
"""

from collections.abc import Mapping
from enum import StrEnum

from passevue.status.card_view import CardPhase
from passevue.status.roles import Method, Right
from passevue.status.session import Ended
from passevue.status.visits import PushPhase
from passevue.status.words import Language, pick, spaced

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
            "Trop de codes faux ont été tapés. Débloquez-la avec votre code de déblocage sur un poste (CPS-Gestion, "
            "ou la commande « passevue card pin »), ou connectez-vous par e-CPS.",
            "Too many wrong codes were typed. Unblock it with your unblocking code on a PC (CPS-Gestion, or the "
            "command “passevue card pin”), or sign in by e-CPS.",
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


def say(pair: Pair, language: Language, values: Mapping[str, str | int] | None = None) -> str:
    return spaced(pick(pair, language).format(**(values or {})), language)


def sector(code: str, language: Language) -> str:
    """Its code when it has no words here."""
    return pick(SECTORS[code], language) if code in SECTORS else code


def profession(code: str, language: Language) -> str:
    return pick(PROFESSIONS[code], language) if code in PROFESSIONS else ""
