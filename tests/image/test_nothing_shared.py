"""Two boxes made of one image have no secret in common (ACCT-02): who opens one has not opened the next.

Both are switched on for the first time and looked through as root; what makes a box itself must be on both, and on
neither as on the other.
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from passevue.baseline.key_scan import is_private_key
from tests.image.lab import BOOT_S, Lab, settled

# What makes a box itself is made at its first boot.
OWN = (
    "etc/machine-id",
    "var/lib/passevue/page/claim-code",
    "var/lib/passevue/page/first.crt",
    "var/lib/passevue/page/first.key",
    "var/lib/passevue-recovery/key",
)
# Where secrets lie, of ours and of Debian's programs: what is there may not be the same on both.
SECRET_PLACES = re.compile(
    r"^(var|run)/.*(credential|secret|recovery|random-seed|claim|/\.?ssh|host_key|srk|\.key$|machine-id)"
)
# Units by which the tests come in, and what systemd's generator makes of them.
OF_THE_TESTS = re.compile(r"^run/(credentials/.*/systemd\.|systemd/generator[^/]*/.*/50-credential\.conf$)")
LOOKED_THROUGH = """
import base64, json, os, stat
found = {}
for top in ("/etc", "/var", "/run"):
    for folder, folders, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            seen = os.lstat(path)
            if stat.S_ISREG(seen.st_mode) and 16 <= seen.st_size <= 65536:
                try:
                    with open(path, "rb") as file:
                        found[path[1:]] = base64.b64encode(file.read(65536)).decode()
                except OSError:
                    continue
print(json.dumps(found))
"""
PARTITION = "/dev/disk/by-partlabel/passevue-var"


@dataclass(frozen=True)
class Box:
    """What one box keeps: files by path, the secrets' shadows in its LUKS header, its TPM's and its page's own keys."""

    files: Mapping[str, bytes]
    header: frozenset[str]
    certificate: str


async def switched_on(lab: Lab, name: str) -> Box:
    async with lab.machine(lab.fresh(name)) as machine:
        await machine.switch_on()
        await machine.console.answers(BOOT_S)
        await machine.serves("/healthz", BOOT_S)
        await settled(machine)
        said = await machine.console.run("python3", "-I", "-c", LOOKED_THROUGH, timeout_s=300)
        files = {path: base64.b64decode(data) for path, data in json.loads(said.out).items()}
        tree = json.loads((await machine.console.run("cryptsetup", "luksDump", "--dump-json-metadata", PARTITION)).out)
        page = ("127.0.0.1", machine.ports["page"])
        certificate = await asyncio.to_thread(ssl.get_server_certificate, page, timeout=60)
        return Box(files, frozenset(_random_parts(tree)), certificate)


def _random_parts(tree: object) -> list[str]:
    """Salts, digests and sealed blobs of a LUKS2 header (on-disk format § 3), wherever they are in it."""
    if isinstance(tree, list):
        return [part for each in tree for part in _random_parts(each)]
    if not isinstance(tree, dict):
        return []
    values = [tree.get(name) for name in ("salt", "digest", "tpm2-blob")]
    own = [
        each for value in values for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)
    ]
    return own + [part for each in tree.values() for part in _random_parts(each)]


async def test_two_boxes_of_one_image_have_no_secret_in_common(lab: Lab) -> None:
    one, other = await switched_on(lab, "one-of-two"), await switched_on(lab, "other-of-two")
    for path in OWN:
        assert path in one.files, f"{path} is not made any more: what has taken its place belongs into this list"
        assert path in other.files, path
        assert one.files[path] != other.files[path], path
    alike = [path for path in one.files.keys() & other.files.keys() if one.files[path] == other.files[path]]
    assert sorted(path for path in alike if SECRET_PLACES.search(path) and not OF_THE_TESTS.search(path)) == []
    assert sorted(path for path in alike if is_private_key(one.files[path])) == []
    assert len(one.header) >= 5, "two key slots, a digest and the TPM's blob have salts"
    assert not one.header & other.header
    assert one.certificate != other.certificate
    for box in (one, other):
        assert not [path for path in box.files if re.search(r"ssh_host_.*_key|\.ssh/", path)]
