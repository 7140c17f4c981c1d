"""Names of licences: those of Debian's copyright files and of wheels, and the SPDX identifiers that mean the same.

Only what is the same text gets an identifier. `BSD`, `MIT-like` or a licence with an exception keep their words.
Debian's short names: machine-readable debian/copyright 1.0 ("DEP-5"), § 7.1.
"""

import re
from collections.abc import Iterator

SAME = {
    "0bsd": "0BSD",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "beerware": "Beerware",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-2-clause-netbsd": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd-4-clause": "BSD-4-Clause",
    "bsd-4-clause-uc": "BSD-4-Clause-UC",
    "bsl-1.0": "BSL-1.0",
    "bzip2-1.0.6": "bzip2-1.0.6",
    "cc-by-3.0": "CC-BY-3.0",
    "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-sa-4.0": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "curl": "curl",
    "expat": "MIT",
    "fsfap": "FSFAP",
    "fsful": "FSFUL",
    "fsfullr": "FSFULLR",
    "isc": "ISC",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit": "MIT",
    "mit license": "MIT",
    "mit-0": "MIT-0",
    "mpl-1.1": "MPL-1.1",
    "mpl-2.0": "MPL-2.0",
    "ms-pl": "MS-PL",
    "oldap-2.8": "OLDAP-2.8",
    "openldap-2.8": "OLDAP-2.8",
    "postgresql": "PostgreSQL",
    "psf-2.0": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
    "python-2.0.1": "Python-2.0.1",
    "unicode-3.0": "Unicode-3.0",
    "unicode-dfs-2016": "Unicode-DFS-2016",
    "unlicense": "Unlicense",
    "x11": "X11",
    "zlib": "Zlib",
}
_GNU = re.compile(r"(A|L)?GPL-(\d)(?:\.(\d))?(\+|-or-later|-only)?", re.IGNORECASE)


def spdx_id(name: str) -> str | None:
    """`GPL-2.0-or-later` for `GPL-2+`, `MIT` for `Expat`; None when no identifier is known to mean this."""
    plain = " ".join(name.split())
    if gnu := _GNU.fullmatch(plain):
        family, major, minor, later = gnu.groups()
        end = "or-later" if later and later.lower() in ("+", "-or-later") else "only"
        return f"{(family or '').upper()}GPL-{major}.{minor or '0'}-{end}"
    return SAME.get(plain.lower())


def declared(copyright_file: str) -> list[str]:
    """The licences that a machine-readable copyright file gives to files, lines as they stand; none of another kind.

    The first paragraph's own (for what no other names) counts too; paragraphs that only give a text do not.
    """
    paragraphs = list(_paragraphs(copyright_file))
    if not paragraphs or "format" not in paragraphs[0]:
        return []
    about = [fields for fields in paragraphs if "files" in fields or "format" in fields]
    return list(dict.fromkeys(fields["license"] for fields in about if fields.get("license")))


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """First line of each field, by its name in lower case."""
    for block in re.split(r"\n[ \t]*\n", text.lstrip("\ufeff\n")):
        found = re.findall(r"^([A-Za-z][A-Za-z-]*):[ \t]*(.*?)[ \t]*$", block, re.MULTILINE)
        if found:
            yield {name.lower(): value for name, value in found}
