"""Files of systemd's and RAUC's kind: sections, `key=value`, comments with # or ;. The last value of a key counts."""

from passevue.errors import Unreadable


def read_ini(text: str) -> dict[str, dict[str, str]]:
    """Section by name, then value by key. Raises: Unreadable for a line that is neither."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for line in (each.strip() for each in text.splitlines()):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = found.setdefault(line[1:-1], {})
            continue
        key, equals, value = line.partition("=")
        if section is None or not equals:
            raise Unreadable("a line is neither a section nor a setting")
        section[key.strip()] = value.strip()
    return found
