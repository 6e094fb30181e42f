"""The pull request is the console: a team's gateways from the first pull request to the last.

Told once with a platform in the jobs' own database, and once with a service elsewhere.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.mailserver.process import ServerProcess
from tests.cli.world import CANARY, USERS, World
from tests.story.team import Team, git, team


@pytest.mark.parametrize("platform", ["embedded", "http"])
def test_from_the_first_pull_request_to_the_last(
    mail_server: ServerProcess, tmp_path: Path, platform: str
) -> None:
    """Faults A1, A20, A24, A26, A37: each chapter begins where the one before it has ended."""
    with team(tmp_path, mail_server, platform) as cast:
        the_first_gateways_are_reviewed_merged_and_applied(cast)
        a_pull_request_is_pushed_to_twice_and_has_one_comment(cast)
        merge = what_it_asked_for_is_merged(cast)
        if platform == "embedded":  # neither has to do with where gateways live
            a_pull_request_that_changes_nothing_says_so(cast)
            a_password_is_rotated_and_nobody_sees_it(cast)
        somebody_works_past_git_and_is_told_of(cast)
        if platform == "http":
            what_a_script_wrote_stands_apart_in_a_pull_request(cast)
        the_merge_is_reverted_and_everything_is_as_before(cast, merge)


def test_what_others_made_becomes_ours_and_moves(
    mail_server: ServerProcess, tmp_path: Path
) -> None:
    with team(tmp_path, mail_server, "embedded") as cast:
        a_gateway_of_another_team_is_taken_over(cast)
        what_is_there_is_written_down_in_a_new_repository(cast)


def declared(world: World, **support: Any) -> dict[str, Any]:
    return {
        "support-in": world.gateway(1, **support),
        "support-out": world.gateway(1, protocol_type="SMTP"),
    }


def changes(plan: Any) -> list[tuple[str, str, str]]:
    return [(one["gateway"], one["action"], one["status"]) for one in plan["changes"]]


def the_first_gateways_are_reviewed_merged_and_applied(cast: Team) -> None:
    cast.world.declare(declared(cast.world))
    cast.push("first", "The gateways of support")
    planned = cast.pull_request("first").json("plan")
    assert changes(planned) == [
        ("support-in", "create", "planned"),
        ("support-out", "create", "planned"),
    ]
    (comment,) = cast.forge.comments()
    assert "## Email gateways: production: 2 changes" in comment
    assert cast.statuses() == {}, "nothing that a pull request's job does is done to the platform"
    cast.forge.merge("first")
    applied = cast.apply()
    assert applied.code == 0, applied.out + applied.err
    assert applied.events()[-1]["done"] == 2
    assert cast.statuses() == {"support-in": "succeeded", "support-out": "succeeded"}


def a_pull_request_is_pushed_to_twice_and_has_one_comment(cast: Team) -> None:
    cast.pull()
    cast.world.declare(declared(cast.world, encoding_mode="GBK"))
    cast.push("more", "Support writes GBK")
    cast.pull_request("more")
    (first,) = cast.forge.comments()
    assert "## Email gateways: production: 1 change\n" in first
    sales = cast.world.gateway(2, protocol_type="POP3")
    cast.world.declare({**declared(cast.world, encoding_mode="GBK"), "sales-in": sales})
    cast.push("more", "And sales")
    planned = cast.pull_request("more").json("plan")
    assert changes(planned) == [
        ("sales-in", "create", "planned"),
        ("support-in", "edit", "planned"),
    ]
    (second,) = cast.forge.comments()
    assert "## Email gateways: production: 2 changes\n" in second
    assert "| encoding&#95;mode | UTF&#45;8 | GBK |" in second


def what_it_asked_for_is_merged(cast: Team) -> str:
    merge = cast.forge.merge("more")
    applied = cast.apply()
    assert applied.code == 0, applied.out + applied.err
    assert set(cast.statuses().values()) == {"succeeded"}
    assert set(cast.statuses()) == {"sales-in", "support-in", "support-out"}
    cast.expect_nothing_to_do()
    return merge


def a_pull_request_that_changes_nothing_says_so(cast: Team) -> None:
    """Where a push took back what it changed before, the comment is not left as it was."""
    cast.pull()
    cast.world.declare({"support-in": cast.world.gateway(1)})
    cast.push("words", "All but one")
    assert cast.pull_request("words").code == 4
    cast.pull()
    (cast.world.root / "README.md").write_text("Our gateways\n")
    cast.push("words", "Words alone")
    cast.pull_request("words")
    (comment,) = cast.forge.comments()
    assert "## Email gateways: production: no changes\n" in comment
    assert "3 gateways as declared" in comment


def a_password_is_rotated_and_nobody_sees_it(cast: Team) -> None:
    """Shown as rotated by a job that has no key, and by one that has."""
    cast.pull()
    cast.rotate("two", 2, CANARY + "-3")
    cast.push("rotate", "A new password for sales")
    planned = cast.pull_request("rotate").json("plan")
    assert changes(planned) == [("sales-in", "edit", "planned")]
    assert planned["changes"][0]["fields"] == [{"field": "user_password", "secret": "rotated"}]
    (comment,) = cast.forge.comments()
    assert "| edit and reconnect |" in comment
    assert "| rotated |" in comment
    assert CANARY not in comment
    with cast.job("rotate", key=True) as job:
        with_key = job.run("plan", "--format", "json").json("plan")
    assert with_key["changes"][0]["fields"] == planned["changes"][0]["fields"]
    assert with_key["digests"]["desired"] == planned["digests"]["desired"]
    cast.forge.merge("rotate")
    assert cast.apply().code == 0
    assert cast.statuses()["sales-in"] == "succeeded"


def somebody_works_past_git_and_is_told_of(cast: Team) -> None:
    """One presses a button, the other applies what he never committed."""
    with cast.job("main", key=True, role="apply") as job:
        pressed = job.run("disconnect", "support-out", GATEWAYS_ACTOR="mallory")
        assert pressed.code == 0, pressed.err
        gateways = yaml.safe_load((job.root / "gateways.d/mail.yaml").read_text())["gateways"]
        gateways["support-in"]["default_user_name"] = "Bob was here"
        del gateways["support-out"]
        job.declare(gateways)
        edited = job.run("apply", "--yes", "--only", "support-in", GATEWAYS_ACTOR="bob")
        assert edited.code == 0, edited.out + edited.err
    code, found = cast.drift()
    assert code == 2
    told = {one["gateway"]: one for one in found["drift"]}
    assert set(told) == {"support-in", "support-out"}
    assert (told["support-in"]["kind"], told["support-in"]["by"]["actor"]) == ("changed", "bob")
    assert told["support-in"]["by"]["in_history"] is False
    assert (told["support-out"]["kind"], told["support-out"]["by"]["actor"]) == (
        "disconnected",
        "mallory",
    )
    with cast.job("main") as job:
        plan = job.run("plan", "--format", "json").json("plan")
    assert changes(plan) == [
        ("support-in", "edit", "planned"),
        ("support-out", "rebuild", "planned"),
    ]
    assert "by hand by mallory" in plan["changes"][1]["reason"]
    assert cast.apply().code == 0
    cast.expect_nothing_to_do()


def what_a_script_wrote_stands_apart_in_a_pull_request(cast: Team) -> None:
    """Nobody takes it for a change that the pull request asks for."""
    assert cast.service
    script = cast.service.token("apply")
    path = "/v1/gateways/sales-in"
    there = cast.service.ask("GET", path, token=script)
    found = there.json()
    body = {
        "gateway": found["gateway"] | {"when_failed": "ignore"},
        "certificates": found["certificates"],
        "password": {"known": False, "value": None, "fingerprint": None, "ciphertext": None},
        "owner": found["owner"],
        "actor": {"name": "a script", "commit": "", "run": ""},
        "reconnect": False,
    }
    written = cast.service.ask(
        "PUT", path, body, token=script, If_Match=there.headers["ETag"], Idempotency_Key="script"
    )
    assert written.status == 200, written.body
    cast.pull()
    (cast.world.root / "README.md").write_text("Our gateways\n")
    cast.push("words", "Words alone")
    planned = cast.pull_request("words").json("plan")
    changed = {"field": "when_failed", "before": "rebuild", "after": "ignore"}
    (drift,) = planned["drift"]
    assert (drift["gateway"], drift["fields"]) == ("sales-in", [changed])
    assert changes(planned) == [("sales-in", "edit", "planned")], "an apply takes it back"
    (comment,) = cast.forge.comments()
    assert "Drift: changed on the platform, not by this" in comment
    assert "| sales&#45;in | when&#95;failed | rebuild | ignore |" in comment
    assert cast.drift()[0] == 2
    assert cast.apply().code == 0
    cast.expect_nothing_to_do()


def the_merge_is_reverted_and_everything_is_as_before(cast: Team, merge: str) -> None:
    cast.pull()
    root = cast.world.root
    git(root, "checkout", "--quiet", "-b", "back")
    git(root, "revert", "--no-edit", "--mainline", "1", merge)
    git(root, "push", "--quiet", "origin", "back")
    planned = cast.pull_request("back")
    assert planned.code == 4, "a removal must be meant"
    assert changes(planned.json("plan")) == [
        ("sales-in", "disconnect", "blocked"),
        ("support-in", "edit", "planned"),
    ]
    (comment,) = cast.forge.comments()
    assert "1 change, 1 blocked" in comment
    assert "sales&#45;in is **blocked**" in comment
    cast.pull_request("back", "--max-disconnects", "1")
    (comment,) = cast.forge.comments()
    assert "sales&#45;in is **disconnected**" in comment
    cast.forge.merge("back")
    applied = cast.apply("--max-disconnects", "1")
    assert applied.code == 0, applied.out + applied.err
    assert cast.statuses() == {
        "sales-in": "disconnected",
        "support-in": "succeeded",
        "support-out": "succeeded",
    }
    cast.expect_nothing_to_do()


def a_gateway_of_another_team_is_taken_over(cast: Team) -> None:
    """Only by who says so: to declare it is not enough."""
    with cast.job("main", key=True, role="apply") as job:
        job.settings = {**job.settings, "owner": "others"}
        job.write_settings()
        job.declare({"theirs": job.gateway(1, default_user_name="Theirs")})
        assert job.apply().code == 0
    cast.pull()
    cast.world.declare({**declared(cast.world), "theirs": cast.world.gateway(1)})
    cast.push("takeover", "Theirs is ours")
    planned = cast.pull_request("takeover")
    assert planned.code == 4
    assert ("theirs", "adopt", "blocked") in changes(planned.json("plan"))
    cast.forge.merge("takeover")
    with cast.job("main", key=True, role="apply") as job:
        reviewed = job.run("adopt", "theirs", "--out", "plan.json")
        assert reviewed.code == 0, reviewed.out + reviewed.err
        assert "1 to adopt" in reviewed.out
        adopted = job.run("apply", "plan.json")
        assert adopted.code == 0, adopted.out + adopted.err
    assert cast.apply().events()[-1]["done"] == 2, "what was ours before"
    cast.expect_nothing_to_do()


def what_is_there_is_written_down_in_a_new_repository(cast: Team) -> None:
    """With the passwords put in by hand, there is nothing to plan."""
    with cast.job("main", key=True) as job:
        (job.root / "gateways.d/mail.yaml").unlink()
        (job.root / "gateways.d/certs/root.pem").unlink()
        dumped = job.run("dump", "--out", "gateways.d")
        assert dumped.code == 0, dumped.err
        written = [
            yaml.safe_load(file.read_text())["gateways"]
            for file in (job.root / "gateways.d").glob("*.yaml")
        ]
        gateways = {name: fields for some in written for name, fields in some.items()}
        assert set(gateways) == {"support-in", "support-out", "theirs"}
        job.passwords = {
            fields["user_password"]["secret"]: CANARY
            for fields in gateways.values()
            if fields["user_id"] == USERS[0]
        }
        job.write_secrets()
        assert job.run("validate").code == 0
        planned = job.run("plan", "--detailed-exitcode")
        assert planned.code == 0, planned.out
        assert "nothing to do" in planned.out
