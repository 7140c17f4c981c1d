"""An update in one sentence, for the person at the box."""

from passevue.update.journey import Row, State

_SENTENCES = {
    State.IDLE: "Aucune mise à jour en cours.",
    State.WAITING: "La version {version} attend la plage horaire des mises à jour.",
    State.WRITING: "La version {version} s’écrit à côté de l’actuelle ({percent} %).",
    State.WRITTEN: "La version {version} est prête : l’appareil redémarrera dès qu’il sera au calme.",
    State.REBOOTING: "L’appareil redémarre sur la version {version}.",
    State.PROVING: "La version {version} tourne ; l’appareil vérifie que tout répond avant de la garder.",
    State.DONE: "La version {version} est installée.",
    State.UNDONE: "La version {version} n’a pas tenu ses contrôles : l’appareil est revenu à la {version_before}.",
    State.FAILED: "La mise à jour a été refusée ; l’appareil garde la version {version_before}.",
}
_CHECKS = {
    "units": "une partie du logiciel ne tourne pas",
    "store": "la file d’attente ne s’ouvre pas",
    "page": "la page ne répond pas",
    "listeners": "la réception du RIS ou des modalités ne répond pas",
    "baseline: has not looked": "le contrôle des règles de sécurité n’a rien dit",
    "baseline": "une règle de sécurité n’est plus tenue",
    "neighbours": "un voisin qui répondait ne répond plus",
    "readers": "un lecteur de cartes a disparu",
    "clock": "l’horloge est fausse",
    "memory": "la mémoire manque",
    "data": "le disque des données n’accepte pas l’écriture",
}


def sentence(row: Row) -> str:
    told = _SENTENCES[row.state].format(
        version=row.version or "?", version_before=row.version_before or "actuelle", percent=row.percent
    )
    if row.state is State.IDLE and row.code == "602":
        told = f"La mise à jour {row.version} a été annulée."
    if row.state is State.UNDONE and row.code == "505":
        told = f"La version {row.version} ne démarrait plus : l’appareil est revenu à la {row.version_before}."
    if row.state is State.WAITING and row.not_before is not None and row.code == "601":
        told = f"La version {row.version} est reportée."
    elif row.state is State.WAITING and row.code:
        told = f"{told} Le dernier fichier envoyé a été refusé : {row.detail}"
    first = row.detail.partition(";")[0]
    why = _CHECKS.get(first) or _CHECKS.get(first.partition(":")[0])
    return f"{told} Raison : {why}." if row.state is State.UNDONE and why else told
