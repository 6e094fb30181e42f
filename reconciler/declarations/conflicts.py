"""Merge conflicts that git left in a file, which no reader of YAML could explain."""

import re
from typing import Final

_MARKER: Final = re.compile(rb"^(?:<{7}|\|{7}|>{7})(?: |\r?$)", re.MULTILINE)


def conflict_line(text: bytes) -> int | None:
    """The line, counted from 0, on which git marked a conflict; None where there is none."""
    found = _MARKER.search(text)
    return text.count(b"\n", 0, found.start()) if found else None
