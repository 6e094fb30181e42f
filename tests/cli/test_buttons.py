"""Rebuild and disconnect as another program sees them, and a login that is tried by force."""

import json

from tests.cli.world import CANARY, USERS, World


def test_as_json_they_print_what_they_touched(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2, protect=True)})
    assert world.apply().code == 0
    both = world.run("disconnect", "a", "b", "--format", "json", "--log-format", "json")
    assert both.code == 4
    shown = both.json("status")["gateways"]
    assert [(one["name"], one["status"], one["message"]) for one in shown] == [
        ("a", "disconnected", "by hand by tester")
    ]
    (said,) = [json.loads(line) for line in both.err.splitlines()]
    assert said["level"] == "error"
    assert said["message"].startswith("b: blocked: it is protected")
    rebuilt = world.run("rebuild", "b", "a", "--format", "json")
    assert (rebuilt.code, rebuilt.err) == (0, "")
    shown = rebuilt.json("status")["gateways"]
    assert [(one["name"], one["status"]) for one in shown] == [
        ("b", "succeeded"),
        ("a", "succeeded"),
    ]
    assert world.run("rebuild", "a").out == "a: succeeded\n"


def test_what_goes_wrong_goes_through_the_log(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.server.change_accounts({USERS[0]: "another"})
    failed = world.run("rebuild", "a", "--format", "json", "--log-format", "json")
    assert failed.code == 9
    (shown,) = failed.json("status")["gateways"]
    assert (shown["status"], shown["kind"], shown["field"]) == ("failed", "auth", "user_password")
    messages = [json.loads(line)["message"] for line in failed.err.splitlines()]
    assert messages
    assert messages[0].startswith("  hint: ")


def test_a_login_that_was_refused_too_often_comes_back_by_force(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.server.change_accounts({USERS[0]: "another"})
    for _ in range(3):
        assert world.run("rebuild", "a").code == 9
    refused = world.run("rebuild", "a")
    assert refused.code == 9
    assert "gateways rebuild a --force" in refused.err
    world.server.change_accounts({USERS[0]: CANARY})
    assert world.run("rebuild", "a").code == 9
    assert world.run("rebuild", "a", "--force").out == "a: succeeded\n"
    assert world.changes() == []
