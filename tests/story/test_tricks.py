"""What a pull request's author may try: nothing of it gets past the jobs, and each is seen."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.mailserver.process import ServerProcess
from tests.cli.world import World
from tests.story.team import ACCOUNTS, Team, git, team


@pytest.fixture(scope="module")
def settled(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Two gateways merged and connected. No trick changes them, so all share one team."""
    folder = tmp_path_factory.mktemp("tricks")
    with team(folder, mail_server, "embedded") as cast:
        target = cast.world.settings["targets"]["production"]
        target |= {"max_disconnects": 0, "errors": ["unbound-secret"]}
        cast.world.write_settings()
        cast.world.passwords = {
            name: {"value": value, "hosts": ["localhost"]}
            for name, value in zip(("one", "two"), ACCOUNTS.values(), strict=True)
        }
        cast.world.write_secrets()
        cast.world.declare(declared(cast.world))
        cast.push("main", "The gateways of support")
        with cast.job("main", key=True) as job:
            assert job.apply("--policy-from", "origin/main").code == 0
        yield cast


@pytest.fixture
def cast(settled: Team) -> Iterator[Team]:
    """The team, back at what was merged; afterwards the platform is as it was."""
    merged = git(settled.forge.repository, "rev-parse", "main")
    before = settled.statuses()
    settled.pull()
    settled.forge.server.comments.clear()
    yield settled
    git(settled.forge.repository, "update-ref", "refs/heads/main", merged)
    assert settled.statuses() == before == {"in": "succeeded", "out": "succeeded"}


def declared(world: World, **more: Any) -> dict[str, Any]:
    return {"in": world.gateway(1, **more), "out": world.gateway(2, protocol_type="SMTP")}


def test_a_commit_pushed_after_the_approval(cast: Team) -> None:
    """A24: what was approved is stale, and nothing of either is done."""
    cast.world.declare(declared(cast.world, encoding_mode="GBK"))
    cast.push("good", "What is reviewed")
    with cast.job("good", key=True) as job:
        assert job.run("plan", "--out", "plan.json").code == 0
        approved = (job.root / "plan.json").read_text()
    cast.world.declare(declared(cast.world, encoding_mode="GBK", receive_from="all"))
    cast.push("good", "And what is not")
    cast.forge.merge("good")
    with cast.job("main", key=True) as job:
        (job.root / "plan.json").write_text(approved)
        refused = job.run("apply", "plan.json")
    assert refused.code == 5
    assert "changed after the plan was made" in refused.err


def test_a_plan_file_that_was_swapped_or_touched(cast: Team) -> None:
    """Faults A23, A24: another pull request's plan, and one with a word more."""
    cast.world.declare(declared(cast.world, encoding_mode="Big5"))
    cast.push("other", "Somebody else's")
    with cast.job("other") as job:
        assert job.run("plan", "--out", "plan.json").code == 0
        others = (job.root / "plan.json").read_text()
    with cast.job("main", key=True) as job:
        (job.root / "plan.json").write_text(others)
        assert job.run("apply", "plan.json").code == 5
        touched = json.loads(others)
        touched["changes"][0]["reason"] += "."
        (job.root / "plan.json").write_text(json.dumps(touched))
        for command in ("apply", "show", "comment"):
            refused = job.run(command, "plan.json", **cast.forge.environ())
            assert refused.code == 5
            assert "altered" in refused.err
    assert cast.forge.comments() == []


def test_a_policy_that_a_pull_request_brings_is_shown_and_not_obeyed(cast: Team) -> None:
    """Faults A3, A26: a removal, and in the same tree the budget that would allow it."""
    target = cast.world.settings["targets"]["production"]
    before = dict(target)
    target |= {"max_disconnects": 99, "errors": []}
    cast.world.write_settings()
    target.clear()
    target |= before
    cast.world.declare({"in": cast.world.gateway(1)})
    cast.push("policy", "Tidy up")
    planned = cast.pull_request("policy")
    assert planned.code == 4
    plan = planned.json("plan")
    assert [one["setting"] for one in plan["policy"]] == ["errors", "max_disconnects"]
    assert [one["status"] for one in plan["changes"]] == ["blocked"]
    (comment,) = cast.forge.comments()
    caution = comment.partition("[!CAUTION]")[2].partition("\n\n")[0]
    assert "policy **max&#95;disconnects** changes with this: 0 → 99" in caution
    assert "out is **blocked**" in caution
    with cast.job("policy", key=True) as job:
        assert job.apply("--policy-from", "origin/main").code == 4


def test_a_secret_that_is_led_elsewhere(cast: Team) -> None:
    """A4: the host is changed and the secret kept; the stranger never hears a byte of us."""
    with _stranger() as (port, heard):
        fields = {"host": "127.0.0.1", "port": port, "encryption_mode": "TLS"}
        cast.world.declare(declared(cast.world, **fields))
        cast.push("elsewhere", "A faster server")
        with cast.job("elsewhere") as job:
            fenced = job.run("plan", "--policy-from", "origin/main")
            assert fenced.code == 3
            assert "host-not-allowed" in fenced.err
        with cast.job("elsewhere", key=True) as job:
            # were the fence open, the secret itself would still say where it may go
            target = job.settings["targets"]["production"] | {"allow_hosts": ["*"]}
            job.settings = {**job.settings, "targets": {"production": target}}
            job.write_settings()
            for command in ("plan", "check", "apply"):
                refused = job.run(command, *(["--yes"] if command == "apply" else []))
                assert refused.code == 3, (command, refused)
                assert "secret-bound-elsewhere" in refused.err + refused.out
        assert heard == []


@contextmanager
def _stranger() -> Iterator[tuple[int, list[object]]]:
    """A port of somebody else's, and everybody who came there."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            try:
                while True:
                    came.append(listening.accept())
            except OSError:  # it is closed at the end
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listening.getsockname()[1], came
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
