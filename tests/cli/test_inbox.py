"""gateways inbox: fetched once on a platform of one's own, read from a service elsewhere."""

import json
import os
import pty
import re
import smtplib
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from reconciler.model import EncryptionMode, ProtocolType
from reconciler.service.mail.works import WORKS
from reconciler.service.supervisor.supervisor import Supervisor
from tests.cli.elsewhere import elsewhere, live_on
from tests.cli.inside import inside
from tests.cli.world import CANARY, USERS, Ran, World
from tests.service.mail.incoming import mail


def deliver(world: World, *messages: bytes, user: int = 1) -> None:
    """Put messages into a mailbox the way that others do."""
    port = world.server.ports[ProtocolType.SMTP, EncryptionMode.NONE]
    with smtplib.SMTP("127.0.0.1", port) as client:
        client.login(USERS[0], CANARY)
        for raw in messages:
            client.sendmail("customer@example.com", [USERS[user - 1]], raw)


def listed(ran: Ran) -> list[str]:
    return [one["subject"] for one in ran.json("inbox")["messages"]]


@pytest.mark.parametrize("protocol", ["IMAP", "POP3"])
def test_it_fetches_once_and_lists(world: World, protocol: str) -> None:
    world.declare({"a": world.gateway(protocol_type=protocol)})
    assert inside(world, "apply", "--yes").code == 0
    first = inside(world, "inbox", "a", "--format", "json")
    assert (first.code, first.json("inbox")["messages"]) == (0, [])
    deliver(world, mail(1), mail(2, body="x" * 400_000 + "\r\n"))
    second = inside(world, "inbox", "a", "--format", "json")
    assert second.code == 0
    assert listed(second) == ["Question 1", "Question 2"]
    one = second.json("inbox")["messages"][0]
    assert one["from"] == "alice.b@example.com"
    assert one["to"] == ["support@example.test"]
    assert (one["message_id"], one["defects"], one["resync"]) == ("<1@example.com>", [], False)
    cursor = second.json("inbox")["cursor"]
    again = inside(world, "inbox", "a", "--format", "json", "--after", cursor)
    assert again.json("inbox") == {
        "format_version": "1.0",
        "messages": [],
        "cursor": cursor,
        "dropped": 0,
    }
    assert listed(inside(world, "inbox", "a", "--format", "json", "--limit", "1")) == ["Question 1"]
    status = inside(world, "status", "--format", "json").json("status")["gateways"]
    assert [one["status"] for one in status] == ["succeeded"]


def test_as_a_table_that_cannot_act_on_a_terminal(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert inside(world, "apply", "--yes").code == 0
    assert inside(world, "inbox", "a").out == "no messages\n"
    hostile = "=?utf-8?q?=1B[31mred=E2=80=AE_=07?= " + "long " * 50
    deliver(world, mail(1, Subject=hostile), b"From: nobody\r\nSubject: two\r\n\r\nx")
    shown = inside(world, "inbox", "a")
    header, first, second = shown.out.splitlines()
    assert header.split() == ["ID", "RECEIVED", "SIZE", "FROM", "SUBJECT"]
    assert re.fullmatch(
        r"[0-9a-f]{24}  20\S+Z +\d+ B  alice\.b@example\.com  \[31mred\\u202e .*…", first
    )
    assert second.endswith("-                    two  (no sender's address)")
    assert all(char.isprintable() for line in shown.out.splitlines() for char in line)
    assert "--after 2" in shown.err


def test_one_message_as_it_came(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert inside(world, "apply", "--yes").code == 0
    inside(world, "inbox", "a")
    raw = mail(1, body="\x00\x1b[31m" + "x" * 600_000 + "\r\n")
    deliver(world, raw)
    (one,) = inside(world, "inbox", "a", "--format", "json").json("inbox")["messages"]
    done = subprocess.run(
        world.command("inbox", "a", "--raw", one["id"]),
        cwd=world.root,
        env=world.environ,
        capture_output=True,
        check=True,
        timeout=60,
    )
    # the server puts a Received header before what it was given
    assert done.stdout.endswith(raw)
    assert len(done.stdout) == one["size"]
    terminal, end = pty.openpty()
    refused = subprocess.run(
        world.command("inbox", "a", "--raw", one["id"]),
        cwd=world.root,
        env=world.environ,
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    os.close(end)
    os.close(terminal)
    assert refused.returncode == 64
    assert "> message.eml" in refused.stderr
    missing = inside(world, "inbox", "a", "--raw", "none")
    assert (missing.code, missing.out) == (64, "")
    assert "no such message" in missing.err


def test_what_cannot_be_fetched_is_told_after_what_is_here(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert inside(world, "apply", "--yes").code == 0
    inside(world, "inbox", "a")
    deliver(world, mail(1))
    inside(world, "inbox", "a")
    world.server.change_accounts({USERS[0]: "another"})
    refused = inside(world, "inbox", "a", "--format", "json", "--log-format", "json")
    assert refused.code == 9
    assert listed(refused) == ["Question 1"]
    (said,) = [json.loads(line) for line in refused.err.splitlines()]
    assert said["level"] == "error"
    assert said["message"].startswith("a: nothing was fetched: ")
    for _ in range(2):
        assert inside(world, "inbox", "a").code == 9
    parked = inside(world, "inbox", "a")
    assert parked.code == 9
    assert "refused this user and password 3 times" in parked.err
    status = inside(world, "status", "--format", "json").json("status")["gateways"]
    assert [(one["status"], one["kind"]) for one in status] == [("failed", "auth")]


def test_what_makes_no_sense(world: World) -> None:
    assert inside(world, "inbox", "a").code == 64
    assert "there is no gateway 'a'" in inside(world, "inbox", "a").err
    world.declare({"a": world.gateway(), "out": world.gateway(protocol_type="SMTP")})
    assert inside(world, "apply", "--yes").code == 0
    sends = inside(world, "inbox", "out")
    assert (sends.code, sends.out) == (4, "")
    assert "it sends, and receives nothing" in sends.err
    assert inside(world, "inbox", "absent").code == 64
    assert inside(world, "inbox", "a", "--limit", "0").code == 64
    assert inside(world, "inbox", "a", "--after", "x").code == 3
    assert inside(world, "inbox").code == 64


def test_a_disconnected_gateway_is_left_alone(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert inside(world, "apply", "--yes").code == 0
    inside(world, "inbox", "a")
    assert inside(world, "disconnect", "a").code == 0
    before = world.server.counters()["connections"]
    assert inside(world, "inbox", "a").code == 0
    assert world.server.counters()["connections"] == before


def test_from_a_service_elsewhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.cli.elsewhere.Supervisor", partial(Supervisor, works=WORKS))
    world.declare({"a": world.gateway(), "out": world.gateway(protocol_type="SMTP")})
    with elsewhere(tmp_path / "service") as there:
        live_on(there, world)
        assert inside(world, "apply", "--yes").code == 0
        world.environ["GATEWAYS_TOKEN"] = there.token("send")
        deliver(world, mail(1))
        end = time.monotonic() + 20
        while not listed(found := inside(world, "inbox", "a", "--format", "json")):
            assert time.monotonic() < end
        assert (found.code, listed(found)) == (0, ["Question 1"])
        message = found.json("inbox")["messages"][0]["id"]
        raw = inside(world, "inbox", "a", "--raw", message)
        assert raw.code == 0
        assert "Message-ID: <1@example.com>" in raw.out
        assert inside(world, "inbox", "a", "--raw", "none").code == 64
        assert inside(world, "inbox", "absent").code == 64
        assert inside(world, "inbox", "out").code == 4
        world.environ["GATEWAYS_TOKEN"] = there.token("read")
        assert inside(world, "inbox", "a").code == 10
