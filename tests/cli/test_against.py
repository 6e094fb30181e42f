"""plan --against REF: a commit in the platform's place, where neither token nor key can be had."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.world import CANARY, World
from tests.declarations.sops_support import real_sops


@pytest.fixture
def merged(world: World) -> World:
    """Two gateways on main, of a service that is not there; no token for it."""
    world.settings["targets"]["local"] = {
        "platform": "http",
        "url": "http://127.0.0.1:9",
        "tenant": "acme",
        "token": {"env": "GATEWAYS_TOKEN"},
    }
    world.write_settings()
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    world.git("init", "-q", "-b", "main")
    world.git("add", ".")
    world.git("commit", "-q", "-m", "all")
    return world


@contextmanager
def without_key(world: World) -> Iterator[None]:
    key = world.environ.pop("SOPS_AGE_KEY")
    yield
    world.environ["SOPS_AGE_KEY"] = key


def test_what_a_pull_request_changes_needs_no_token_and_no_key(merged: World) -> None:
    """A1: a fork's job has nothing, and its reviewers see every change all the same."""
    real_sops()
    assert merged.run("plan").code != 0, "with the platform it cannot be planned here"
    edited = merged.gateway(2, encoding_mode="GBK")
    merged.declare({"b": edited, "c": merged.gateway(protocol_type="SMTP")})
    merged.set_secret("two", CANARY + "-new")
    with without_key(merged):
        ran = merged.run("plan", "--against", "main", "--format", "json", "--out", "plan.json")
        shown = merged.run("plan", "--against", "main")
    assert ran.code == 4, "nobody declares a any longer, and removals are to be meant"
    plan = ran.json("plan")
    assert plan["against"] == "main"
    found = {one["gateway"]: one for one in plan["changes"]}
    assert {name: one["action"] for name, one in found.items()} == {
        "a": "disconnect",
        "b": "edit",
        "c": "create",
    }
    assert found["a"]["status"] == "blocked"
    assert found["b"]["fields"] == [
        {"field": "encoding_mode", "before": "UTF-8", "after": "GBK"},
        {"field": "user_password", "secret": "rotated"},
    ]
    assert found["c"]["reason"] == "not declared at main"
    assert "compared with what main declares and not with the platform" in shown.out
    assert "passwords" not in shown.out + shown.err, "they were compared too"


def test_the_same_declarations_are_no_change(merged: World) -> None:
    merged.declare({"b": merged.gateway(2), "a": merged.gateway()}, "renamed.yaml")
    (merged.root / "gateways.d/mail.yaml").unlink()
    ran = merged.run("plan", "--against", "main", "--detailed-exitcode", "--out", "plan.json")
    assert ran.code == 0, ran.err
    comment = merged.run("comment", "--print", "plan.json").out
    assert "This declares the same 2 gateways as main; the platform was not asked." in comment


def test_what_concerns_no_connection_makes_none_anew(merged: World) -> None:
    merged.declare({"a": merged.gateway(encoding_mode="GBK"), "b": merged.gateway(2, port=9)})
    plan = merged.run("plan", "--against", "main", "--format", "json").json("plan")
    assert [(one["gateway"], one["reason"], one["reconnects"]) for one in plan["changes"]] == [
        ("a", "encoding_mode differs", False),
        ("b", "port differs; the connection is made anew", True),
    ]


def test_a_gateway_that_is_declared_disconnected_stays_so(merged: World) -> None:
    merged.declare({"a": merged.gateway(state="disconnected"), "b": merged.gateway(2)})
    first = merged.run("plan", "--against", "main", "--format", "json").json("plan")
    assert [(one["gateway"], one["action"]) for one in first["changes"]] == [("a", "disconnect")]
    merged.git("commit", "-qam", "a is to rest")
    again = merged.run("plan", "--against", "main", "--format", "json").json("plan")
    assert again["changes"] == []


def test_what_is_invalid_at_the_commit_can_be_mended(merged: World) -> None:
    merged.declare({"a": merged.gateway(port=70_000), "b": merged.gateway(2)})
    merged.git("commit", "-qam", "broken")
    merged.declare({"a": merged.gateway(), "b": merged.gateway(2)})
    planned = merged.run("plan", "--against", "main", "--format", "json")
    changes = planned.json("plan")["changes"]
    assert [(one["gateway"], one["action"]) for one in changes] == [("a", "create")]
    assert "main have 1 error: what is invalid there counts as not declared" in planned.err


def test_it_is_for_reading_and_never_applied(merged: World) -> None:
    """A24: what was not compared with the platform is no review of what apply would do."""
    merged.settings["targets"]["local"] = {"platform": "embedded"}
    merged.write_settings()
    merged.git("commit", "-qam", "elsewhere")
    merged.declare({"a": merged.gateway(encoding_mode="GBK"), "b": merged.gateway(2)})
    assert merged.run("plan", "--against", "main", "--out", "plan.json").code == 0
    assert not (merged.root / ".gateways").exists(), "the platform was not looked at"
    ran = merged.run("apply", "plan.json")
    assert ran.code == 5
    assert "the plan compares with what main declares, and not with the platform" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--against", "nowhere"), 3, "--against nowhere: git knows no such commit here"),
        (("--against", "--output=x"), 3, "git knows no such commit here"),
        (("--against", "main", "--refresh"), 64, "--against does not ask the platform"),
        (("--against", "main", "-t", "fresh"), 3, "--against main: there is no target 'fresh'"),
    ],
)
def test_what_cannot_be_compared_is_said(
    merged: World, arguments: tuple[str, ...], code: int, words: str
) -> None:
    merged.settings["targets"]["fresh"] = {"platform": "embedded"}
    merged.settings["default_target"] = "local"
    merged.write_settings()
    ran = merged.run("plan", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err


def test_a_check_knows_nothing_of_what_worked_before(merged: World) -> None:
    merged.settings["targets"]["local"] = {"platform": "embedded"}
    merged.write_settings()
    merged.git("commit", "-qam", "elsewhere")
    merged.declare({"a": merged.gateway(), "b": merged.gateway(2, port=9)})
    ran = merged.run("plan", "--against", "main", "--check", "tcp", "--format", "json")
    found = ran.json("plan")["changes"][0]["check"]
    assert (found["state"], found["before"]) == ("fails", "unknown")
    assert ran.code == 0, "nobody knows whether it worked, so nothing is said to break"
