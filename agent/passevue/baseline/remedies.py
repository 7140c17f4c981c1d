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
    "Donnez au boîtier une nouvelle configuration, où le réglage indiqué est corrigé.",
    "Give the box a new configuration, with the setting that is named corrected.",
)
NETWORK_RULES: Final = remedy(
    "network.rules",
    "Redémarrez le boîtier ; si le pare-feu est encore en défaut, appelez la maintenance.",
    "Restart the box; if the firewall still fails, call maintenance.",
)
NETWORK_CONFIG: Final = remedy(
    "config.network",
    "Redémarrez le boîtier ; si le défaut revient, vérifiez les réseaux que sa configuration déclare.",
    "Restart the box; if the fault comes back, check the networks that its configuration declares.",
)
INSPECT: Final = remedy(
    "inspect",
    "Regardez ce qui est branché au boîtier et retirez ce qui n’y a pas sa place.",
    "Look at what is plugged into the box and remove what does not belong there.",
)

TIME_SOURCE: Final = remedy(
    "time.source",
    "Vérifiez que le boîtier atteint ses serveurs de temps ; si rien n’a changé après vingt minutes, redémarrez-le.",
    "Check that the box reaches its time servers; if nothing has changed after twenty minutes, restart it.",
)
CLOCK_BATTERY: Final = remedy(
    "time.battery",
    "Redémarrez le boîtier relié au réseau, où il retrouvera l’heure ; si cela revient, donnez-lui un deuxième serveur "
    "de temps, puis faites changer sa pile.",
    "Restart the box on the network, where it will find the time; if it comes back, give it a second time server, then "
    "have its battery changed.",
)
AUDIT_ROOM: Final = remedy(
    "audit.room",
    "Appelez la maintenance : le volume du journal d’audit est plein ou ne s’écrit plus.",
    "Call maintenance: the volume of the audit trail is full or cannot be written.",
)
INVESTIGATE: Final = remedy(
    "investigate",
    "Appelez la maintenance, qui comparera avec une copie : quelqu’un ou un disque défaillant a touché au journal.",
    "Call maintenance, who will compare with a copy: somebody or a failing disk has touched the trail.",
)
COLLECTOR: Final = remedy(
    "log.collector",
    "Vérifiez le collecteur de journaux du site.",
    "Check the site’s log collector.",
)
RENEW: Final = remedy(
    "cert.renew",
    "Commandez le renouvellement du certificat indiqué auprès de l’ANS.",
    "Order the renewal of the certificate that is named from the ANS.",
)
REISSUE: Final = remedy(
    "cert.reissue",
    "Appelez la maintenance : la clé est à révoquer et à refaire, le boîtier à effacer et à configurer à nouveau.",
    "Call maintenance: the key must be revoked and made anew, the box erased and configured again.",
)
RIGHT_CERTIFICATE: Final = remedy(
    "cert.right",
    "Installez le certificat du bon type et de la bonne structure.",
    "Install the certificate of the right kind and structure.",
)
LISTE_BLANCHE: Final = remedy(
    "liste_blanche",
    "Vérifiez l’accès au réseau ; si la liste reste ancienne, appelez l’ANS.",
    "Check the network; if the list stays old, call the ANS.",
)
FETCH_CRL: Final = remedy(
    "crl.fetch",
    "Vérifiez que le boîtier atteint le réseau de l’IGC-Santé : il reprendra les listes de lui-même.",
    "Check that the box reaches the network of the IGC-Santé: it will fetch the lists by itself.",
)
TALK_TO_NEIGHBOUR: Final = remedy(
    "cabinet.tls",
    "Déclarez l’adresse de chaque appareil, non un réseau entier, ou voyez avec son éditeur comment chiffrer le lien.",
    "Declare the address of each device, not a whole network, or agree with its supplier on encrypting the link.",
)
INSTALL_UPDATE: Final = remedy(
    "update.install",
    "Installez la dernière mise à jour.",
    "Install the last update.",
)
NO_WAY_BACK: Final = remedy(
    "update.no_way_back",
    "Installez la dernière mise à jour ; si le TPM est absent, ou a été vidé ou remplacé, appelez la maintenance.",
    "Install the last update; if the TPM is missing, or was cleared or replaced, call maintenance.",
)
UPDATE_NETWORK: Final = remedy(
    "update.network",
    "Vérifiez que le boîtier atteint son service de mises à jour.",
    "Check that the box reaches its update service.",
)
PLAN: Final = remedy(
    "support.plan",
    "Prévoyez le passage à la version suivante avant la fin de la maintenance.",
    "Plan the move to the next version before support ends.",
)
CREDENTIAL: Final = remedy(
    "secret.move",
    "Appelez la maintenance : un secret doit rejoindre le coffre du système et être changé.",
    "Call maintenance: a secret must go to the system’s store and be changed.",
)
