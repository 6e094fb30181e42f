"""The table of tokens."""

from typing import Any

from reconciler.report.style import COLOUR
from reconciler.report.tokens import tokens_text


def token(**fields: Any) -> dict[str, Any]:
    return {
        "id": "abcdefghijkl",
        "tenant": "acme",
        "role": "read",
        "state": "good",
        "origin": None,
        "note": "",
        "created_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-02-01T00:00:00Z",
        "revoked_at": None,
        **fields,
    }


def test_no_tokens() -> None:
    assert tokens_text([]) == "no tokens\n"


def test_columns_are_as_wide_as_they_need_and_notes_are_harmless() -> None:
    text = tokens_text(
        [
            token(note="a\x1b[31m\nnote"),
            token(
                tenant="a-long-name",
                state="revoked",
                revoked_at="2026-01-15T00:00:00Z",
                origin="https://gateways.example.com:443",
            ),
        ]
    )
    head, first, second = text.splitlines()
    assert head.split() == ["ID", "TENANT", "ROLE", "STATE", "EXPIRES", "ORIGIN", "NOTE"]
    assert first.index("read") == second.index("read") == head.index("ROLE")
    assert "\\u001b[31m\\u000anote" in first
    assert "loopback only" in first
    assert "2026-01-15T00:00:00Z" in second


def test_colours_change_no_column() -> None:
    plain = tokens_text([token(), token(state="expired")])
    coloured = tokens_text([token(), token(state="expired")], COLOUR)
    assert coloured != plain
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain
