"""What a pull request must not decide: policy from another commit, freezes, allowed names."""

import shutil

import pytest

from tests.cli.world import World


@pytest.fixture
def repository(world: World) -> World:
    """Everything committed on main, with a strict target."""
    world.settings["targets"]["local"] |= {"allow_hosts": ["localhost"], "max_disconnects": 0}
    world.write_settings()
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    (world.root / ".gitignore").write_text(".gateways/\n")
    world.git("init", "-q", "-b", "main")
    world.git("add", ".")
    world.git("commit", "-q", "-m", "all")
    return world


def change_target(world: World, **settings: object) -> None:
    world.settings["targets"]["local"] |= settings
    world.write_settings()


def test_a_tree_cannot_raise_its_own_budget(repository: World) -> None:
    """A26, A3: the budget and the fence are those of the base."""
    assert repository.apply().code == 0
    repository.declare({"a": repository.gateway()})
    change_target(repository, max_disconnects=99, errors=[])
    assert repository.run("plan").code == 0, "on its word alone it would be let through"
    judged = repository.run("plan", "--policy-from", "main", "--format", "json")
    assert judged.code == 4
    plan = judged.json("plan")
    assert plan["policy_from"] == "main"
    assert plan["policy"] == [{"setting": "max_disconnects", "policy": "0", "tree": "99"}]
    assert [one["status"] for one in plan["changes"]] == ["blocked"]
    shown = repository.run("plan", "--policy-from", "main").out
    assert "max_disconnects: 0 -> 99" in shown
    assert repository.apply("--policy-from", "main").code == 4


def test_a_tree_cannot_open_its_own_fence(repository: World) -> None:
    """A4: a host that the base does not allow is an error, whatever the tree allows."""
    repository.declare({"a": repository.gateway(host="evil.example.test")})
    change_target(repository, allow_hosts=["*"])
    assert repository.run("plan").code == 0
    judged = repository.run("plan", "--policy-from", "main")
    assert judged.code == 3
    assert "host-not-allowed" in judged.err


def test_a_tree_cannot_choose_where_the_platform_is(repository: World) -> None:
    """A3: nothing is opened, made or read where the tree says."""
    change_target(repository, database=str(repository.root.parent / "elsewhere.db"))
    assert repository.apply("--policy-from", "main").code == 0
    assert not (repository.root.parent / "elsewhere.db").exists()
    assert (repository.root / ".gateways/platform.db").exists()


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("nowhere", "git knows no such commit here"),
        ("--output=x", "git knows no such commit here"),
        ("main:gateways.d", "git knows no such commit here"),
        ("main^{tree}", "git knows no such commit here"),
    ],
)
def test_what_is_no_commit_is_told(repository: World, ref: str, said: str) -> None:
    refused = repository.run("plan", f"--policy-from={ref}")
    assert refused.code == 3
    assert said in refused.err
    assert "hint:" in refused.err


def test_a_commit_from_before_there_were_settings(repository: World) -> None:
    """The pull request that brings gateways.yaml; a history that lies elsewhere."""
    repository.git("switch", "-q", "--orphan", "empty")
    repository.git("commit", "-q", "--allow-empty", "-m", "empty")
    repository.git("switch", "-q", "main")
    refused = repository.run("plan", "--policy-from", "empty")
    assert refused.code == 3
    assert "there is no gateways.yaml in that commit\n  hint: merge gateways.yaml" in refused.err
    shutil.rmtree(repository.root / ".git")
    refused = repository.run("plan", "--policy-from", "main")
    assert refused.code == 3
    assert "git tells no history here" in refused.err


def test_a_new_target_has_no_policy_yet(repository: World) -> None:
    repository.settings["targets"]["new"] = {"platform": "embedded"}
    repository.settings["default_target"] = "local"
    repository.write_settings()
    refused = repository.run("plan", "-t", "new", "--policy-from", "main")
    assert refused.code == 3
    assert "merge the new target first" in refused.err


def test_names_of_others_are_refused_and_never_disconnected(repository: World) -> None:
    assert repository.apply().code == 0
    change_target(repository, allow_names=["a*"], max_disconnects=9)
    refused = repository.run("validate")
    assert refused.code == 3
    assert "error[name-not-allowed]: name 'b'" in refused.out
    repository.declare({"a": repository.gateway()})
    assert repository.run("validate").code == 0
    assert repository.apply().code == 4
    assert repository.changes() == [("b", "disconnect", "blocked")]


def test_nothing_is_applied_in_a_freeze(repository: World) -> None:
    freeze = {"from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "reason": "holidays"}
    change_target(repository, freeze=[freeze])
    shown = repository.run("plan")
    assert shown.code == 4
    assert "is frozen until 2099-01-01T00:00:00Z: holidays" in shown.out
    refused = repository.apply()
    assert refused.code == 4
    assert not (repository.root / ".gateways/platform.db").exists()
    change_target(repository, freeze=[freeze | {"until": "2020-01-02T00:00:00Z"}])
    assert repository.apply().code == 0


@pytest.mark.parametrize(
    ("freeze", "rule"),
    [
        ({"reason": "x"}, "bad-freeze"),
        ({"weekly": "Fri 18:00 - Fri 18:00", "reason": "x"}, "bad-freeze"),
        ({"from": "2026-01-01T00:00:00Z", "reason": "x"}, "bad-freeze"),
        (
            {"from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z", "reason": "x"},
            "bad-freeze",
        ),
        (
            {"from": "2026-02-30T00:00:00Z", "until": "2026-03-01T00:00:00Z", "reason": "x"},
            "bad-moment",
        ),
        ({"from": "2026-01-01", "until": "2026-01-02T00:00:00Z", "reason": "x"}, "bad-moment"),
        ({"weekly": "Friday evening", "reason": "x"}, "bad-week"),
        (
            {"weekly": "Fri 18:00 - Mon 06:00", "timezone": "Mars/Olympus", "reason": "x"},
            "bad-timezone",
        ),
        (
            {"weekly": "Fri 18:00 - Mon 06:00", "timezone": "../../etc/passwd", "reason": "x"},
            "bad-timezone",
        ),
        ({"weekly": "Fri 18:00 - Mon 06:00"}, "missing-key"),
    ],
)
def test_a_freeze_that_cannot_be_read(world: World, freeze: dict[str, str], rule: str) -> None:
    change_target(world, freeze=[freeze])
    refused = world.run("validate")
    assert refused.code == 3
    assert f"error[{rule}]" in refused.out
