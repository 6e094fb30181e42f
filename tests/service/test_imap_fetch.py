"""What FETCH says, in every order and form that servers write it in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.service.sessions.imap import Response
from reconciler.service.sessions.imap_fetch import Announced, Fetched, announced, fetched


@pytest.mark.parametrize(
    ("line", "literals", "found"),
    [
        (b"* 1 FETCH (UID 7)", (), Fetched(7)),
        (b"* 1 fetch (rfc822.size 5 uid 7)", (), Fetched(7, 5)),
        (
            b'* 1 FETCH (INTERNALDATE " 2-Nov-2023 10:00:00 +0000" UID 7)',
            (),
            Fetched(7, None, " 2-Nov-2023 10:00:00 +0000"),
        ),
        (b"* 1 FETCH (FLAGS (\\Seen UID 9) UID 7)", (), Fetched(7)),
        (b"* 1 FETCH (FLAGS (UID 9 (x (y))) UID 7)", (), Fetched(7)),
        (b'* 1 FETCH (X "UID 9 \\" UID 8" UID 7)', (), Fetched(7)),
        (b"* 1 FETCH (UID 7 BODY[] {3})", (b"abc",), Fetched(7, body=b"abc")),
        (b"* 1 FETCH (BODY[] {3} UID 7)", (b"UID",), Fetched(7, body=b"UID")),
        (b"* 1 FETCH (BODY[] NIL UID 7)", (), Fetched(7)),
        (b'* 1 FETCH (BODY[] "a\\"b\\\\" UID 7)', (), Fetched(7, body=b'a"b\\')),
        (b"* 1 FETCH (BODY[HEADER]<0> {3} UID 7)", (b"A:b",), Fetched(7, header=b"A:b")),
        (b"* 1 FETCH (UID 7 UID 8)", (), Fetched(7)),
        (b"* 1 FETCH (UID x)", (), Fetched()),
        (b"* 1 FETCH (UID " + b"9" * 5_000 + b")", (), Fetched()),
        (b"* 1 FETCH (", (), Fetched()),
        (b"* 1 FETCH (UID", (), Fetched()),
        (b"* 1 FETCH ((((", (), Fetched()),
        (b"* 1 FETCH (UID 7 BODY[] {3})", (), Fetched(7, body=b"")),
    ],
)
def test_responses(line: bytes, literals: tuple[bytes, ...], found: Fetched) -> None:
    assert fetched(Response(line, literals)) == found


@pytest.mark.parametrize("line", [b"* 1 EXISTS", b"a1 OK", b"* OK FETCH (UID 7)", b""])
def test_what_is_no_fetch(line: bytes) -> None:
    assert fetched(Response(line)) is None


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"* 1 FETCH (UID 7 BODY[] {12}", Announced(12, is_message=True)),
        (b"* 1 FETCH (UID 7 body[] ~{12+}", Announced(12, is_message=True)),
        (b"* 1 FETCH (BODY[HEADER] {12}", Announced(12, is_message=False)),
        (b"* OK BODY[] {12}", Announced(12, is_message=False)),
        (b"* 1 FETCH (UID 7)", None),
        (b"* 1 FETCH (BODY[] {12} x", None),
    ],
)
def test_announcements(line: bytes, found: Announced | None) -> None:
    assert announced(line) == found


@given(st.binary(max_size=200), st.lists(st.binary(max_size=5), max_size=3))
def test_whatever_is_said_nothing_is_raised(said: bytes, literals: list[bytes]) -> None:
    for line in (said, b"* 1 FETCH (" + said):
        announced(line)
        fetched(Response(line, tuple(literals)))
