"""Where packages come from: the build machine's own apt configuration, for Debian 13 instead of its own release.

No mirror is named in this repository. The entries of /etc/apt that name the running Debian release (`bookworm`,
`bookworm-updates`, `bookworm-security` …) are taken over with the wanted release in its place; others (third parties)
are left out. Both formats of apt are read: one-line `.list` and deb822 `.sources`. Proxies, credentials and certificate
settings of apt come along.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
POCKETS = ("", "-updates", "-security")
"""The base release and what corrects it. Backports and proposed updates are not taken."""
TRANSPORT = r"Acquire::(https?|ftp)::|Acquire::(Check-Valid-Until|Check-Date|Retries|ForceIPv4|ForceIPv6)\b"
"""The settings of apt that say how to reach a mirror; the rest is the build machine's own business."""


class NoSources(Exception):
    """The machine's apt configuration names no Debian archive."""


@dataclass(frozen=True, slots=True)
class Source:
    uri: str
    pocket: str  # one of POCKETS
    keyring: str

    def entry(self, release: str) -> str:
        fields = {"Types": "deb", "URIs": self.uri, "Suites": release + self.pocket, "Components": "main"}
        return "".join(f"{name}: {value}\n" for name, value in (fields | {"Signed-By": self.keyring}).items())


def running_release(os_release: str) -> str:
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)", os_release, re.MULTILINE)
    if not found:
        raise NoSources("/etc/os-release names no Debian release")
    return found[1]


def sources(apt: Path, running: str) -> list[Source]:
    """What `apt` (/etc/apt) says about the running release, in order, each once.

    Raises:
        NoSources: nothing there names `running`.
    """
    files = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))]
    found: dict[Source, None] = {}
    for file in files:
        if not file.is_file():
            continue
        text = file.read_text(errors="replace")
        reader = {".list": _one_line, ".sources": _deb822}.get(file.suffix)
        for uri, suite, signed_by in reader(text) if reader else ():
            pocket = _pocket(suite, running)
            if pocket is not None:
                keyring = signed_by if signed_by.startswith("/") and Path(signed_by).exists() else KEYRING
                found[Source(uri, pocket, keyring)] = None
    if not any(source.pocket == "" for source in found):
        raise NoSources(f"nothing under {apt} names the suite {running}")
    return list(found)


def write(folder: Path, release: str, apt: Path = Path("/etc/apt"), os_release: Path = Path("/etc/os-release")) -> Path:
    """Makes `folder` a sandbox tree of mkosi with these sources in etc/apt; answers the path of the sources' file."""
    shutil.rmtree(folder, ignore_errors=True)
    etc = folder / "etc/apt"
    listed = etc / "sources.list.d/mkosi.sources"
    listed.parent.mkdir(parents=True)
    found = sources(apt, running_release(os_release.read_text()))
    listed.write_text("\n".join(source.entry(release) for source in found))
    settings = subprocess.run(["/usr/bin/apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    (etc / "apt.conf.d").mkdir()
    wanted = [line for line in settings.splitlines() if re.match(TRANSPORT, line)]
    (etc / "apt.conf.d/90-build-machine").write_text("\n".join(wanted) + "\n")
    for secret in (apt / "auth.conf", *sorted((apt / "auth.conf.d").glob("*.conf"))):
        if secret.is_file():
            kept = etc / secret.relative_to(apt)
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(secret, kept)
            kept.chmod(0o600)
    return listed


def _pocket(suite: str, running: str) -> str | None:
    """`-security` of `bookworm-security`; None when it is another release or another archive."""
    pocket = suite.removeprefix(running) if suite.startswith(running) else None
    return pocket if pocket in POCKETS else None


def _one_line(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
        if found and "main" in found[4].split():
            signed_by = re.search(r"signed-by=(\S+)", found[1] or "")
            yield found[2], found[3], signed_by[1] if signed_by else ""


def _deb822(text: str) -> Iterator[tuple[str, str, str]]:
    bare = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", bare):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1].isspace() and name:
                fields[name] += " " + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        if "main" not in fields.get("components", "").split():
            continue
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield uri, suite, fields.get("signed-by", "")
