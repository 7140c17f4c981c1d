"""What to do about a rule that fails: the remedies that several rules share, by the key that the fleet knows."""

from typing import Final

from passevue.baseline.rule import Remedy, Text


def remedy(key: str, fr: str, en: str) -> Remedy:
    return Remedy(key, Text(fr, en))


DEPOT: Final = remedy(
    "depot",
    "Appelez la maintenance : le boîtier doit retourner à l’atelier.",
    "Call maintenance: the box must go back to the workshop.",
)
REFLASH: Final = remedy(
    "reflash",
    "Appelez la maintenance : le système du boîtier doit être réinstallé.",
    "Call maintenance: the box’s system must be installed anew.",
)
IMAGE_BUG: Final = remedy(
    "image.bug",
    "Appelez la maintenance : défaut du système installé, à corriger par une mise à jour.",
    "Call maintenance: a fault of the installed system, to be corrected by an update.",
)
REPROVISION: Final = remedy(
    "provision.again",
    "Appelez la maintenance : le disque de données doit être préparé à nouveau.",
    "Call maintenance: the data disk must be prepared anew.",
)
REENROL: Final = remedy(
    "storage.enrol",
    "Appelez la maintenance, avec la clé de secours imprimée à l’installation.",
    "Call maintenance, with the recovery key printed at installation.",
)
OTHER_SLOT: Final = remedy(
    "update.other_slot",
    "Réinstallez la dernière mise à jour ; si le défaut revient, appelez la maintenance.",
    "Install the last update again; if the fault comes back, call maintenance.",
)
FIRMWARE: Final = remedy(
    "firmware",
    "Prévenez la maintenance : le micrologiciel de l’appareil est à mettre à jour ou à régler.",
    "Tell maintenance: the machine’s firmware must be updated or set.",
)
DISK: Final = remedy(
    "storage.disk",
    "Prévenez la maintenance : le disque est à remplacer bientôt.",
    "Tell maintenance: the disk is to be replaced soon.",
)
ROOM: Final = remedy(
    "storage.room",
    "Le disque se remplit : vérifiez que les envois partent, sinon appelez la maintenance.",
    "The disk is filling up: check that submissions leave, otherwise call maintenance.",
)
RESTART: Final = remedy(
    "restart",
    "Redémarrez le boîtier ; si le défaut revient, appelez la maintenance.",
    "Restart the box; if the fault comes back, call maintenance.",
)
CONFIG: Final = remedy(
    "config",
    "Remettez la configuration précédente, ou corrigez le réglage indiqué.",
    "Put back the former configuration, or correct the setting that is named.",
)
NETWORK_RULES: Final = remedy(
    "network.rules",
    "Redémarrez le boîtier ; si le pare-feu est encore en défaut, appelez la maintenance.",
    "Restart the box; if the firewall still fails, call maintenance.",
)
INSPECT: Final = remedy(
    "inspect",
    "Regardez ce qui est branché au boîtier et retirez ce qui n’y a pas sa place.",
    "Look at what is plugged into the box and remove what does not belong there.",
)
