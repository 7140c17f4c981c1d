"""OpenSCAP with Debian 13's ANSSI-BP-028 profiles: what is left out and why (judged.toml), what it says in the box.

XCCDF 1.2 (NISTIR 7275r4): a tailoring file selects away rules of a profile; the score is the default model's, 0 to 100,
over what is left. Rules that do not apply to this system do not count; errors count as failures.
"""

import re
import subprocess
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.image.machine import Machine
from tests.image.second_opinions.guest import OSCAP, PLACE, TAILORING, start
from tests.image.second_opinions.programs import CONTENT, LIBRARIES, LOADER

XCCDF = "http://checklists.nist.gov/xccdf/1.2"
RULE = "xccdf_org.ssgproject.content_rule_"
PROFILE = "xccdf_org.ssgproject.content_profile_anssi_bp28_"
OURS = "xccdf_fr.passevue_profile_"
PROFILES = ("minimal", "intermediary", "enhanced")
JUDGED = Path(__file__).with_name("judged.toml")
GOOD = frozenset({"pass", "fixed"})
UNCOUNTED = frozenset({"notapplicable", "notchecked", "notselected", "informational"})
LONGEST_S = 1800


@dataclass(frozen=True)
class Reasons:
    """By rule: why it is left out of the profiles; why it stays in and fails."""

    left_out: dict[str, str]
    fails: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    profile: str
    score: float
    results: dict[str, str] = field(default_factory=dict)  # by rule

    @property
    def failed(self) -> set[str]:
        return {rule for rule, result in self.results.items() if result not in GOOD | UNCOUNTED}

    def __str__(self) -> str:
        passed = sum(result in GOOD for result in self.results.values())
        counted = sum(result not in UNCOUNTED for result in self.results.values())
        return f"{self.score:.1f} ({passed} of {counted} rules)"


def reasons() -> Reasons:
    told = tomllib.loads(JUDGED.read_text())

    def by_rule(name: str) -> dict[str, str]:
        return {rule: entry["because"] for entry in told[name] for rule in entry["rules"]}

    return Reasons(by_rule("left_out"), by_rule("fails"))


def tailoring(left_out: dict[str, str]) -> str:
    """The tailoring file of XCCDF § 6.7: each profile without these rules, the reason beside each."""
    lines = [f'<Tailoring xmlns="{XCCDF}" id="xccdf_fr.passevue_tailoring_box">']
    lines.append('<version time="2026-11-22T00:00:00">1</version>')
    for profile in PROFILES:
        lines.append(f'<Profile id="{OURS}{profile}" extends="{PROFILE}{profile}">')
        lines.append(f"<title>ANSSI-BP-028, {profile}, of the box</title>")
        for rule, reason in sorted(left_out.items()):
            lines.append(f'<select idref="{RULE}{rule}" selected="false"><remark>{escape(reason)}</remark></select>')
        lines.append("</Profile>")
    return "\n".join([*lines, "</Tailoring>\n"])


def selected(content: Path) -> dict[str, set[str]]:
    """The rules of each profile, as the content has them."""
    found: dict[str, set[str]] = {}
    for _, element in ElementTree.iterparse(content):
        if element.tag == f"{{{XCCDF}}}Profile":
            rules = {
                each.get("idref", "").removeprefix(RULE)
                for each in element.iterfind(f"{{{XCCDF}}}select")
                if each.get("selected") == "true" and each.get("idref", "").startswith(RULE)
            }
            found[element.get("id", "").removeprefix(PROFILE)] = rules
        if element.tag in (f"{{{XCCDF}}}Rule", f"{{{XCCDF}}}Profile"):
            element.clear()
    return found


async def ask(box: Machine, profile: str) -> Verdict:
    """
    Raises:
        CommandFailed: oscap could not judge (its code 1); 2 says that some rules failed.
    """
    results = f"/run/openscap-{profile}.xml"
    words = _words(profile, f"{PLACE}/{TAILORING}", results, f"{PLACE}/{CONTENT}")
    said = await start(box, OSCAP, *words, timeout_s=LONGEST_S, check=False)
    if said.code not in (0, 2):
        raise RuntimeError(f"oscap: {said}")
    score = await box.console.run("grep", "-o", "<score [^<]*</score>", results, timeout_s=300)
    await box.console.run("rm", results)
    return read(profile, said.out, score.out)


def ask_of_files(tree: Path, root: Path, profile: str, left_out: dict[str, str], folder: Path) -> Verdict:
    """The same over the files in `root`, without a machine: what only a running kernel or systemd can tell fails."""
    (folder / TAILORING).write_text(tailoring(left_out))
    words = _words(profile, str(folder / TAILORING), str(folder / "results.xml"), str(tree / CONTENT))
    loader = (str(tree / LOADER), "--library-path", str(tree / LIBRARIES))
    done = subprocess.run(
        [*loader, str(tree / OSCAP), *words],
        capture_output=True, text=True, check=False, env={"OSCAP_PROBE_ROOT": str(root)},
    )  # fmt: skip
    if done.returncode not in (0, 2):
        raise RuntimeError(f"oscap: {done.stderr}")
    return read(profile, done.stdout, (folder / "results.xml").read_text())


def _words(profile: str, tailoring: str, results: str, content: str) -> list[str]:
    words = ["xccdf", "eval", "--progress", "--skip-validation", "--tailoring-file", tailoring]
    return [*words, "--profile", OURS + profile, "--results", results, content]


def read(profile: str, out: str, score: str) -> Verdict:
    pairs = re.findall(rf"^{RULE}([^\s:]+):(\w+)\s*$", out, re.MULTILINE)
    found = re.search(r'"urn:xccdf:scoring:default"[^>]*>([\d.]+)<', score)
    if not found or not pairs:
        raise RuntimeError(f"oscap told no score: {score[:200]} {out[-2000:]}")
    return Verdict(profile, float(found[1]), dict(pairs))
