"""The page's templates, all there from the start: none is read from the disk while somebody waits.

To compile them takes a sixth of the page's start. The appliance does it once, when its image is made, into files
beside Python's own compiled ones (`python -m passevue.status.page_templates`). The head of each tells of which text it
was made, for which Python and Jinja (jinja2.bccache): another text is compiled anew, in memory.
"""

import contextlib
import sys
from pathlib import Path

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket

_BESIDE = Path(__file__).parent / "__pycache__"


class Compiled(BytecodeCache):
    """Files of `folder`, read only: the root of the appliance cannot be written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """By its name alone: where the package lies is no part of it."""
        return name

    def file(self, name: str) -> Path:
        return self._folder / f"{name}.{sys.implementation.cache_tag}.jinja"

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError), self.file(bucket.key).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Not here: `_Writing` does."""


class _Writing(Compiled):
    def load_bytecode(self, bucket: Bucket) -> None:
        """All are compiled anew."""

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._folder.mkdir(exist_ok=True)
        with self.file(bucket.key).open("wb") as file:
            bucket.write_bytecode(file)


def opened(compiled: Compiled) -> Environment:
    """With every template in it."""
    templates = Environment(
        loader=PackageLoader("passevue.status"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=compiled,
    )
    for name in templates.list_templates():
        templates.get_template(name)
    return templates


def write(folder: Path = _BESIDE) -> None:
    opened(_Writing(folder))


TEMPLATES = opened(Compiled(_BESIDE))

if __name__ == "__main__":
    write()
