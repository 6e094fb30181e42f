"""`plan --check`: what would fail is blocked, and no password goes where it may not."""

import json
import subprocess
from typing import Any

import pytest

from tests.cli.world import CANARY, USERS, World
from tests.rig.ports import free_ports


@pytest.fixture
def connected(world: World) -> World:
    """`a` is connected, with logins allowed."""
    world.settings["targets"]["local"]["check_logins"] = ["localhost"]
    world.write_settings()
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    return world


def checks(world: World, rung: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The changes of a plan made with `--check`, by gateway."""
    ran = world.run("plan", "--check", rung, "--format", "json", *arguments)
    assert ran.code == code
    return {one["gateway"]: one for one in ran.json("plan")["changes"]}


def logins(world: World) -> int:
    counted = world.server.counters()
    return counted["logins_ok"] + counted["logins_refused"]


def test_what_works_and_would_fail_is_blocked_and_the_rest_applied(connected: World) -> None:
    """A24: and it stays blocked when the saved plan is applied."""
    dead = free_ports(["dead"])["dead"]
    connected.declare(
        {"a": connected.gateway(port=dead), "b": connected.gateway(2, encoding_mode="GBK")}
    )
    shown = connected.run("plan", "--check", "tcp", "--out", "plan.json")
    assert shown.code == 4
    assert "BLOCKED: works now, and would fail: localhost" in shown.out
    saved = json.loads((connected.root / "plan.json").read_text())
    found = {one["gateway"]: one for one in saved["changes"]}
    assert found["a"]["status"] == "blocked"
    assert found["a"]["check"]["before"] == "works"
    assert found["a"]["check"]["failure"]["field"] == "port"
    assert found["b"]["check"] == {
        "state": "works",
        "before": "unknown",
        "rung": "tcp",
        "note": "",
        "failure": None,
    }
    applied = connected.run("apply", "plan.json", "--format", "json")
    assert applied.code == 4
    outcomes = {one["gateway"]: one for one in applied.events() if "gateway" in one}
    assert outcomes["b"]["type"] == "change_done"
    assert "works now, and would fail" in json.dumps(outcomes["a"])
    assert connected.run("status", "a").out.count("succeeded") == 1, "it was left alone"
    assert connected.changes() == [("a", "edit", "planned")]


def test_a_wrong_password_is_found_before_it_is_applied(connected: World) -> None:
    connected.passwords["one"] = CANARY + "-wrong"
    connected.write_secrets()
    before = logins(connected)
    found = checks(connected, "login", code=4)
    assert found["a"]["status"] == "blocked"
    assert found["a"]["check"]["failure"]["kind"] == "auth"
    assert found["a"]["check"]["failure"]["field"] == "user_password"
    assert logins(connected) == before + 1


def test_a_repair_is_said_and_what_failed_already_is_only_shown(connected: World) -> None:
    connected.server.change_accounts({USERS[0]: CANARY + "-other"})
    assert "1 to rebuild" in connected.run("plan", "--refresh").out
    assert connected.run("rebuild", "a").code == 9
    still = checks(connected, "login")["a"]
    assert (still["status"], still["check"]["state"], still["check"]["before"]) == (
        "planned",
        "fails",
        "fails",
    )
    connected.passwords["one"] = CANARY + "-other"
    connected.write_secrets()
    mended = checks(connected, "login")["a"]["check"]
    assert (mended["state"], mended["before"], mended["rung"]) == ("works", "fails", "login")
    assert "works, up to login; it does not now" in connected.run("plan", "--check", "login").out
    lower = checks(connected, "tls")["a"]["check"]
    assert (lower["state"], lower["before"]) == ("works", "unknown"), "too low to tell"


def test_no_password_is_tried_where_the_target_does_not_allow_it(world: World) -> None:
    """A4: none by default, and a key is not even needed."""
    world.declare({"a": world.gateway()})
    before = logins(world)
    check = checks(world, "login")["a"]["check"]
    assert (check["state"], check["rung"]) == ("works", "capabilities")
    assert check["note"] == "no login: host localhost is not among the target's check_logins"
    assert logins(world) == before


def test_where_passwords_may_be_tried_is_the_bases_to_say(connected: World) -> None:
    """A3, A4: a pull request cannot let itself be logged in with."""
    connected.settings["targets"]["local"]["check_logins"] = []
    connected.write_settings()
    for arguments in (
        ("init", "-q", "-b", "main"),
        ("add", "gateways.yaml", "gateways.d"),
        ("-c", "user.name=t", "-c", "user.email=t@example.test", "commit", "-q", "-m", "all"),
    ):
        subprocess.run(["git", *arguments], cwd=connected.root, check=True)
    connected.settings["targets"]["local"]["check_logins"] = ["*"]
    connected.write_settings()
    connected.declare({"b": connected.gateway(2)}, "more.yaml")
    before = logins(connected)
    assert "no login" in checks(connected, "login", "--policy-from", "main")["b"]["check"]["note"]
    assert logins(connected) == before
    assert checks(connected, "login")["b"]["check"]["rung"] == "login"
    assert logins(connected) == before + 1


def test_without_a_key_the_login_is_left_out(connected: World) -> None:
    connected.declare({"b": connected.gateway(2)}, "more.yaml")
    del connected.environ["SOPS_AGE_KEY"]
    check = checks(connected, "login")["b"]["check"]
    assert (check["state"], check["rung"]) == ("works", "capabilities")
    assert "no key" in check["note"]


def test_a_credential_is_tried_once(connected: World) -> None:
    connected.declare({f"b{number}": connected.gateway(2) for number in range(4)}, "more.yaml")
    before = logins(connected)
    found = checks(connected, "login")
    assert logins(connected) == before + 1
    rungs = sorted(one["check"]["rung"] for one in found.values())
    assert rungs == ["capabilities"] * 3 + ["login"]
    assert sum("logs in with the same" in one["check"]["note"] for one in found.values()) == 3


def test_what_makes_no_connection_is_not_tried(connected: World) -> None:
    connected.declare({"a": connected.gateway(encoding_mode="GBK", state="disconnected")})
    connections = connected.server.counters()["connections"]
    found = checks(connected, "login")
    assert "check" not in found["a"]
    assert connected.server.counters()["connections"] == connections


def test_the_digest_covers_checks(world: World) -> None:
    """A24: a block cannot be taken out of a saved plan."""
    world.declare({"a": world.gateway()})
    assert world.run("plan", "--check", "tls", "--out", "plan.json").code == 0
    assert "check: works, up to tls" in world.run("show", "plan.json").out
    markdown = world.run("show", "plan.json", "--format", "markdown").out
    assert "; check: works, up to tls |" in markdown
    file = world.root / "plan.json"
    file.write_text(file.read_text().replace('"rung": "tls"', '"rung": "login"'))
    assert world.run("apply", "plan.json").code == 5
