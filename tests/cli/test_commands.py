"""The commands on a real project: what each says, and what it ends with."""

import json

import pytest

from tests.cli.world import CANARY, USERS, World


def test_from_declaration_to_connection_and_back(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    assert world.run("validate").code == 0
    assert world.run("plan", "--detailed-exitcode").code == 2
    assert not (world.root / ".gateways").exists(), "a plan makes nothing"
    applied = world.apply("--format", "json")
    assert applied.code == 0
    assert [event["type"] for event in applied.events()][:2] == ["version", "lock"]
    summary = applied.events()[-1]
    assert (summary["done"], summary["failed"], summary["skipped"]) == (2, 0, 0)
    status = world.run("status", "--format", "json").json("status")["gateways"]
    assert [(one["name"], one["status"], one["managed"]) for one in status] == [
        ("a", "succeeded", True),
        ("b", "succeeded", True),
    ]
    assert world.run("plan", "--detailed-exitcode").code == 0
    again = world.apply()
    assert again.code == 0
    assert "0 done" in again.out


def test_rotated_password_is_seen_and_sent_and_never_shown(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.passwords["one"] = CANARY + "-new"
    world.write_secrets()
    world.server.change_accounts({USERS[0]: CANARY + "-new"})
    plan = world.run("plan", "--format", "json").json("plan")
    change = plan["changes"][0]
    assert change["fields"] == [{"field": "user_password", "secret": "rotated"}]
    assert change["reconnects"] is True
    assert world.apply().code == 0
    assert world.changes() == []


def test_removed_block_is_blocked_until_a_removal_is_meant(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert world.apply().code == 0
    world.declare({"a": world.gateway()})
    blocked = world.run("plan")
    assert blocked.code == 4
    assert "BLOCKED: max_disconnects is 0" in blocked.out
    assert world.apply().code == 4
    assert world.changes() == [("b", "disconnect", "blocked")]
    assert world.apply("--max-disconnects", "1").code == 0
    assert world.changes() == []
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    plan = world.run("plan", "--format", "json").json("plan")["changes"]
    assert [one["action"] for one in plan] == ["edit"]
    assert {"field": "user_password", "secret": "set"} in plan[0]["fields"]


def test_protection_outlives_its_block(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2, protect=True)})
    assert world.apply().code == 0
    world.declare({"a": world.gateway()})
    refused = world.apply("--max-disconnects", "5")
    assert refused.code == 4
    assert "protected" in refused.out
    assert world.run("disconnect", "b").code == 4
    assert world.run("disconnect", "b", "--force").code == 0


def test_zero_declarations_block_the_whole_plan(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.declare({})
    plan = world.run("plan")
    assert plan.code == 4
    assert "no declarations at all" in plan.out
    assert world.apply("--max-disconnects", "9").code == 4
    status = world.run("status", "--format", "json").json("status")["gateways"]
    assert status[0]["status"] == "succeeded"


def test_the_two_buttons(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    assert world.run("disconnect", "a").code == 0
    plan = world.run("plan", "--format", "json").json("plan")["changes"]
    assert [(one["action"], one["status"]) for one in plan] == [("rebuild", "planned")]
    assert "by hand by tester" in plan[0]["reason"]
    assert world.run("rebuild", "a").out == "a: succeeded\n"
    assert world.changes() == []
    unknown = world.run("rebuild", "aa")
    assert unknown.code == 64
    assert "did you mean a?" in unknown.err


def test_refused_login_names_the_field_and_ends_with_9(world: World) -> None:
    world.declare({"a": world.gateway()})
    world.server.change_accounts({USERS[0]: "another"})
    applied = world.apply("--format", "json")
    assert applied.code == 9
    failed = next(one for one in applied.events() if one["type"] == "change_failed")
    assert (failed["kind"], failed["field"], failed["written"]) == ("auth", "user_password", True)
    status = world.run("status", "--format", "json").json("status")["gateways"][0]
    assert (status["status"], status["kind"], status["field"]) == (
        "failed",
        "auth",
        "user_password",
    )
    assert world.changes() == [("a", "rebuild", "planned")]


def test_check_climbs_the_ladder_and_stores_nothing(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(protocol_type="SMTP")})
    before = world.server.counters()["logins_ok"]
    checked = world.run("check", "--format", "json")
    assert checked.code == 0
    first, second = checked.json("check")["gateways"]
    assert [rung["name"] for rung in first["rungs"]] == [
        "dns",
        "tcp",
        "tls",
        "expiry",
        "capabilities",
        "login",
    ]
    assert first["rungs"][-1]["result"] == "ok"
    assert second["rungs"][-1]["result"] == "skipped", "one login for one credential"
    assert world.server.counters()["logins_ok"] == before + 1
    assert not (world.root / ".gateways").exists()
    world.declare({"a": world.gateway(port=1)})
    refused = world.run("check", "a")
    assert refused.code == 9
    assert "field port" in refused.out


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("-t", "nowhere", "plan"), "its targets: local"),
        (("plan", "--only", "nothing*"), "gateways status"),
        (("plan", "-l", "nolabel"), "for example"),
        (("show", "missing.json"), ""),
        (("schema", "nothing"), "there are: "),
        (("status", "nobody"), ""),
        (("plan", "--format", "github"), ""),
        (("nonsense",), ""),
        (("apply",), "--yes"),
        (("plan", "--out", "nowhere/plan.json"), ""),
    ],
)
def test_wrong_usage_ends_with_64(world: World, arguments: tuple[str, ...], hint: str) -> None:
    world.declare({"a": world.gateway()})
    ran = world.run(*arguments)
    assert ran.code == 64
    assert hint in ran.err
    assert ran.out == ""


def test_every_help_teaches_and_the_exit_codes_are_in_it(world: World) -> None:
    root = world.run("--help")
    assert root.code == 0
    for code in ("0 ", "9 ", "64 ", "130 "):
        assert f"\n    {code}" in root.out
    for command in ("validate", "check", "plan", "show", "apply", "status", "schema", "init"):
        ran = world.run(command, "--help")
        assert ran.code == 0
        assert "--format" in ran.out or command == "init"


def test_global_options_stand_before_or_after_the_command(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    before = world.run("--only", "a", "--format", "json", "plan")
    after = world.run("plan", "--only", "a", "--format", "json")
    assert before.json("plan")["changes"] == after.json("plan")["changes"]
    assert len(after.json("plan")["changes"]) == 1


def test_without_a_key_passwords_are_not_compared_and_nothing_is_applied(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    keyed = world.run("plan", "--format", "json").json("plan")
    del world.environ["SOPS_AGE_KEY"]
    keyless = world.run("plan", "--format", "json")
    assert keyless.code == 0
    assert "not compared" in keyless.err
    assert keyless.json("plan")["digests"]["desired"] == keyed["digests"]["desired"]
    world.declare({"a": world.gateway(case_sensitivity=True)})
    assert world.apply().code == 8


def test_two_runs_and_any_hash_seed_print_the_same_bytes(world: World) -> None:
    gateways = {f"g{number}": world.gateway(labels={"b": "1", "a": "2"}) for number in range(9)}
    world.declare(gateways)
    epoch = {"SOURCE_DATE_EPOCH": "1764000000"}
    seeds = ("0", "1", "2", "random")
    plans = {
        world.run("plan", "--format", "json", PYTHONHASHSEED=seed, **epoch).out for seed in seeds
    }
    assert len(plans) == 1
    texts = {world.run("validate", PYTHONHASHSEED=seed).out for seed in seeds}
    assert len(texts) == 1


def test_no_colours_but_on_a_terminal_and_no_line_is_a_workflow_command(world: World) -> None:
    hostile = "::error::x \x1b[31m"
    world.declare({"a": world.gateway(protocol_type="SMTP", default_user_name="::error::x")})
    for arguments in (("plan",), ("validate",), ("status",)):
        out = world.run(*arguments).out
        assert "\x1b" not in out
        assert not any(line.lstrip().startswith("::") for line in out.splitlines())
    world.declare({"a": world.gateway(default_user_name=hostile)})
    refused = world.run("validate")
    assert refused.code == 3
    assert "\x1b" not in refused.out + refused.err


def test_events_tell_of_what_is_skipped(world: World) -> None:
    world.declare({"a": world.gateway()})
    nothing = world.apply("--only", "a", "--no-wait", "--format", "json")
    assert nothing.code == 0
    assert json.loads(nothing.out.splitlines()[-1])["done"] == 1
    assert world.changes() == [("a", "rebuild", "planned")]


def test_gateway_of_another_owner_is_blocked_until_it_is_adopted(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.apply().code == 0
    world.settings["owner"] = "new-team"
    world.write_settings()
    blocked = world.run("plan")
    assert blocked.code == 4
    assert "gateways adopt a" in blocked.out
    assert world.apply().code == 4
    assert world.run("adopt", "a").code == 64, "nobody can be asked"
    assert world.run("adopt", "a", "--yes").code == 0
    assert world.changes() == []
    assert world.run("adopt", "nobody", "--yes").code == 64
