"""`passevue baseline`: what it prints, and the code it leaves with."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from passevue.baseline.report import Report, read_report
from passevue.baseline.rules import CATALOGUE
from passevue.cli.commands import app
from tests.peers.pki import Pki
from tests.unit.baseline.machines import Recorded

CONF = "[system]\nbundle-formats=verity\nmin-bundle-version=1.0.0\n"


class Site:
    """A system mounted somewhere, and the configuration of its box."""

    def __init__(self, folder: Path) -> None:
        self.root = Recorded(folder / "root")
        self.root.manifest()
        self.root.file("/etc/rauc/system.conf", CONF)
        self.pki = Pki(folder / "pki")
        self.config = folder / "passevue.toml"
        self.configure()

    def configure(self, realm: str = "test", ris: str = "") -> None:
        keys = "\n".join(f'{name} = "{path}"' for name, path in self.pki.structure("10B0127189").as_config().items())
        authority = self.root.file("/authority.pem", self.pki.authority.read_bytes())
        self.config.write_text(
            f'[box]\nname = "Essai"\ndata_dir = "data"\noid = "1.2.250.1.999.1"\nrealm = "{realm}"\n'
            'retrieve_url = "https://db.essai.example/wado"\n'
            f'[registry]\nurl = "https://dmp.essai.example"\nauthority = "{authority}"\nlps_homologation = "E-1"\n'
            f"[[structures]]\n{keys}\n[ris]\n{ris}\n",
            encoding="utf-8",
        )
        self.config.chmod(0o640)

    def type(self, *words: str, root: bool = True) -> Result:
        where = ("--root", str(self.root.root)) if root else ()
        environ = {"PASSEVUE_CONFIG": str(self.config), "COLUMNS": "200"}
        return CliRunner().invoke(app, ["baseline", *where, *words], env=environ)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_nothing_that_fails_leaves_with_0(site: Site) -> None:
    done = site.type("--rule", "UPD-01")
    assert done.exit_code == 0, done.output
    assert "Toutes les règles vérifiables ici sont respectées." in done.stdout
    assert "bundle formats: verity" in done.stdout


def test_what_warns_leaves_with_1(site: Site) -> None:
    site.configure(ris='senders = ["10.0.0.0/8"]')
    done = site.type("--rule", "TLS-07")
    assert done.exit_code == 1
    assert "Non assuré : Les liens en clair restent dans le centre" in done.stdout
    assert "Déclarez l’adresse de chaque appareil" in done.stdout


def test_what_holds_leaves_with_2(site: Site) -> None:
    site.root.manifest(profile="development")  # of a production image UPD-03 asks the TPM
    site.root.file("/etc/rauc/system.conf", CONF.replace("verity", "plain"))
    done = site.type("--rule", "verity_bundles_only", "--rule", "UPD-03")
    assert done.exit_code == 2
    assert "une fonction est suspendue" in done.stdout


def test_what_blocks_leaves_with_3(site: Site) -> None:
    site.root.manifest(profile="development")
    site.configure(realm="production")
    done = site.type("--rule", "app-04")
    assert done.exit_code == 3
    assert "Plus rien ne part vers le réseau national jusqu’à correction." in done.stdout


def test_rules_that_cannot_be_looked_at_leave_with_4(site: Site, tmp_path: Path) -> None:
    done = site.type("--root", str(tmp_path / ("x" * 300)), root=False)
    assert done.exit_code == 4
    assert "Les règles n’ont pas pu être vérifiées." in done.stderr
    assert "Traceback" not in done.output


def test_what_cannot_be_measured_counts_as_a_failure_where_it_must(site: Site) -> None:
    done = site.type("--rule", "TIME-01", "--json")  # nobody collected facts there
    assert done.exit_code == 3
    (rule,) = json.loads(done.stdout)["rules"]
    assert (rule["status"], rule["effect"], rule["fires"]) == ("unknown", "block", True)


def test_a_rule_that_nobody_knows_is_a_command_not_understood(site: Site) -> None:
    done = site.type("--rule", "BOOT-99")
    assert done.exit_code == 2
    assert "BOOT-99" in done.stderr


def test_on_a_laptop_every_rule_has_an_answer_and_nothing_stops(site: Site) -> None:
    done = site.type("--json", root=False)
    assert done.exit_code in (0, 1), done.output
    report: Report = read_report(done.stdout.encode())
    assert [result.id for result in report.results] == [rule.id for rule in CATALOGUE if rule.check is not None]
    away = [result for result in report.results if result.observed == "ce poste n’est pas le boîtier"]
    assert len(away) > 40
    assert all(result.status in ("pass", "not_applicable", "fail") for result in report.results)


def test_the_json_is_the_report_s_own_shape(site: Site) -> None:
    tree: dict[str, Any] = json.loads(site.type("--rule", "UPD-01", "--json").stdout)
    assert set(tree) == {"schema", "box", "image", "boot_id", "at", "worst", "counts", "rules"}
    assert (tree["schema"], tree["box"], tree["image"], tree["worst"]) == (1, "1.2.250.1.999.1", "1.4.2", "none")
    assert tree["counts"] == {"pass": 1, "fail": 0, "unknown": 0, "not_applicable": 0}
    (rule,) = tree["rules"]
    assert set(rule) == {
        "id", "rule", "level", "effect", "status", "observed", "expected", "remedy", "since", "checked", "fires",
    }  # fmt: skip


def test_a_wrong_configuration_is_a_finding_and_hides_nothing(site: Site) -> None:
    site.config.write_text("[box\n", encoding="utf-8")
    done = site.type("--rule", "APP-03", "--rule", "UPD-01", "--json")
    assert done.exit_code == 2
    assert [rule["status"] for rule in json.loads(done.stdout)["rules"]] == ["fail", "pass"]


def test_rules_proved_before_release_are_listed_with_their_proof(site: Site) -> None:
    done = site.type("--rule", "APP-02")
    assert done.exit_code == 0
    assert "Vérifiées avant la livraison" in done.stdout
    assert "tests/journeys/test_bad_input.py" in done.stdout
