"""What was reviewed is what is applied: equal or less, and never a plan that was altered."""

import json
from pathlib import Path

import pytest

from reconciler.engine.planfile import from_text
from reconciler.errors import StalePlan
from tests.cli.world import CANARY, USERS, World


@pytest.fixture
def saved(world: World) -> Path:
    """A saved plan that edits `a` and creates `b`."""
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.declare({"a": world.gateway(encoding_mode="GBK"), "b": world.gateway(2)})
    assert world.run("plan", "--out", "plan.json").code == 0
    return world.root / "plan.json"


def test_saved_plan_is_shown_without_a_project_and_applied_once(world: World, saved: Path) -> None:
    shown = world.run("show", str(saved), "-C", "/")
    assert shown.code == 0
    assert shown.out == world.run("plan").out
    assert world.run("show", str(saved), "--detailed-exitcode").code == 2
    assert "| a | edit |" in world.run("show", str(saved), "--format", "markdown").out
    assert world.run("apply", "plan.json").code == 0
    assert world.changes() == []
    # applied again: nothing of it is left to do, which is less than was reviewed
    assert world.run("apply", "plan.json").code == 0


@pytest.mark.usefixtures("saved")
def test_declaration_changed_after_review(world: World) -> None:
    world.declare({"a": world.gateway(encoding_mode="Big5"), "b": world.gateway(2)})
    refused = world.run("apply", "plan.json")
    assert refused.code == 5
    assert "changed after the plan was made" in refused.err
    assert ("b", "create", "planned") in world.changes()


@pytest.mark.usefixtures("saved")
def test_secret_changed_after_review(world: World) -> None:
    world.write_secrets()  # the same values, encrypted anew: another ciphertext
    assert world.run("apply", "plan.json").code == 5


@pytest.mark.usefixtures("saved")
def test_certificate_changed_after_review(world: World) -> None:
    certificate = world.root / "gateways.d/certs/root.pem"
    certificate.write_text(certificate.read_text() * 2)
    assert world.run("apply", "plan.json").code == 5


@pytest.mark.usefixtures("saved")
def test_platform_changed_after_review(world: World) -> None:
    assert world.run("disconnect", "a").code == 0
    refused = world.run("apply", "plan.json")
    assert refused.code == 5
    assert "gateway a is no longer as it was" in refused.err
    assert ("b", "create", "planned") in world.changes()


@pytest.mark.usefixtures("saved")
def test_less_than_was_reviewed_is_fine(world: World) -> None:
    assert world.apply("--only", "b").code == 0
    assert world.changes() == [("a", "edit", "planned")]
    assert world.run("apply", "plan.json").code == 0
    assert world.changes() == []


@pytest.mark.usefixtures("saved")
def test_a_plan_of_some_is_applied_to_these_and_refused_for_more(world: World) -> None:
    assert world.run("plan", "--only", "b", "--out", "part.json").code == 0
    assert world.run("apply", "part.json", "--only", "*").code == 5, "a was not reviewed"
    assert world.run("apply", "part.json").code == 0
    assert world.changes() == [("a", "edit", "planned")]


def test_plan_that_does_nothing_is_held_to_what_it_was_made_for(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    assert world.run("plan", "--out", "plan.json").code == 0
    assert world.run("apply", "plan.json").code == 0
    world.declare({"a": world.gateway(encoding_mode="GBK")})
    assert world.run("apply", "plan.json").code == 5


def test_rotation_that_a_plan_without_key_could_not_see_is_applied(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.passwords["one"] = CANARY + "-new"
    world.write_secrets()
    world.server.change_accounts({USERS[0]: CANARY + "-new"})
    key = world.environ.pop("SOPS_AGE_KEY")
    shown = world.run("plan", "--out", "plan.json")
    assert "passwords not compared" in shown.out
    world.environ["SOPS_AGE_KEY"] = key
    applied = world.run("apply", "plan.json")
    assert applied.code == 0
    assert "1 done" in applied.out
    assert world.changes() == []


def test_refreshed_plan_rebuilds_what_it_found_down(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.server.stop()
    try:
        down = world.run("plan", "--refresh", "--out", "plan.json")
    finally:
        world.server.start()
    assert "1 to rebuild" in down.out
    applied = world.run("apply", "plan.json")
    assert applied.code == 0, "it works again, which is less than was reviewed"
    assert "0 done" in applied.out


def test_altered_plan_is_refused(world: World, saved: Path) -> None:
    plan = json.loads(saved.read_text())
    plan["changes"][0]["fields"][0]["after"] = "Big5"
    saved.write_text(json.dumps(plan))
    for arguments in (("apply", "plan.json"), ("show", "plan.json")):
        refused = world.run(*arguments)
        assert refused.code == 5
        assert "altered" in refused.err


def test_torn_plan_is_refused_at_every_length(world: World, saved: Path) -> None:
    text = saved.read_text()
    for length in range(0, len(text) - 2, 7):
        with pytest.raises(StalePlan):
            from_text(text[:length], "plan.json")
    saved.write_text(text[: len(text) // 2])
    assert world.run("apply", "plan.json").code == 5


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "x", '{"format_version": "2.0"}', "[" * 9999]
)
def test_what_is_no_plan_is_refused(world: World, text: str) -> None:
    world.declare({"a": world.gateway()})
    (world.root / "plan.json").write_text(text)
    assert world.run("apply", "plan.json").code == 5
    assert world.run("show", "plan.json").code == 5


@pytest.mark.usefixtures("saved")
def test_plan_for_another_target_is_refused(world: World) -> None:
    world.settings["targets"]["other"] = {"platform": "embedded", "database": ".gateways/b.db"}
    world.settings["default_target"] = "other"
    world.write_settings()
    refused = world.run("apply", "plan.json")
    assert refused.code == 5
    assert "-t local" in refused.err
    assert world.run("apply", "plan.json", "-t", "local").code == 0


@pytest.mark.usefixtures("saved")
def test_budget_raised_by_hand_unblocks_what_was_reviewed_as_blocked(world: World) -> None:
    assert world.run("apply", "plan.json").code == 0
    world.declare({"a": world.gateway(encoding_mode="GBK")})
    assert world.run("plan", "--out", "plan.json").code == 4
    assert world.run("apply", "plan.json").code == 4
    assert world.run("apply", "plan.json", "--max-disconnects", "1").code == 0
    assert world.changes() == []


@pytest.mark.usefixtures("saved")
def test_keyless_plan_is_applied_with_the_key(world: World) -> None:
    key = world.environ.pop("SOPS_AGE_KEY")
    assert world.run("plan", "--out", "keyless.json").code == 0
    world.environ["SOPS_AGE_KEY"] = key
    assert world.run("apply", "keyless.json").code == 0
    assert world.changes() == []


def test_no_secret_is_in_a_plan_or_the_database(world: World, saved: Path) -> None:
    assert world.run("apply", "plan.json").code == 0
    for path in (world.root / ".gateways").iterdir():
        assert CANARY.encode() not in path.read_bytes()
    assert CANARY not in saved.read_text()
