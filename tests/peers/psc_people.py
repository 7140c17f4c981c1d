"""Invented people as Pro Santé Connect knows them: claims in the shape of its userinfo (pro-sante-connect.md § 8).

    MEDECIN = person("899700000017", "CARDAMOME", "Maud", exercice("10", "SM44", activity(structure="1750803447")))

Names, identifiers and structures are made up; `samples/psc/userinfo_exemple.json` has the shape.
"""

from dataclasses import dataclass
from typing import Any

SUB_SPACE = "550dc1c8-d97b-4b1e-ac8c-8eb4471cf9dd"  # of the sample's accounts
_EMPTY = (
    "codeSectionPharmacien", "codeRole", "numeroSirenSite", "numeroFinessetablissementJuridique",
    "identifiantTechniqueDeLaStructure", "enseigneCommercialeSite", "complementDestinataire", "numeroVoie",
    "codePostal", "codeCommune", "codePays", "telephone", "adresseEMail", "autoriteDenregistrement",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One account. `login` is the national identifier, which is also the login hint."""

    login: str
    family: str
    given: str
    exercices: tuple[dict[str, Any], ...]

    @property
    def sub(self) -> str:
        return f"f:{SUB_SPACE}:{self.login}"

    def claims(self) -> dict[str, Any]:
        places = [place for one in self.exercices for place in one["activities"]]
        only = places[0] if len(places) == 1 else {}
        return {
            "sub": self.sub,
            "email_verified": False,
            "SubjectNameID": self.login,
            "preferred_username": self.login,
            "given_name": self.given,
            "family_name": self.family,
            "SubjectRole": [f"{one['codeProfession']}^1.2.250.1.213.1.1.5.5" for one in self.exercices],
            "Secteur_Activite": f"{places[0]['codeSecteurDactivite'] if places else ''}^1.2.250.1.71.4.2.4",
            "SubjectOrganization": only.get("raisonSocialeSite", ""),
            "SubjectOrganizationID": only.get("ancienIdentifiantDeLaStructure", ""),
            "Palier_Authentification": "APPPRIP3^1.2.250.1.213.1.5.1.1.1",
            "PSI_Locale": "1.2.250.1.213.1.3.1.1",
            "UITVersion": "1.0",
            "Mode_Acces_Raison": "",
            "Acces_Regulation_Medicale": "FAUX",
            "otherIds": [{"identifiant": self.login, "origine": "RPPS", "qualite": 1}],
            "SubjectRefPro": {"codeCivilite": "MME", "exercices": list(self.exercices)},
        }


def activity(structure: str = "", name: str = "", sector: str = "SA07", **changes: str) -> dict[str, str]:
    """One place; `changes` by claim name."""
    return {
        **dict.fromkeys(_EMPTY, ""),
        "codeModeExercice": "L",
        "codeSecteurDactivite": sector,
        "codeGenreActivite": "GENR01",
        "numeroSiretSite": "",
        "numeroFinessSite": "",
        "raisonSocialeSite": name,
        "ancienIdentifiantDeLaStructure": structure,
        **changes,
    }


def exercice(profession: str, know_how: str, *activities: dict[str, str], **changes: str) -> dict[str, Any]:
    """One profession with its places."""
    return {
        "codeProfession": profession,
        "codeCategorieProfessionnelle": "C",
        "codeCiviliteDexercice": "DR",
        "nomDexercice": "",
        "prenomDexercice": "",
        "codeTypeSavoirFaire": "S" if know_how else "",
        "codeSavoirFaire": know_how,
        **changes,
        "activities": list(activities),
    }


def people(structure: str, other: str = "10B0000001") -> tuple[Person, ...]:
    """A small practice: whose situation is clear, who has to choose, who has none, who is a student."""
    here = activity(structure, "CABINET DE RADIOLOGIE DU PORT")
    there = activity(other, "CENTRE HOSPITALIER GENERIQUE", "SA01", codeModeExercice="S")
    again = activity(structure, "CABINET DE RADIOLOGIE DU PORT", "SA05")
    return (
        Person("899700000017", "CARDAMOME", "Maud", (exercice("10", "SM44", here, nomDexercice="CARDAMOME",
                                                              prenomDexercice="Maud"),)),
        Person("899700000025", "GENIEVRE", "Basile", (exercice("10", "SM44", here, there, again),)),
        Person("899700000033", "SAFRAN", "Aude", (exercice("10", "SM26", there),)),
        Person("899700000041", "ANETH", "Côme", ()),
        Person("899700000058", "FENUGREC", "Lise", (
            exercice("10", "SM44", here),
            exercice("21", "", activity(structure, "CABINET DE RADIOLOGIE DU PORT", codeSectionPharmacien="G")),
        )),
    )  # fmt: skip
