"""Where a long answer ends, and what its lines stand for, wherever the network cuts it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.service.sessions.pop3_maildrop import DotReader
from tests.service.mail.strange import stuffed

LINES = st.lists(
    st.sampled_from([b"", b".", b"..", b".x", b"x", b"\r", b"\n", b"\n.", b"\r.", b"x\n.\nx"])
    | st.binary(max_size=6).filter(lambda line: b"\r\n" not in line),
    max_size=8,
)


def read(data: list[bytes]) -> tuple[bytes, bytes | None]:
    reader, found = DotReader(), b""
    for at, part in enumerate(data):
        more, after = reader.feed(part)
        found += more
        if after is not None:
            return found, after + b"".join(data[at + 1 :])
    return found, None


@given(LINES, st.lists(st.integers(0, 60), max_size=6))
def test_an_answer_is_the_same_wherever_it_is_cut(lines: list[bytes], cuts: list[int]) -> None:
    content = b"".join(line + b"\r\n" for line in lines)
    sent = stuffed(content) + b"+OK next\r\n"
    places = sorted({min(cut, len(sent)) for cut in cuts} | {0, len(sent)})
    parts = [sent[start:end] for start, end in pairwise(places)]
    assert read(parts) == (content, b"+OK next\r\n")


def test_byte_by_byte() -> None:
    content = b".\r\n..\r\n\r\n.x\r\n\r\r\n\n.\n\r\n"
    assert read([bytes([byte]) for byte in stuffed(content)]) == (content, b"")


@pytest.mark.parametrize("sent", [b"", b".", b".\r", b"x\r\n.", b"x\r\n.\r", b"x\n.\n", b"\n.\r\n"])
def test_what_is_no_end(sent: bytes) -> None:
    assert read([sent])[1] is None


def test_a_dot_that_was_not_doubled_is_taken_away_all_the_same() -> None:
    assert read([b".x\r\n.\r\n"]) == (b"x\r\n", b"")
