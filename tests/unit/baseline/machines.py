"""A box made of files and recorded answers: what the tests of rules look at.

box = Recorded(tmp_path)
box.file("/proc/cmdline", "root=…")
box.answers("nft -j list ruleset", out="{}")
box.manifest(units=["passevue-host.service"])
finding = look(RULE, box.machine())
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from passevue.baseline.facts import Facts
from passevue.baseline.machine import MANIFEST, Machine, Ran, Unmeasurable
from passevue.baseline.rule import Finding, Rule, Status
from passevue.config import Config

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
SITE = "/var/lib/passevue/config"
BOOT_ID = "5f0c6d0e-7d5c-4a3e-9d0f-0f6a3f2f9f11"


class Recorded:
    """A folder that stands for `/`, and what each program answers; a program without an answer is not installed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ran: dict[str, Ran] = {}
        self.now = NOW
        self.config: Config | None = None
        self.config_path: Path | None = None
        self.facts: dict[str, str] = {}
        self.file("/proc/sys/kernel/random/boot_id", BOOT_ID + "\n")
        self.file("/proc/uptime", "4000.00 8000.00\n")

    def file(self, path: str, content: str | bytes = "", mode: int = 0o644) -> Path:
        at = self.root / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content.encode() if isinstance(content, str) else content)
        at.chmod(mode)
        return at

    def answers(self, command: str, out: str = "", code: int = 0, err: str = "") -> None:
        """`command` is the whole command line, words parted by one blank."""
        self.ran[command] = Ran(code, out, err)

    def manifest(self, **keys: Any) -> None:
        whole = {
            "schema": 1,
            "version": "1.4.2",
            "profile": "production",
            "built_at": "2026-11-01T00:00:00Z",
            **keys,
        }
        self.file(MANIFEST, json.dumps(whole))

    def machine(self) -> Machine:
        collected = Facts(BOOT_ID, 3990.0, dict(self.facts)) if self.facts else None
        return Machine(
            self.root, now=self.now, config=self.config, config_path=self.config_path, runner=self._run,
            collected=collected,
        )  # fmt: skip

    def configured(self, **sections: Any) -> None:
        """A whole configuration of the test realm; `sections` replace or add to it."""
        keys = {name: f"{SITE}/{name}.pem" for name in ("auth_certificate", "auth_key", "sign_certificate", "sign_key")}
        whole: dict[str, Any] = {
            "box": {
                "name": "Cabinet des Tilleuls", "data_dir": "/var/lib/passevue", "oid": "1.2.250.1.999.1.1.8121",
                "realm": "test", "retrieve_url": "https://db.essai.example/wado",
            },
            "registry": {"url": "https://dmp.essai.example", "authority": f"{SITE}/authority.pem",
                         "lps_homologation": "ESSAI-0001"},
            "structures": [{"id": "10B0127189", "name": "CABINET", **keys}],
        }  # fmt: skip
        for name, section in sections.items():
            whole[name] = {**whole[name], **section} if isinstance(whole.get(name), dict) else section
        self.config = Config.model_validate(whole)

    def _run(self, argv: tuple[str, ...], timeout_s: float) -> Ran:
        try:
            return self.ran[" ".join(argv)]
        except KeyError:
            raise Unmeasurable(f"{argv[0]} is not installed") from None


def look(rule: Rule, machine: Machine) -> Finding:
    """What the rule's own check finds; what it raises is left to the test."""
    assert rule.check is not None
    return rule.check(machine)


def status(rule: Rule, machine: Machine) -> Status:
    return look(rule, machine).status
