"""The commands on a real project: what each says, and what it ends with."""

import json

import pytest

from tests.cli.world import CANARY, USERS, World


def test_from_declaration_to_connection_and_back(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2, protocol_type="SMTP")})
    assert world.run("validate").code == 0
    planned = world.run("plan", "--detailed-exitcode")
    assert planned.code == 2
    absent = "note: the database .gateways/platform.db is not there yet, so everything is to be"
    assert planned.err == f"{absent} created\n"
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
    once_more = world.run("plan", "--detailed-exitcode")
    assert (once_more.code, once_more.err) == (0, "")
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
    assert "; --max-disconnects 1 if it is meant\n" in blocked.out
    assert world.apply().code == 4
    assert world.changes() == [("b", "disconnect", "blocked")]
    assert world.apply("--max-disconnects", "1").code == 0
    assert world.changes() == []
    _expect_only_counted(world, "b")
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    plan = world.run("plan", "--format", "json").json("plan")["changes"]
    assert [one["action"] for one in plan] == ["edit"]
    assert {"field": "user_password", "secret": "set"} in plan[0]["fields"]


def _expect_only_counted(world: World, name: str) -> None:
    """A gateway that is done with: in the last line of status, and whole where it is asked for."""
    status = world.run("status").out
    last = "1 is no longer declared, and disconnected; --all lists it\n"
    assert status.endswith(f"Z\n{last}")
    assert f"\n{name} " not in status
    for arguments in (("--all",), (name,), ("--only", f"{name}*")):
        shown = world.run("status", *arguments).out
        assert f"\n{name} " in shown
        assert last not in shown
    data = world.run("status", "--format", "json").json("status")["gateways"]
    assert name in {one["name"] for one in data}


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
        (("-t", "nowhere", "plan"), "targets: local"),
        (("plan", "--only", "nothing*"), "gateways status"),
        (("plan", "-l", "nolabel"), "for example"),
        (("show", "missing.json"), ""),
        (("schema", "nothing"), "there are: "),
        (("status", "nobody"), ""),
        (("plan", "--format", "github"), ""),
        (("nonsense",), "No such command 'nonsense'.\n"),
        (("plann",), "No such command 'plann'. Did you mean 'plan'?"),
        (("apply",), "--yes"),
        (("plan", "--out", "nowhere/plan.json"), ""),
        (("plan", "a", "b*"), "for them alone: --only a --only 'b*'\n"),
        (("apply", "a"), "for one gateway alone: --only a\n"),
        (("apply", "plan.json", "a"), "for them alone: --only a\n"),
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
    assert "..." not in root.out.partition("Commands:")[2], "no sentence is cut off"
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


def test_why_a_gateway_cannot_be_adopted(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert world.apply().code == 0
    world.settings["owner"] = "new-team"
    world.write_settings()
    world.declare({"a": world.gateway(), "new": world.gateway(2)})
    assert world.run("adopt", "a", "--yes").code == 0
    for name, why in (
        ("b", "it is not declared\n  hint: declare it first: gateways dump b --all"),
        ("new", "it is ours already, or no gateway on the platform has exactly this name"),
        ("a", "it is ours already, or no gateway"),
    ):
        refused = world.run("adopt", name, "--yes")
        assert refused.code == 64
        assert f"gateway {name!r} cannot be adopted: {why}" in refused.err


def test_blocked_changes_are_told_of_as_skipped(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert world.apply().code == 0
    world.declare({"a": world.gateway()})
    applied = world.apply("--format", "json")
    assert applied.code == 4
    skipped = next(one for one in applied.events() if one["type"] == "change_failed")
    assert (skipped["gateway"], skipped["result"]) == ("b", "skipped")
    assert "max_disconnects is 0" in skipped["message"]
    assert applied.events()[-1]["skipped"] == 1


def test_adopt_takes_exact_names_and_nothing_else(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    assert world.apply().code == 0
    world.declare({"a": world.gateway(encoding_mode="GBK"), "b": world.gateway(2)})
    for names in (("a",), ("a*",), ("b", "typo")):
        refused = world.run("adopt", *names, "--yes")
        assert refused.code == 64
        assert "cannot be adopted" in refused.err or "no gateway matches" in refused.err
    assert world.changes() == [("a", "edit", "planned")]


def test_warnings_stand_beside_their_change(world: World) -> None:
    world.declare({"a.b": world.gateway(case_sensitivity=True), "a": world.gateway(2)})
    plan = world.run("plan", "--format", "json").json("plan")
    warned = {one["gateway"]: [w["rule"] for w in one["warnings"]] for one in plan["changes"]}
    assert "case-sensitive-senders" in warned["a.b"]
    assert "case-sensitive-senders" not in warned["a"]


def test_leaving_the_selection_is_blocked_even_if_nothing_else_is_selected(world: World) -> None:
    world.settings["targets"]["local"]["select"] = {"env": "live"}
    world.write_settings()
    world.declare({"a": world.gateway(labels={"env": "live"})})
    assert world.apply().code == 0
    world.declare({"a": world.gateway(labels={"env": "test"})})
    blocked = world.run("plan", "-l", "env=live")
    assert blocked.code == 4
    assert "leaves the selection" in blocked.out


def test_a_folder_stands_for_its_files_and_a_broken_settings_file_is_reported_too(
    world: World,
) -> None:
    world.declare({"a": world.gateway()})
    (world.root / "gateways.d/broken.yaml").write_text("x: [")
    for argument in ("gateways.d", ".", "gateways.d/broken.yaml"):
        assert world.run("validate", argument).code == 3
    assert world.run("validate", "gateways.d/mail.yaml").code == 0
    assert world.run("validate", "/etc/passwd").code == 64
    (world.root / "gateways.yaml").write_text("targets: {local: {platform: nothing}}\n")
    broken = world.run("validate", "--format", "json")
    assert broken.code == 3
    assert broken.json("problems")["problems"][0]["file"] == "gateways.yaml"
    assert world.run("validate", "--format", "github").out.startswith("::error file=gateways.yaml")


def test_validate_is_narrowed_by_name_and_label(world: World) -> None:
    world.declare(
        {
            "a": world.gateway(case_sensitivity=True, labels={"env": "live"}),
            "b": world.gateway(2, case_sensitivity=True),
        }
    )
    for arguments in (("--only", "a"), ("-l", "env=live")):
        data = world.run("validate", "--format", "json", *arguments).json("problems")
        told = {one["path"] for one in data["problems"] if one["path"].startswith("gateways.")}
        assert told == {"gateways.a.case_sensitivity"}
        assert data["summary"]["gateways"] == 1


def test_format_before_the_command_must_be_one_that_it_prints(world: World) -> None:
    world.declare({"a": world.gateway()})
    assert world.run("--format", "github", "plan").code == 64
    assert world.run("--format", "markdown", "validate").code == 64
    assert world.run("--format", "github", "validate").code == 0


def test_what_goes_to_standard_error_is_json_where_asked(world: World) -> None:
    for arguments in (("nonsense",), ("-t", "nowhere", "plan"), ("plan", "--bad")):
        ran = world.run("--log-format", "json", *arguments)
        assert ran.code == 64
        assert all("message" in json.loads(line) for line in ran.err.splitlines())


def test_verbose_tells_the_stages(world: World) -> None:
    world.declare({"a": world.gateway()})
    told = world.run("plan", "-v").err
    assert "target local" in told
    assert "1 gateways, all valid" in told
    assert "all valid" not in world.run("plan").err


def test_check_copies_a_refusal_to_all_that_share_the_credential(world: World) -> None:
    world.declare({"a": world.gateway(), "b": world.gateway(protocol_type="SMTP")})
    world.server.change_accounts({USERS[0]: "another"})
    before = world.server.counters()["logins_refused"]
    ran = world.run("check", "--format", "json")
    assert ran.code == 9
    both = ran.json("check")["gateways"]
    assert [(one["ok"], one["field"]) for one in both] == [(False, "user_password")] * 2
    tried, copied = (one["message"] for one in both)
    assert tried.startswith("localhost:")
    assert copied == f"as a, which logs in with the same credential: {tried}"
    assert both[1]["rungs"][-1]["detail"] == copied
    assert world.server.counters()["logins_refused"] == before + 1
    assert world.run("check", "--only", "nothing").code == 64


def test_quiet_leaves_the_results(world: World) -> None:
    """The result of plan is the plan; of apply it is what became of each change."""
    world.declare({"a": world.gateway()})
    assert "Plan for target" in world.run("plan", "-q").out
    code, shown = world.on_terminal("apply", "-q", answer="n\n")
    assert code == 0
    assert "+ create a" in shown, "nobody agrees to what is not shown"
    did, again = world.run("apply", "-q", "--yes"), world.run("-q", "apply", "--yes")
    for ran in (did, again):
        assert (ran.code, ran.err) == (0, "")
        assert "Plan for target" not in ran.out
    assert "create a: done" in did.out
    assert again.out == "0 done, 0 failed, 0 skipped\n"


@pytest.mark.parametrize("answer", ["n\n", "y\n", None])
def test_apply_asks_and_ctrl_c_is_heard_at_the_question(world: World, answer: str | None) -> None:
    world.declare({"a": world.gateway()})
    code, shown = world.on_terminal("apply", answer=answer)
    assert "Apply this plan?" in shown
    assert code == (130 if answer is None else 0)
    assert (world.root / ".gateways").exists() is (answer == "y\n")
