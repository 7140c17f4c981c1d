"""licences.txt: for the person who holds the box, in French."""

from collections.abc import Iterator, Sequence

from supply.component import Component

UNKNOWN = "inconnue"
INTRODUCTION = """\
Passevue {version} : logiciels contenus et licences

Passevue est un logiciel libre sous licence Apache 2.0. Le système du boîtier contient aussi les logiciels ci-dessous,
chacun sous sa propre licence. Pour chacun : nom, version, licence ou licences, puis l’endroit où se trouve le texte.

- Les paquets Debian sont ceux de Debian 13. Leurs sources, y compris celles des logiciels sous GPL et LGPL, sont
  publiées par Debian sous le nom et la version du paquet source indiqués.
- Les bibliothèques Python sont installées telles que publiées par leurs auteurs. Le signe « + » marque ce qu’une
  bibliothèque emporte compilé en elle ; le texte de sa licence n’est pas toujours dans le système.
- « * » : la licence a été établie par une personne ; ailleurs, elle est celle que le logiciel déclare.
- Les textes des licences courantes sont dans /usr/share/common-licenses.

{debian} paquets Debian, {python} bibliothèques Python, {carried} composants emportés ; {unknown} sans licence connue.
La même liste, lisible par un programme : sbom.cdx.json.
"""


def licence_list(version: str, debian: Sequence[Component], python: Sequence[Component]) -> str:
    everything = [*debian, *python, *(inner for one in python for inner in one.carries)]
    unknown = [one for one in everything if not one.licences.known]
    head = INTRODUCTION.format(
        version=version,
        debian=len(debian),
        python=len(python),
        carried=len(everything) - len(debian) - len(python),
        unknown=len(unknown),
    )
    parts = {
        "Sans licence connue": [_title(one) for one in unknown],
        "Paquets Debian": [line for one in debian for line in _lines(one)],
        "Bibliothèques Python": [line for one in python for line in _lines(one)],
    }
    return "\n".join(
        [head, *(line for title, lines in parts.items() if lines for line in (title, "=" * len(title), "", *lines, ""))]
    )


def _lines(one: Component) -> Iterator[str]:
    yield _title(one)
    yield f"    {_said(one)}"
    if one.source:
        yield f"    source : {one.source}"
    yield f"    {one.licences.text or 'pas de texte dans le système'}"
    for inner in one.carries:
        yield f"    + {_title(inner)} : {_said(inner)}"


def _title(one: Component) -> str:
    return f"{one.name} {one.version}".rstrip()


def _said(one: Component) -> str:
    return f"{one.licences}{' *' if one.licences.by_hand else ''}" if one.licences.known else UNKNOWN
