"""Which machine this is: what the firmware says, else what was written down at the first start."""

from pathlib import Path

import pytest

from passevue.queue.machine_id import KEPT, read_machine_id

FIRST, NOW = "7f3a90c122be00000000000000000001", "00112233445566778899aabbccddeeff"
UUID = "00112233-4455-6677-8899-AABBCCDDEEFF\n"


def machine(root: Path, **files: str) -> Path:
    places = {"start": "etc/machine-id", "firmware": "sys/class/dmi/id/product_uuid", "kept": KEPT}
    for name, content in files.items():
        path = root / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ""),
        ({"start": NOW + "\n"}, NOW),
        ({"start": NOW + "\n", "kept": ""}, NOW),
        ({"start": NOW + "\n", "kept": FIRST + "\n", "firmware": UUID}, NOW),
        ({"start": NOW + "\n", "kept": FIRST + "\n"}, FIRST),
        ({"start": NOW + "\n", "kept": FIRST, "firmware": "03000200-0400-0500-0006-000700080009\n"}, FIRST),
    ],
    ids=["no machine id", "a laptop", "an empty note", "another board", "no firmware id", "made up at each start"],
)
def test_a_machine_is_the_same_at_each_of_its_starts(tmp_path: Path, files: dict[str, str], found: str) -> None:
    assert read_machine_id(machine(tmp_path, **files)) == found
