"""gateways drift: what came from elsewhere, told apart from what a commit is yet to change."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from demo.mailserver.process import ServerProcess
from reconciler.model import Actor, Cause
from reconciler.platforms.embedded import EmbeddedPlatform
from tests.cli.conftest import ACCOUNTS
from tests.cli.elsewhere import Elsewhere, elsewhere, live_on
from tests.cli.inside import copied, inside
from tests.cli.world import CANARY, USERS, Ran, World
from tests.platforms.contract import write


def commit(world: World) -> str:
    world.git("add", "--all")
    world.git("commit", "--quiet", "--message", "a change")
    return world.git("rev-parse", "HEAD")


def checkout(world: World, folder: Path, actor: str) -> World:
    """Another clone of the same commit, whose target is the same platform."""
    other = copied(world, folder)
    shutil.rmtree(other.root / ".gateways", ignore_errors=True)
    if "local" in other.settings["targets"]:
        (other.root / ".gateways").symlink_to(world.root / ".gateways")
    other.environ["GATEWAYS_ACTOR"] = actor
    return other


def apply(world: World, *options: str) -> Ran:
    ran = inside(world, "apply", "--yes", *options)
    assert ran.code == 0, ran.err
    return ran


def drift(world: World, *options: str, code: int = 2) -> dict[str, Any]:
    ran = inside(world, "drift", "--format", "json", *options)
    assert ran.code == code, ran.out + ran.err
    found: dict[str, Any] = ran.json("drift")
    return found


@pytest.fixture
def project(world: World) -> World:
    """Two gateways, committed and applied."""
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    (world.root / ".gitignore").write_text("/.gateways\n")
    world.git("init", "--quiet")
    commit(world)
    apply(world)
    return world


def test_what_was_applied_is_no_drift(project: World) -> None:
    found = drift(project, code=0)
    assert (found["drift"], found["on_the_way"]) == ([], [])
    assert found["summary"] == {"drifted": 0, "on_the_way": 0, "as_declared": 2}
    assert (found["secrets_compared"], found["history_known"]) == (True, True)
    said = inside(project, "drift")
    assert said.out.endswith("\nno drift, 2 as declared\n")


def test_what_a_commit_is_yet_to_change_is_on_its_way(project: World) -> None:
    declared = {"a": project.gateway(default_user_name="A"), "c": project.gateway()}
    project.declare({**declared, "b": project.gateway(2)})
    found = drift(project, code=0)
    assert (found["drift"], found["on_the_way"]) == ([], ["a", "c"])
    assert "No drift, but on its way in a plan: a, c" in inside(project, "drift").out


@pytest.mark.parametrize("committed", [False, True])
def test_another_checkout_is_told_with_its_fields_and_hand(
    project: World, tmp_path: Path, *, committed: bool
) -> None:
    """And apart from it, what the commit changes of the same gateway."""
    other = checkout(project, tmp_path / "other", "bob")
    other.declare({"a": other.gateway(default_user_name="Bob"), "b": other.gateway(2)})
    theirs = commit(other) if committed else other.git("rev-parse", "HEAD") + "-dirty"
    apply(other)
    project.declare({"a": project.gateway(labels={"env": "test"}), "b": project.gateway(2)})
    commit(project)
    found = drift(project)
    (one,) = found["drift"]
    assert (one["gateway"], one["kind"]) == ("a", "changed")
    changed = {"field": "default_user_name", "declared": None, "actual": "Bob"}
    assert one["fields"] == [changed]
    by = one["by"]
    assert (by["actor"], by["action"], by["commit"]) == ("bob", "edit", theirs)
    assert by["in_history"] is False
    assert by["run"]
    assert found["on_the_way"] == ["a"]
    said = inside(project, "drift").out
    assert "default_user_name  Bob, where (none) is declared" in said
    assert f"by bob at {by['at']} (edit, " in said
    words = "which is not in this history" if committed else "uncommitted changes on"
    assert words in said
    apply(project)
    drift(project, code=0)


def test_a_password_set_elsewhere_is_told_where_it_can_be_compared(
    project: World, tmp_path: Path
) -> None:
    other = checkout(project, tmp_path / "other", "bob")
    other.passwords["one"] = CANARY + "-new"
    other.write_secrets()
    other.server.change_accounts({**ACCOUNTS, USERS[0]: CANARY + "-new"})
    apply(other)
    (one,) = drift(project)["drift"]
    assert one["fields"] == [{"field": "user_password", "secret": "rotated"}]
    assert one["by"]["actor"] == "bob"
    assert "user_password  rotated on the platform" in inside(project, "drift").out
    del project.environ["SOPS_AGE_KEY"]
    found = drift(project, code=0)
    assert found["secrets_compared"] is False
    assert "passwords not compared" in inside(project, "drift").out


def test_a_password_rotated_by_a_commit_is_on_its_way(project: World) -> None:
    project.passwords["one"] = CANARY + "-new"
    project.write_secrets()
    assert drift(project, code=0)["on_the_way"] == ["a"]


def test_disconnected_by_hand_until_it_is_connected_again(project: World) -> None:
    assert inside(project, "disconnect", "b", GATEWAYS_ACTOR="carol").code == 0
    (one,) = drift(project)["drift"]
    assert (one["gateway"], one["kind"], one["fields"]) == ("b", "disconnected", [])
    assert (one["by"]["actor"], one["by"]["action"]) == ("carol", "disconnect")
    assert "! b: disconnected by hand" in inside(project, "drift").out
    assert drift(project, "a", code=0)["summary"]["as_declared"] == 1
    assert drift(project, "--only", "a", code=0)["drift"] == []
    assert drift(project, "b")["drift"] == [one]
    apply(project)
    drift(project, code=0)


def test_connected_by_hand_though_declared_off(project: World) -> None:
    project.declare({"a": project.gateway(), "b": project.gateway(2, state="disconnected")})
    commit(project)
    assert drift(project, code=0)["on_the_way"] == ["b"]
    apply(project)
    drift(project, code=0)
    assert inside(project, "rebuild", "b").code == 0
    (one,) = drift(project)["drift"]
    assert (one["gateway"], one["kind"]) == ("b", "connected")
    assert (one["by"]["actor"], one["by"]["action"]) == ("tester", "rebuild")


def test_a_failed_connection_is_no_drift(project: World) -> None:
    project.server.change_accounts({USERS[0]: "another"})
    assert inside(project, "rebuild", "a").code == 9
    drift(project, code=0)
    project.declare({"a": project.gateway(when_failed="disconnect"), "b": project.gateway(2)})
    commit(project)
    inside(project, "apply", "--yes")
    inside(project, "apply", "--yes")
    status = inside(project, "status", "--format", "json").json("status")["gateways"]
    assert [one["status"] for one in status] == ["disconnected", "succeeded"]
    drift(project, code=0)


def test_gateways_that_nobody_declares(project: World, tmp_path: Path) -> None:
    """One from elsewhere, and one that was declared once; off, they are at rest."""
    other = checkout(project, tmp_path / "other", "bob")
    declared = {"a": other.gateway(), "b": other.gateway(2), "c": other.gateway(2)}
    other.declare(declared)
    apply(other)
    project.declare({"a": project.gateway()})
    commit(project)
    found = drift(project)
    first, second = found["drift"]
    assert (first["gateway"], first["kind"], first["by"]["in_history"]) == ("b", "undeclared", True)
    assert "no longer declared" in first["reason"]
    assert (second["gateway"], second["by"]["actor"]) == ("c", "bob")
    assert second["by"]["in_history"] is False
    apply(project, "--max-disconnects", "2")
    drift(project, code=0)


def test_a_gateway_that_another_checkout_removed(project: World, tmp_path: Path) -> None:
    other = checkout(project, tmp_path / "other", "bob")
    other.declare({"a": other.gateway()})
    apply(other, "--max-disconnects", "1")
    (one,) = [one for one in drift(project)["drift"] if one["kind"] == "disconnected"]
    assert (one["gateway"], one["reason"]) == ("b", "disconnected as undeclared")
    assert one["by"]["actor"] == "bob"


def test_a_gateway_that_others_took_over(project: World, tmp_path: Path) -> None:
    """One that was theirs from the start is foreign, and a plan says so."""
    other = checkout(project, tmp_path / "other", "bob")
    other.settings["owner"] = "others"
    other.write_settings()
    other.declare({"a": other.gateway(), "z": other.gateway(2)})
    assert inside(other, "adopt", "a", "--yes").code == 0
    apply(other)
    project.declare({"a": project.gateway(), "b": project.gateway(2), "z": project.gateway(2)})
    found = drift(project)
    (one,) = found["drift"]
    assert (one["gateway"], one["kind"], one["by"]["action"]) == ("a", "taken over", "adopt")
    assert "belongs to 'others' now" in one["reason"]
    assert found["on_the_way"] == ["z"]
    shown = inside(project, "drift").out
    assert "To take back what was taken over: gateways adopt a\n" in shown
    assert "To undo it" not in shown, "a plan is blocked"
    assert inside(project, "adopt", "a", "--yes").code == 0
    assert inside(project, "drift", "a").code == 0


def test_without_git_what_others_applied_is_taken_for_ours(world: World, tmp_path: Path) -> None:
    world.declare({"a": world.gateway()})
    apply(world)
    other = checkout(world, tmp_path / "other", "bob")
    other.declare({"a": other.gateway(default_user_name="Bob")})
    apply(other)
    said = inside(world, "drift", "--format", "json")
    found = said.json("drift")
    assert (said.code, found["drift"], found["on_the_way"]) == (0, [], ["a"])
    assert found["history_known"] is False
    assert "git tells no history here" in said.err
    assert inside(world, "disconnect", "a").code == 0
    assert drift(world)["drift"][0]["kind"] == "disconnected"


def test_what_is_asked_for_must_be_there(project: World) -> None:
    unknown = inside(project, "drift", "bb")
    assert (unknown.code, unknown.out) == (64, "")
    assert "did you mean b?" in unknown.err
    assert inside(project, "drift", "--only", "zz*").code == 64
    (project.root / "gateways.d/mail.yaml").write_text("gateways: [\n")
    assert inside(project, "drift").code == 3


def test_words_of_others_cannot_steer_a_terminal(project: World) -> None:
    """Who acts says so of himself."""
    platform = EmbeddedPlatform(project.root / ".gateways/platform.db", "acme")

    async def disconnect() -> None:
        (actual, *_) = (await platform.read()).gateways
        evil = Actor("\x1b[2J\n::error::x", "\x1b]0;x", "\u202erun")
        by = replace(write(), actor=evil)
        await platform.disconnect(actual.gateway.name, by, cause=Cause.BY_HAND)
        await platform.close()

    asyncio.run(disconnect())
    said = inside(project, "drift")
    assert said.code == 2
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert "\n::error" not in said.out


# on a service elsewhere, whose API others use without this command


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path / "service") as found:
        yield found


def test_a_change_over_the_api_is_told_with_its_token(
    mail_server: ServerProcess, tmp_path: Path, there: Elsewhere
) -> None:
    mail_server.change_accounts(ACCOUNTS)
    world = World(tmp_path / "project", mail_server)
    live_on(there, world)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    world.git("init", "--quiet")
    commit(world)
    apply(world)
    assert drift(world, code=0)["summary"]["as_declared"] == 2
    text = there.token()
    there.wait_for(_edit_by_hand(there, text, "a"))
    found = drift(world)
    (one,) = found["drift"]
    assert one["fields"] == [{"field": "labels", "declared": {}, "actual": {"by": "script"}}]
    by = one["by"]
    assert (by["actor"], by["commit"], by["run"]) == ("a script", None, "77")
    assert by["token"]
    assert by["token"] in text
    said = inside(world, "drift").out
    assert "by a script at " in said
    assert f"(edit, of no commit, run 77, token {by['token']})" in said
    assert text.rpartition(".")[2] not in said
    world.environ["GATEWAYS_TOKEN"] = there.token("read")
    assert drift(world) == found
    world.environ["GATEWAYS_TOKEN"] = text
    apply(world)
    drift(world, code=0)


async def _edit_by_hand(there: Elsewhere, token: str, name: str) -> None:
    """What a script does with the documented API: read, change a field, put."""
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/v1/gateways/{name}"
    async with there.service.http.get(path, headers=headers) as answer:
        found = json.loads(await answer.text())
        revision = answer.headers["ETag"]
    gateway = {**found["gateway"], "labels": {"by": "script"}}
    body = {
        "gateway": gateway,
        "certificates": found["certificates"],
        "password": {"known": False, "value": None, "fingerprint": None, "ciphertext": None},
        "owner": "acme",
        "actor": {"name": "a script", "commit": None, "run": "77"},
        "reconnect": False,
    }
    headers |= {"If-Match": revision, "Idempotency-Key": "by-hand"}
    async with there.service.http.put(path, json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
