"""gateways send, as a person and a script use it, without a service and with one."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cli.inside import inside
from tests.cli.world import USERS, Ran, World

SMTP: Final[dict[str, Any]] = {"protocol_type": "SMTP", "default_user_name": "Ann Agent"}
TEXT = ("--subject", "Hello", "--text", "Hi")


@pytest.fixture
def desk(world: World) -> World:
    """A project with a gateway `out` that has connected."""
    world.declare({"out": world.gateway(**SMTP), "in": world.gateway(2)})
    assert inside(world, "apply", "--yes").code == 0
    return world


def send(desk: World, *words: str, to: str = USERS[1], kind: str = "agent") -> Ran:
    return inside(desk, "send", "out", "--kind", kind, "--to", to, *(words or TEXT))


def sent_as_json(desk: World, *words: str, **fields: str) -> tuple[int, Any]:
    ran = send(desk, *(words or TEXT), "--format", "json", **fields)
    return ran.code, ran.json("send")


def test_sent_in_this_process(desk: World) -> None:
    ran = send(desk)
    assert (ran.code, ran.err) == (0, "")
    name, state, message = ran.out.split()
    assert (name, state) == ("out:", "sent")
    code, found = sent_as_json(desk, *TEXT, "--cc", USERS[0], kind="notification")
    assert (code, found["state"], found["kind"]) == (0, "sent", "notification")
    assert [one["state"] for one in found["recipients"]] == ["sent", "sent"]
    shown = inside(desk, "send", "out", "--show", message, "--format", "json").json("send")
    assert (shown["id"], shown["state"]) == (message, "sent")


def test_text_from_a_file_or_from_standard_input(desk: World) -> None:
    (desk.root / "answer.txt").write_bytes("\ufeffGrüße\n".encode())
    (desk.root / "answer.html").write_text("<p>Grüße</p>")
    (desk.root / "übersicht.pdf").write_bytes(b"%PDF")
    words = ("--subject", "", "--text-file", "answer.txt", "--html", "answer.html")
    more = ("--attach", "übersicht.pdf", "--reply-to", USERS[0], "--in-reply-to", "1@x")
    assert send(desk, *words, *more).code == 0
    command = desk.command("send", "out", "--kind", "agent", "--to", USERS[1])
    piped = subprocess.run(
        [*command, "--subject", "x", "--text-file", "-"],
        cwd=desk.root,
        env=desk.environ,
        input=b"from a pipe",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (piped.returncode, piped.stdout[:9]) == (0, b"out: sent")


def test_refused_by_the_server(desk: World) -> None:
    """For good; the others have it."""
    ran = send(desk, "--cc", "nobody@example.test", *TEXT)
    assert ran.code == 9
    assert ran.out.startswith("out: partly sent")
    assert "nobody@example.test: failed: 550 5.1.1" in ran.out
    code, found = sent_as_json(desk, to="nobody@example.test")
    assert (code, found["state"]) == (9, "failed")


def test_what_cannot_be_sent_now_goes_along_with_the_next(desk: World) -> None:
    """It stays queued and says why, and the refused login is counted."""
    desk.server.change_accounts({USERS[1]: "other"})
    ran = send(desk)
    assert ran.code == 9
    assert "out: queued" in ran.out
    assert "refuses the login" in ran.out
    assert "the next message through this gateway takes it along" in ran.err
    status = inside(desk, "status", "out", "--format", "json").json("status")["gateways"][0]
    assert (status["status"], status["kind"]) == ("failed", "auth")
    first = ran.out.split()[2]
    desk.server.change_accounts(dict(zip(USERS, desk.passwords.values(), strict=False)))
    before = desk.server.counters()["messages"]
    assert send(desk).code == 0
    assert desk.server.counters()["messages"] == before + 2
    assert inside(desk, "send", "out", "--show", first).out.startswith("out: sent")


def test_no_login_is_tried_more_than_three_times(desk: World) -> None:
    desk.server.change_accounts({USERS[1]: "other"})
    before = desk.server.counters()["logins_refused"]
    for _ in range(5):
        assert send(desk).code == 9
    assert desk.server.counters()["logins_refused"] - before == 3


def test_held_while_disconnected(desk: World) -> None:
    """G40: accepted, and told so."""
    assert inside(desk, "disconnect", "out").code == 0
    ran = send(desk)
    assert ran.code == 0
    assert ran.out.startswith("out: held")
    assert "once it is connected again" in ran.err
    assert inside(desk, "rebuild", "out").code == 0
    assert send(desk).code == 0
    assert inside(desk, "send", "out", "--show", ran.out.split()[2]).out.startswith("out: sent")


def test_one_key_one_message(desk: World) -> None:
    before = desk.server.counters()["messages"]
    first, again = [send(desk, *TEXT, "--key", "k") for _ in range(2)]
    assert first == again
    assert desk.server.counters()["messages"] == before + 1
    other = send(desk, "--subject", "other", "--text", "x", "--key", "k")
    assert other.code == 10
    assert "was used for another one" in other.err


def test_decisions(desk: World) -> None:
    one = send(desk, to="nobody@example.test").out.split()[2]
    refused = inside(desk, "send", "out", "--resend", one)
    assert refused.code == 4
    assert "what became of it is known" in refused.err
    ended = inside(desk, "send", "out", "--give-up", one)
    assert (ended.code, ended.out[:11]) == (0, "out: failed")


TO = ("--kind", "agent", "--to", "a@b.example")
WRONG: Final[Sequence[tuple[tuple[str, ...], int, str]]] = (
    (("--to", "a@b.example", *TEXT), 64, "--kind is missing"),
    (("--kind", "agent", *TEXT), 64, "--to is missing"),
    ((*TO, "--text", "x"), 64, "--subject is missing"),
    ((*TO, "--subject", "x"), 64, "--text-file"),
    (("--kind", "letter"), 64, "letter"),
    (("--show", "1", "--subject", "x"), 64, "stand alone"),
    (("--show", "1", "--give-up", "1"), 64, "stand alone"),
    (("--show", "1"), 64, "no such message"),
    (("--kind", "agent", "--to", "Ann <a@b.example>", *TEXT), 3, "to.0: "),
    ((*TO, "--subject", "a\nb", "--text", ""), 3, "subject: "),
    ((*TO, "--subject", "", "--text-file", "no.txt"), 3, "no.txt: No such file"),
    ((*TO, *TEXT, "--attach", "gateways.d"), 3, "gateways.d: Is a directory"),
)


def test_what_makes_no_sense_is_told(desk: World) -> None:
    for words, code, said in WRONG:
        ran = inside(desk, "send", "out", *words)
        assert ran.code == code, words
        assert said in ran.err
        assert ran.out == ""


def test_through_a_gateway_that_is_none(desk: World) -> None:
    ran = inside(desk, "send", "nobody", "--kind", "agent", "--to", "a@b.example", *TEXT)
    assert ran.code == 64
    assert "'nobody' is not on the platform" in ran.err
    ran = inside(desk, "send", "in", "--kind", "agent", "--to", "a@b.example", *TEXT)
    assert ran.code == 4
    assert "receives mail over IMAP" in ran.err


def test_before_anything_was_applied(world: World) -> None:
    """And no database comes into being by asking."""
    world.declare({"out": world.gateway(**SMTP)})
    ran = inside(world, "send", "out", "--kind", "agent", "--to", "a@b.example", *TEXT)
    assert ran.code == 64
    assert not list(Path(world.root).rglob("platform.db"))
