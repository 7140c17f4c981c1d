"""The smallest box that starts as a program: one structure, every port whichever is free, a DMP that is away."""

from pathlib import Path

from tests.peers.pki import Pki


def smallest_box(folder: Path, structure: str) -> Path:
    """Makes its keys and its configuration in `folder`; the configuration's file."""
    pki = Pki(folder / "pki")
    keys = "\n".join(f'{name} = "{path}"' for name, path in pki.structure(structure).as_config().items())
    path = folder / "passevue.toml"
    path.write_text(
        f"""
        [box]
        name = "Boîtier d'essai"
        data_dir = "data"
        oid = "1.2.250.1.999.1"
        realm = "test"
        retrieve_url = "https://db.essai.example/wado"
        [registry]
        url = "https://127.0.0.1:9"
        authority = "{pki.authority}"
        lps_homologation = "ESSAI-0001"
        [[structures]]
        {keys}
        [ris]
        port = 0
        [modality]
        port = 0
        [page]
        port = 0
        """,
        encoding="utf-8",
    )
    return path
