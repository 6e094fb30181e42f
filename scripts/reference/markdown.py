"""Pieces of Markdown that GitHub and the site show alike."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

_CODE: Final = re.compile(r"(`[^`]+`)")
_SPECIAL: Final = re.compile(r"([\\*_<\[\]|])")


def text(plain: str) -> str:
    """Words as they stand on one line; nothing in them is markup but `code`."""
    parts = _CODE.split(" ".join(plain.split()))
    parts[::2] = (_SPECIAL.sub(r"\\\1", part) for part in parts[::2])
    return "".join(parts)


def code(words: str) -> str:
    """A value that may hold anything, backticks too, also in a table.

    A bar ends a cell even in code, and whether a backslash mends that depends on who reads it.
    """
    if "|" in words:
        marks = (f"&#{ord(one)};" if one in "*_[]`|" else one for one in escape(words, quote=False))
        return f"<code>{''.join(marks)}</code>"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    space = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{fence}{space}{words}{space}{fence}"


def block(words: str, language: str = "text") -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", words)), default=0))
    return f"{fence}{language}\n{words.rstrip()}\n{fence}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Nothing where there are no rows; columns that are empty throughout are left out."""
    body = [list(row) for row in rows]
    if not body:
        return ""
    kept = [at for at in range(len(head)) if any(row[at] for row in body)]
    lines = [[head[at] for at in kept], ["---"] * len(kept)]
    lines += [[_cell(row[at]) for at in kept] for row in body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(words: str) -> str:
    return " ".join(words.split()) or " "


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def joined(*parts: str) -> str:
    """Paragraphs, tables and headings, one empty line between them."""
    return "\n\n".join(stripped for part in parts if (stripped := part.strip("\n")))


def page(source: str, title: str, *parts: str) -> str:
    """A generated page: where it is from, its heading, and its parts."""
    note = f"<!-- Written by `make pages` from {source}: edit there. -->"
    return joined(note, f"# {title}", *parts) + "\n"
