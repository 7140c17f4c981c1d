"""SECR-01: no secret in an environment, a command line or the configuration: they come as credentials of systemd."""

import math
import re
import stat
from collections import Counter

from passevue.baseline.machine import Machine
from passevue.baseline.remedies import CREDENTIAL
from passevue.baseline.rule import Effect, Event, Finding, Function, Level, Rule, Text, When, failed, passed
from passevue.baseline.secret_scan import names_a_secret

SETTINGS = ("/etc/systemd/system", "/usr/lib/systemd/system")
_ENVIRONMENT = re.compile(r"^Environment=(.*)$", re.MULTILINE)
_VARIABLE = re.compile(r"[\"']?([A-Za-z_][A-Za-z0-9_]*)=([^\s\"']+)")
_IN_ADDRESS = re.compile(r"://[^/\s:@\"']+:[^/\s@\"']+@")
_WORD = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
RANDOM_BITS = 4.0  # of entropy a character: base64 of random bytes has 4.5 to 6, words and paths 3 to 4


def check(machine: Machine) -> Finding:
    running = machine.facts.tree("secrets")
    if running:
        return failed(f"readable by others: {', '.join(str(each) for each in running[:3])}")
    for path in _units(machine):
        if name := _in_unit(machine.read_text(path)):
            return failed(f"{path} sets {name}")
    if machine.config_path is not None and (line := _random_line(machine.config_path.read_text(encoding="utf-8"))):
        return failed(f"line {line} of the configuration looks like a key")
    return passed("environments, command lines, units and configuration hold none")


def _units(machine: Machine) -> list[str]:
    """Services and what is added to them; not those that are masked, or links to nothing."""
    found = [
        path for folder in SETTINGS for kind in ("", ".d/*.conf") for path in machine.glob(f"{folder}/*.service{kind}")
    ]
    return [path for path in sorted(found) if machine.exists(path) and stat.S_ISREG(machine.stat(path).st_mode)]


def _in_unit(text: str) -> str:
    found = [each for line in _ENVIRONMENT.findall(text) for each in _VARIABLE.findall(line)]
    return next((name for name, value in found if value and names_a_secret(name)), "")


def _random_line(text: str) -> int:
    """The first line with a word that only chance can have written, or a password in an address; 0: there is none."""
    for number, line in enumerate(text.splitlines(), 1):
        if _IN_ADDRESS.search(line) or random_words(line):
            return number
    return 0


def random_words(text: str) -> list[str]:
    """The words of a text that only chance can have written."""
    return [word for word in _WORD.findall(text) if _is_random(word)]


def _is_random(word: str) -> bool:
    """Base64 of a key mixes capitals, small letters and digits all over; a path or a name does not. Or hexadecimal."""
    if re.fullmatch(r"[0-9A-Fa-f]{48,}", word):
        return True
    kinds = [len(re.findall(kind, word)) for kind in ("[A-Z]", "[a-z]", "[0-9]")]
    return min(kinds[:2]) * 5 >= len(word) and kinds[2] >= 2 and _bits(word) > RANDOM_BITS


def _bits(word: str) -> float:
    """Entropy of its characters."""
    counts = Counter(word).values()
    return -sum(count / len(word) * math.log2(count / len(word)) for count in counts)


RULE = Rule(
    id="SECR-01",
    slug="credentials_only",
    level=Level.MUST,
    effect=Effect.HOLD,
    when=frozenset({When.START}),
    title=Text("Aucun secret n’est posé en clair", "No secret lies in clear"),
    why=Text(
        "Un mot de passe dans une configuration ou une ligne de commande se lit par d’autres programmes.",
        "A password in a configuration or on a command line can be read by other programs.",
    ),
    expected="no secret in environments, command lines, unit files or the configuration",
    remedy=CREDENTIAL,
    source="CLA O-12.5.9, CR 1.5",
    check=check,
    holds=frozenset({Function.SIGN_IN, Function.CONSULTATION}),
    on=frozenset({Event.CONFIG}),
)
