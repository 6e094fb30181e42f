"""The commands on a service elsewhere: the same words and exit codes as with a platform here."""

import itertools
import os
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from demo.mailserver.process import ServerProcess
from reconciler.platforms.http_retry import Patience
from tests.cli.conftest import ACCOUNTS
from tests.cli.elsewhere import Elsewhere, elsewhere, live_on
from tests.cli.inside import inside
from tests.cli.world import USERS, Ran, World
from tests.platforms.fault_proxy import DROP_REPLY, THROUGH, Exchange, Fault, reply

# every request with GATEWAYS_KILL_STEP=1, which takes half a minute; else a sample of them
STEP = int(os.environ.get("GATEWAYS_KILL_STEP", "5"))


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Elsewhere]:
    with elsewhere(tmp_path / "service") as found:
        yield found


@pytest.fixture
def world(mail_server: ServerProcess, tmp_path: Path, there: Elsewhere) -> World:
    mail_server.change_accounts(ACCOUNTS)
    world = World(tmp_path / "project", mail_server)
    live_on(there, world)
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    return world


def changes(world: World) -> list[tuple[str, str, str]]:
    plan = inside(world, "plan", "--format", "json").json("plan")
    return [(one["gateway"], one["action"], one["status"]) for one in plan["changes"]]


def apply(world: World, *options: str) -> Ran:
    return inside(world, "apply", "--yes", *options)


def test_from_declaration_to_connection_and_back(world: World, there: Elsewhere) -> None:
    """A third run finds nothing to do, and nothing of all this is stored beside the project."""
    assert inside(world, "plan", "--detailed-exitcode").code == 2
    assert there.actions() == []
    applied = apply(world, "--format", "json")
    assert applied.code == 0, applied.err
    assert applied.events()[-1]["done"] == 2
    status = inside(world, "status", "--format", "json").json("status")["gateways"]
    assert [(one["name"], one["status"], one["managed"]) for one in status] == [
        ("a", "succeeded", True),
        ("b", "succeeded", True),
    ]
    assert inside(world, "plan", "--detailed-exitcode").code == 0
    assert inside(world, "plan", "--refresh", "--detailed-exitcode").code == 0
    assert "0 done" in apply(world).out
    world.declare({"a": world.gateway(labels={"env": "test"}), "b": world.gateway(2)})
    assert changes(world) == [("a", "edit", "planned"), ("b", "edit", "planned")]
    assert apply(world).code == 0
    assert sorted(there.actions()) == sorted(
        (name, action) for name in ("a", "b") for action in ("create", "edit")
    )
    assert not (world.root / ".gateways").exists()


def test_the_two_buttons(world: World, there: Elsewhere) -> None:
    assert apply(world).code == 0
    assert inside(world, "disconnect", "a").out == "a: disconnected\n"
    assert changes(world) == [("a", "rebuild", "planned")]
    assert inside(world, "rebuild", "a").out == "a: succeeded\n"
    assert changes(world) == []
    world.server.change_accounts({USERS[0]: "another"})
    refused = inside(world, "rebuild", "a")
    assert refused.code == 9
    assert "a: failed (auth, field user_password)" in refused.out
    assert [action for _, action in there.actions()][2:] == ["disconnect", "rebuild", "rebuild"]


def test_a_saved_plan_is_held_to(world: World, there: Elsewhere) -> None:
    assert inside(world, "plan", "--out", "plan.json").code == 0
    assert inside(world, "apply", "plan.json").code == 0
    world.declare({"a": world.gateway(case_sensitivity=True), "b": world.gateway(2)})
    assert inside(world, "plan", "--out", "plan.json").code == 0
    assert inside(world, "rebuild", "a").code == 0
    assert inside(world, "apply", "plan.json").code == 5
    assert there.actions()[2:] == [("a", "rebuild")]


def test_what_is_not_declared_any_more_is_disconnected_if_that_is_meant(world: World) -> None:
    assert apply(world).code == 0
    world.declare({"a": world.gateway()})
    assert apply(world).code == 4
    assert apply(world, "--max-disconnects", "1").code == 0
    assert changes(world) == []
    status = inside(world, "status", "--format", "json").json("status")["gateways"]
    assert [one["status"] for one in status] == ["succeeded", "disconnected"]


def test_a_gateway_of_others_is_adopted(world: World) -> None:
    assert apply(world).code == 0
    world.settings["owner"] = "others"
    world.write_settings()
    assert apply(world).code == 4
    assert inside(world, "adopt", "a", "b", "--yes").code == 0
    assert changes(world) == []
    world.settings["owner"] = "acme"
    world.write_settings()
    assert apply(world).code == 4


def test_a_refused_login_names_the_field(world: World) -> None:
    world.server.change_accounts({USERS[0]: "another"})
    applied = apply(world, "--format", "json")
    assert applied.code == 9
    failed = next(one for one in applied.events() if one["type"] == "change_failed")
    assert (failed["kind"], failed["field"], failed["written"]) == ("auth", "user_password", True)


def test_without_waiting_the_service_goes_on_by_itself(world: World) -> None:
    """Where something keeps sessions, a gateway that is connecting is nothing to do."""
    assert apply(world, "--no-wait").code == 0
    assert changes(world) == []


def test_who_waits_too_short_a_time_is_told_what_goes_on(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        world.declare({"a": world.gateway(port=silent.getsockname()[1])})
        applied = apply(world, "--timeout", "0.1")
    assert applied.code == 9
    assert "the service goes on trying" in applied.out + applied.err


# what is in the way


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["apply", "--yes"],
        ["status"],
        ["drift"],
        ["dump"],
        ["rebuild", "a"],
        ["disconnect", "a"],
    ],
)
def test_a_service_that_cannot_be_reached(world: World, arguments: list[str]) -> None:
    world.settings["targets"]["production"]["url"] = "http://127.0.0.1:1"
    world.write_settings()
    refused = inside(world, *arguments)
    assert (refused.code, refused.out) == (3, "")
    assert "so it is not sent to http://127.0.0.1:1" in refused.err
    text = world.environ["GATEWAYS_TOKEN"]
    world.environ["GATEWAYS_TOKEN"] = text.rpartition(".")[0] + "."  # for this machine
    gone = inside(world, *arguments)
    assert (gone.code, gone.out) == (10, "")
    assert "http://127.0.0.1:1 cannot be reached: connection refused" in gone.err
    assert "hint: correct url of the target" in gone.err


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "gateways.yaml:3:3: target 'production': environment variable GATEWAYS_TOKEN is not"),
        ("hunter2-hunter2", "environment variable GATEWAYS_TOKEN holds no token"),
    ],
)
def test_a_missing_or_broken_token(world: World, token: str, message: str) -> None:
    world.environ["GATEWAYS_TOKEN"] = token
    refused = inside(world, "plan")
    assert refused.code == 3
    assert message in refused.err
    assert "hunter2" not in refused.err
    assert inside(world, "validate").code == 0


def test_a_token_of_another_tenant_or_role(world: World, there: Elsewhere) -> None:
    """P29: an empty list by mistake would propose to create everything."""
    world.environ["GATEWAYS_TOKEN"] = there.token(tenant="staging")
    refused = inside(world, "plan")
    assert refused.code == 10
    assert "the token is not of the tenant" in refused.err
    world.environ["GATEWAYS_TOKEN"] = there.token("read")
    assert inside(world, "plan").code == 0
    refused = apply(world)
    assert refused.code == 10
    assert "this needs a token of role apply" in refused.err
    assert there.actions() == []


def test_answers_that_are_lost_change_nothing(world: World, there: Elsewhere) -> None:
    """P9, P13, A3: and a redirect is not followed."""
    redirect = reply("307 Temporary Redirect", "Location: http://127.0.0.1:1/v1/gateways")
    numbers = itertools.count()
    faults = (DROP_REPLY, Fault(limit_data=50, reset=True), Fault(answer=redirect, before=True))

    def rule(_: Exchange) -> Fault:
        number = next(numbers)
        return faults[number // 2 % 3] if number % 2 else THROUGH

    there.proxy.rule = rule
    assert apply(world).code == 0
    assert inside(world, "disconnect", "a").code == 0
    assert apply(world).code == 0
    there.proxy.rule = lambda _: THROUGH
    assert changes(world) == []
    done = there.actions()
    assert sorted(done[:2]) == [("a", "create"), ("b", "create")]
    assert done[2:] == [("a", "disconnect"), ("a", "rebuild")]


def test_what_nobody_knows_is_said_to_be_unknown(world: World, there: Elsewhere) -> None:
    """P13."""
    stored = False

    def rule(one: Exchange) -> Fault:
        nonlocal stored
        stored = stored or one.path.endswith("/gateways/a")
        return DROP_REPLY if stored and "/gateways/a" in one.path else THROUGH

    world.declare({"a": world.gateway()})
    there.proxy.rule = rule
    quick = partial(Patience, first=0.002, longest=0.01)
    with mock.patch("reconciler.platforms.http.Patience", quick):
        applied = apply(world, "--format", "json")
    assert applied.code == 10
    failed = next(one for one in applied.events() if one["type"] == "change_failed")
    assert "whether it was carried out is not known" in failed["message"]
    there.proxy.rule = lambda _: THROUGH
    assert apply(world).code == 0
    assert there.actions() == [("a", "create")]


def test_a_service_that_is_gone_is_not_asked_for_every_gateway(
    world: World, there: Elsewhere
) -> None:
    """P13: each change is asked for patiently, so that a thousand of them would take hours."""
    world.declare({f"g{number}": world.gateway() for number in range(8)})
    gone = Fault(cut_request=0)
    there.proxy.rule = lambda one: gone if "/gateways/" in one.path else THROUGH
    quick = partial(Patience, first=0.002, longest=0.01)
    with mock.patch("reconciler.platforms.http.Patience", quick):
        applied = apply(world, "--format", "json", "--parallel", "1")
    assert applied.code == 10
    assert (applied.events()[-1]["failed"], applied.events()[-1]["skipped"]) == (3, 5)
    assert there.actions() == []
    there.proxy.rule = lambda _: THROUGH
    assert apply(world).code == 0
    assert changes(world) == []


def test_second_apply_meets_the_lock_and_says_who_holds_it(world: World, there: Elsewhere) -> None:
    """P7."""
    there.wait_for(_take(there))
    refused = apply(world)
    assert refused.code == 6
    assert "carol (run 77) holds the lock" in refused.err
    assert there.actions() == []


async def _take(there: Elsewhere) -> None:
    token = await there.service.token("apply")
    headers = {"Authorization": f"Bearer {token.text().reveal()}"}
    body = {"actor": {"name": "carol", "commit": None, "run": "77"}}
    async with there.service.http.post("/v1/lock", json=body, headers=headers) as answer:
        assert answer.status == 201


# killed


@pytest.mark.interop("strace")
@pytest.mark.timeout(600)
def test_killed_at_any_request_one_more_run_converges(
    world: World, there: Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3, P4, P5: before a request was sent, and before its answer was read."""
    monkeypatch.setattr("reconciler.service.http.locks.SECONDS", 1)
    kills, rounds = 0, 0
    for call in ("sendto", "recvfrom"):
        for nth in itertools.count(1, STEP):
            name = f"{call}-{nth}"
            world.declare({name: world.gateway(), "b": world.gateway(2, labels={"at": name})})
            inject = f"inject={call}:signal=KILL:when={nth}"
            command = ["strace", "-f", "-qq", "-o", str(tmp_path / "trace"), "-e", f"trace={call}"]
            killed = subprocess.run(
                [*command, "-e", inject, *world.command("apply", "--yes", "--max-disconnects=9")],
                cwd=world.root,
                env=world.environ,
                capture_output=True,
                timeout=60,
                check=False,
            )
            again = apply(world, "--lock-timeout", "10", "--max-disconnects", "9")
            assert again.code == 0, f"killed at {call} {nth}: {again.err}"
            assert changes(world) == [], inside(world, "status").out
            rounds += 1
            done = there.actions()
            assert done.count((name, "create")) == 1
            assert done.count(("b", "create")) + done.count(("b", "edit")) == rounds
            if killed.returncode == 0:
                break
            kills += 1
    assert kills >= 4, "apply asks at least for the list, the lock, each change and its status"
