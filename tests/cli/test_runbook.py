"""Applying to a console that has no API: walking, printing, ticking, and what is left behind.

Terminals are real ones; the record is the file that a project would commit.
"""

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from demo.mailserver.process import ServerProcess
from reconciler import schemas
from tests.cli.canaries import Scanner
from tests.cli.dialogue import Dialogue
from tests.cli.world import CANARY, World

SUCCEEDED = "Connection succeeded"
STATUS = "not looked at: "


class Console(World):
    """A project with one target, `aicc`, whose record is aicc.json."""

    @property
    def record(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.root / "aicc.json").read_text())
        Draft202012Validator(schemas.load("record")).validate(data)
        return data

    @property
    def ticked(self) -> list[tuple[str, int, int]]:
        return [(one["gateway"], one["step"], one["steps"]) for one in self.record["ticks"]]


@pytest.fixture
def world(mail_server: ServerProcess, tmp_path: Path) -> Console:
    made = Console(tmp_path / "project", mail_server)
    made.settings["targets"] = {"aicc": {"platform": "runbook", "record": "aicc.json"}}
    made.write_settings()
    made.declare({"in1": made.gateway()})
    return made


def walk(world: Console, *keys: str, arguments: tuple[str, ...] = ("apply",)) -> Dialogue:
    """Press each key as it is asked for."""
    with Dialogue(world, arguments) as on:
        for key in keys:
            on.press(key, STATUS if key in "con" else "[q]uit: ")
        on.end()
    return on


# walking


def test_walking_through_ticks_each_step_and_ends_as_declared(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        first = on.press("d")
        assert "create in1" in first, "the plan comes first"
        assert "Step 1 of 4: Import the certificate" in first
        assert "show the [p]assword" not in first
        second = on.press("d")
        assert "Configuration Center > Access Configuration > Gateway Configuration" in second
        assert "press New, tab Basic Information" in second
        third = on.press("d")
        assert re.search("User ID +one@example.test", third)
        assert "type the password of secret one" in third
        assert "then Save" in third
        assert "Gateway Monitoring" in on.press("d")
        assert SUCCEEDED in on.press("c", STATUS)
        assert on.end() == 0
    assert "git add aicc.json && git commit" in on.shown
    assert world.ticked == [("in1", number, 4) for number in range(1, 5)]
    gateway = world.record["gateways"]["in1"]
    assert (gateway["status"]["state"], gateway["owner"]) == ("succeeded", "acme")
    assert gateway["has_password"] is True
    before = (world.root / "aicc.json").read_bytes()
    assert world.changes() == []
    again = world.run("apply")
    assert (again.code, again.out) == (0, "0 done, 0 failed, 0 skipped\n")
    assert (world.root / "aicc.json").read_bytes() == before


def test_a_password_is_shown_when_asked_for_and_wiped(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        on.press("d")
        on.press("d")
        on.press("p")
        on.until("The password of secret one:")
        on.until("Press any key to wipe it.")
        assert CANARY in on.shown
        on.press("x", "")
        on.until("shown and wiped")
        on.press("q")
        assert on.end() == 0
    assert on.shown.count(CANARY) == 1
    assert CANARY not in on.screen()
    assert "\x1b[2J\x1b[H\x1b[?1049l" in on.shown
    assert "***" in on.screen()


def test_no_password_where_nothing_can_be_wiped(world: Console) -> None:
    with Dialogue(world, ("apply",), {"TERM": "dumb"}) as on:
        for key in "ddpq":
            on.press(key)
        assert on.end() == 0
    assert "cannot wipe" in on.shown
    assert CANARY not in on.shown


def test_what_was_left_is_gone_on_with(world: Console) -> None:
    on = walk(world, "d", "d", "q")
    assert on.code == 0
    assert "to go on, at the first step that is not ticked: gateways apply -t aicc" in on.shown
    assert world.ticked == [("in1", 1, 4), ("in1", 2, 4)]
    assert world.record["gateways"] == {}
    assert world.changes() == [("in1", "create", "planned")]
    with Dialogue(world, ("apply",)) as on:
        told = on.press("d")
        assert "step 2 of 4 is ticked, by tester" in told
        assert "Step 3 of 4" in told
        assert "Step 1 of 4" not in told
        on.press("d")
        on.press("n", STATUS)
        assert on.end() == 0
    assert "nobody has looked yet" in on.shown
    assert world.ticked == [("in1", number, 4) for number in range(1, 5)]
    assert world.changes() == [], "that nobody has looked is no difference"
    assert "nobody has looked yet" in world.run("status").out


def test_what_another_gateway_brought_leaves_ticks_as_they_are(world: Console) -> None:
    """A certificate that is imported by now is one step less of a change that is half done."""
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    walk(world, *"ddddn", *"ddq")
    with Dialogue(world, ("apply",)) as on:
        told = on.press("q")
        on.end()
    assert "Create the gateway" in told.partition("is ticked, by tester")[2]
    assert "Step 2 of 3: Fill in its address" in told


def test_what_is_taken_back_from_the_record_begins_anew(world: Console) -> None:
    assert world.run("apply", "--done", "in1").code == 0
    record = world.record
    record["gateways"] = {}
    (world.root / "aicc.json").write_text(json.dumps(record))
    with Dialogue(world, ("apply",)) as on:
        assert "Step 1 of 4" in on.press("q")
        on.end()


def test_two_branches_that_ticked_are_brought_together(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    world.git("init", "--quiet", "--initial-branch=main")
    (world.root / ".gitignore").write_text(".gateways/\n")
    world.git("add", "--all")
    world.git("commit", "--quiet", "--message=declared")
    for branch, name in (("other", "in1"), ("mine", "in2")):
        world.git("checkout", "--quiet", "-b", branch, "main")
        world.run("apply", "--done", name)
        world.git("add", "aicc.json")
        world.git("commit", "--quiet", "--message=ticked")
    with pytest.raises(subprocess.CalledProcessError):
        world.git("merge", "other")
    refused = world.run("plan")
    assert refused.code == 3
    command = refused.err.partition("(git ")[2].partition(")")[0]
    assert command == "checkout --ours -- aicc.json"
    world.git(*command.split())
    assert world.changes() == [("in1", "create", "planned")]
    assert world.run("apply", "--done", "in1").code == 0
    assert world.changes() == []


def test_a_removal_does_not_claim_that_the_console_forgets(world: Console) -> None:
    world.run("apply", "--done", "in1")
    world.declare({"in2": world.gateway(2)})
    planned = world.run("plan", "--max-disconnects", "1")
    assert "no longer declared" in planned.out
    assert "erased" not in planned.out


def test_ticks_of_another_change_do_not_count(world: Console) -> None:
    walk(world, "d", "d", "q")
    world.declare({"in1": world.gateway(host="elsewhere.example.com")})
    with Dialogue(world, ("apply",)) as on:
        assert "Step 1 of 4" in on.press("q")
        on.end()


def test_a_rotated_password_makes_another_change(world: Console) -> None:
    walk(world, "d", "d", "d", "q")
    world.passwords["one"] = CANARY + "-3"
    world.write_secrets()
    with Dialogue(world, ("apply",)) as on:
        assert "Step 1 of 4" in on.press("q")
        on.end()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_by_a_signal(world: Console, by: int) -> None:
    with Dialogue(world, ("apply",)) as on:
        on.press("d")
        on.until("[q]uit: ")
        on.kill(by)
        assert on.end() == 130
    assert world.ticked == [("in1", 1, 4)]
    if by != signal.SIGHUP:
        assert "to go on" in on.shown


def test_ctrl_c_keeps_what_is_ticked(world: Console) -> None:
    on = walk(world, "d", "\x03")
    assert on.code == 130
    assert "to go on, at the first step that is not ticked: gateways apply -t aicc" in on.shown
    assert world.ticked == [("in1", 1, 4)]


def test_ctrl_c_while_a_password_is_shown_wipes_it(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        for key in "ddp":
            on.press(key)
        on.press("\x03", "Press any key to wipe it.")
        assert on.end() == 130
    assert CANARY not in on.screen()


def test_keys_that_come_at_once_tick_nothing(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        on.press("dddd")
        assert "press one of" in on.press("q")
        assert on.end() == 0
    assert not (world.root / "aicc.json").exists()


def test_one_gateway_is_skipped(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    on = walk(world, "s", "d", "d", "d", "d", "c")
    assert on.code == 7
    assert list(world.record["gateways"]) == ["in2"]
    assert world.changes() == [("in1", "create", "planned")]


def test_another_status_is_kept_in_the_console_s_words(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        for _ in range(4):
            on.press("d")
        on.press("o", STATUS)
        on.press("Abnormal \u202e (E-17)\n", "Its words: ")
        assert on.end() == 9
    failure = world.record["gateways"]["in1"]["status"]["failure"]
    assert failure["message"] == "Gateway Monitoring shows: Abnormal \u202e (E-17)"
    assert "\\u202e" in world.run("status").out
    assert world.changes() == [("in1", "rebuild", "planned")]


def test_only_what_was_reviewed(world: Console) -> None:
    assert world.run("plan", "--out", "plan.json").code == 0
    world.declare({"in1": world.gateway(port=1)})
    done = world.run("apply", "plan.json")
    assert (done.code, done.out) == (5, "")
    assert world.run("apply", "plan.json", "--done", "in1").code == 5
    world.declare({"in1": world.gateway()})
    assert "apply plan.json -t aicc --done in1" in world.run("apply", "plan.json").out
    on = walk(world, "d", "d", "d", "d", "c", arguments=("apply", "plan.json"))
    assert on.code == 0
    assert world.changes() == []


def test_two_at_once(world: Console) -> None:
    """The one who walks holds the lock; who only looks or prints is not held up."""
    with Dialogue(world, ("apply",)) as on:
        on.until("[q]uit: ")
        refused = world.run("apply", "--done", "in1")
        assert refused.code == 6
        assert "tester (run " in refused.err
        assert world.run("plan").code == world.run("apply").code == 0
        on.press("q", "")
        assert on.end() == 0
    assert world.run("apply", "--done", "in1").code == 0


def test_killed_between_two_ticks(world: Console) -> None:
    with Dialogue(world, ("apply",)) as on:
        on.press("d")
        on.until("[q]uit: ")
        on.kill(signal.SIGKILL)
        on.end()
    assert world.ticked == [("in1", 1, 4)]
    assert world.run("apply", "--done", "in1").code == 0
    assert world.ticked == [("in1", number, 4) for number in range(1, 5)]


# without a terminal


def test_piped_it_prints_markdown_and_ticks_nothing(world: Console) -> None:
    before = sorted(world.root.rglob("*"))
    for arguments in (["apply"], ["apply", "--yes"]):
        done = world.run(*arguments)
        assert done.code == 0
        assert done.out.startswith("# Console steps for target `aicc`\n")
        assert "- [ ] **Fill in its address**" in done.out
        assert "type the password of secret `one`" in done.out
        assert "gateways apply -t aicc --done in1" in done.out
    events = world.run("apply", "--format", "json").events()
    assert [one["type"] for one in events] == ["version", "change_failed", "summary"]
    assert events[1]["result"] == "skipped"
    assert events[2]["skipped"] == 1
    assert sorted(world.root.rglob("*")) == before


def test_what_is_ticked_is_shown_so(world: Console) -> None:
    walk(world, "d", "q")
    out = world.run("apply").out
    assert "- [x] **Import the certificate**: Managing Certificates (ticked by `tester` at" in out
    assert "- [ ] **Create the gateway**" in out


def test_done_ticks_all_steps_of_what_is_named(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    done = world.run("apply", "--done", "in1", "--shows", SUCCEEDED)
    assert (done.code, done.out) == (
        0,
        "  + create in1: done: connection succeeded\n1 done, 0 failed, 0 skipped\n",
    )
    assert world.changes() == [("in2", "create", "planned")]
    events = world.run("apply", "--done", "in2", "--format", "json").events()
    assert [one["type"] for one in events] == ["version", "lock", "change_done", "summary"]
    assert world.record["gateways"]["in2"]["status"]["state"] == "connecting"
    for wrong in (["--done", "in1"], ["--done", "in3"]):
        refused = world.run("apply", *wrong)
        assert refused.code == 64
        assert "nothing is planned for this gateway" in refused.err


def test_done_on_what_is_blocked(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    world.run("apply", "--done", "in1", "--done", "in2")
    world.declare({"in2": world.gateway(2)})
    assert world.run("apply", "--done", "in1").code == 4
    assert world.run("apply").code == 4
    assert world.run("apply", "--done", "in1", "--max-disconnects", "1").code == 0
    kept = world.record["gateways"]["in1"]
    assert (kept["has_password"], kept["fingerprint"]) == (False, None)
    assert kept["status"]["cause"] == "undeclared"
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    assert "type the password of secret `one`" in world.run("apply").out


def test_that_nobody_has_looked_makes_no_connection_anew(world: Console) -> None:
    world.declare({"support": world.gateway(protocol_type="SMTP")})
    assert world.run("apply", "--done", "support").code == 0
    world.declare({"support": world.gateway(protocol_type="SMTP", default_user_name="Support")})
    (change,) = world.run("plan", "--format", "json").json("plan")["changes"]
    assert (change["reason"], change["reconnects"]) == ("default_user_name differs", False)
    assert "Rebuild" not in world.run("apply").out


def test_what_the_console_has_no_field_for_is_recorded_only(world: Console) -> None:
    world.run("apply", "--done", "in1", "--shows", SUCCEEDED)
    world.declare({"in1": world.gateway(labels={"team": "x"}, protect=True)})
    out = world.run("apply").out
    assert "Recorded only, the console has no such field: `protect`, `labels`" in out
    assert "Nothing to do in the console." in out
    assert walk(world).code == 0
    assert world.changes() == []
    assert world.record["gateways"]["in1"]["status"]["state"] == "succeeded"


@pytest.mark.parametrize("name", ["steps.md", "steps.HTML"])
def test_a_checklist_is_written(world: Console, name: str) -> None:
    done = world.run("apply", "--checklist", name)
    assert (done.code, done.out) == (0, "")
    text = (world.root / name).read_text()
    assert "Gateway Address Interconnection Configuration" in text
    assert "gateways apply -t aicc --done in1" in text
    assert not (world.root / "aicc.json").exists()
    world.run("apply", "--done", "in1", "--shows", SUCCEEDED)
    assert world.run("apply", "--checklist", name).code == 0, "nothing to do is a checklist too"


@pytest.mark.parametrize(
    "wrong",
    [
        ["--checklist", "steps.txt"],
        ["--checklist", "steps.md", "--done", "in1"],
        ["--shows", SUCCEEDED],
    ],
)
def test_options_that_make_no_sense(world: Console, wrong: list[str]) -> None:
    refused = world.run("apply", *wrong)
    assert (refused.code, refused.out) == (64, "")


def test_options_of_another_platform(world: Console) -> None:
    world.settings["targets"]["local"] = {"platform": "embedded"}
    world.settings["default_target"] = "aicc"
    world.write_settings()
    for wrong in (["--done", "in1"], ["--checklist", "steps.md"], ["--shows", "x"]):
        assert world.run("apply", "-t", "local", "--yes", *wrong).code == 64
    assert not (world.root / ".gateways").exists()


# the record


def test_the_record_is_reviewed_line_by_line(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    world.run("apply", "--done", "in1", "--done", "in2", "--shows", SUCCEEDED)
    world.git("init", "-q")
    world.git("add", "-A")
    world.git("commit", "-qm", "all")
    assert ".gateways" not in world.git("ls-files")
    world.declare({"in1": world.gateway(port=1993), "in2": world.gateway(2)})
    commit = world.git("commit", "-qam", "port").strip() or world.git("rev-parse", "HEAD").strip()
    world.run("apply", "--done", "in1", "--shows", SUCCEEDED)
    lines = [one for one in world.git("diff", "-U0").splitlines() if one[:1] in "+-"]
    removed = {one[1:].strip() for one in lines if one[0] == "-" and one[:3] != "---"}
    removed = {one for one in removed if "_at" not in one and "since" not in one}
    assert removed == {f'"port": {world.gateway()["port"]},', '"revision": "1",'}
    assert all('"in2"' not in one for one in lines)
    assert world.record["ticks"][-1]["commit"] == commit
    told = world.run("drift")
    assert (told.code, "no drift" in told.out) == (0, True)
    assert "told nobody is not seen" in told.err


def test_a_broken_record_is_named_and_left_alone(world: Console) -> None:
    world.run("apply", "--done", "in1")
    text = (world.root / "aicc.json").read_text()
    (world.root / "aicc.json").write_text(text.replace('"ticks"', "<<<<<<< HEAD\n", 1))
    broken = (world.root / "aicc.json").read_bytes()
    for command in (["plan"], ["apply"], ["apply", "--done", "in1"], ["status"], ["drift"]):
        done = world.run(*command)
        assert done.code == 3, command
        assert "aicc.json:" in done.err
    assert (world.root / "aicc.json").read_bytes() == broken


# what else there is on such a target


def test_taking_over_what_is_in_the_console(world: Console) -> None:
    done = world.run("adopt", "in1")
    assert done.code == 0
    assert "Check that the console holds this" in done.out
    assert world.run("adopt", "in1", "--out", "plan.json", "--done", "in1").code == 64
    on = walk(world, "d", "d", "d", "c", arguments=("adopt", "in1"))
    assert on.code == 0
    assert world.record["gateways"]["in1"]["owner"] == "acme"
    assert world.changes() == []
    assert world.run("adopt", "in1").code == 64
    world.settings["owner"] = "others"
    world.write_settings()
    assert world.changes() == [("in1", "adopt", "blocked")]


def test_a_takeover_from_a_list(world: Console) -> None:
    """The command that the list ends with is one that there is."""
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    printed = world.run("adopt", "in1", "in2", "--checklist", "steps.md")
    assert printed.code == 0
    commands = re.findall("`gateways (.*--done .*)`", (world.root / "steps.md").read_text())
    assert commands == [f"adopt in1 in2 -t aicc --done {name}" for name in ("in1", "in2")]
    for command in commands:
        assert world.run(*command.split(), "--shows", SUCCEEDED).code == 0
    states = [one["status"]["state"] for one in world.record["gateways"].values()]
    assert states == ["succeeded", "succeeded"]


def test_a_takeover_that_was_left_is_gone_on_with(world: Console) -> None:
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    on = walk(world, *"dddn", *"dq", arguments=("adopt", "in1", "in2"))
    assert "that is not ticked: gateways adopt in2 -t aicc" in on.shown
    on = walk(world, *"ddn", arguments=("adopt", "in2"))
    assert (on.code, list(world.record["gateways"])) == (0, ["in1", "in2"])


def test_the_two_buttons(world: Console) -> None:
    world.run("apply", "--done", "in1", "--shows", SUCCEEDED)
    printed = world.run("disconnect", "in1")
    assert printed.code == 0
    assert "press Disconnected" in printed.out
    assert "nothing was noted" in printed.err
    assert world.run("rebuild", "in1", "--format", "json").json("status")["gateways"] == []
    assert walk(world, "d", arguments=("disconnect", "in1")).code == 0
    assert world.record["gateways"]["in1"]["status"]["cause"] == "by hand"
    assert world.changes() == [("in1", "rebuild", "planned")]
    assert walk(world, "d", "c", arguments=("rebuild", "in1")).code == 0
    assert world.changes() == []
    assert world.run("rebuild", "nobody").code == 64


def test_a_protected_gateway_is_not_disconnected(world: Console) -> None:
    world.declare({"in1": world.gateway(protect=True)})
    world.run("apply", "--done", "in1")
    refused = world.run("disconnect", "in1")
    assert (refused.code, "Disconnected" in refused.out) == (4, False)
    assert "Disconnected" in world.run("disconnect", "in1", "--force").out


def test_what_cannot_be_asked_is_said(world: Console) -> None:
    assert "--refresh has no effect" in world.run("plan", "--refresh").err
    assert world.run("plan", "--refresh", "--format", "json").json("plan")["refreshed"] is False
    assert "--refresh has no effect" in world.run("status", "--refresh").err
    assert world.run("inbox", "in1").code == 3
    assert world.run("plan", "--check", "dns").code == 0


def test_dump_makes_declarations_of_the_record(world: Console) -> None:
    world.run("apply", "--done", "in1")
    dumped = yaml.safe_load(world.run("dump").out)
    assert dumped["gateways"]["in1"]["host"] == "localhost"


def test_long_names_are_warned_of_here_and_nowhere_else(world: Console) -> None:
    """C39."""
    world.settings["targets"]["local"] = {"platform": "embedded"}
    world.settings["default_target"] = "aicc"
    world.write_settings()
    world.declare({"support-in-1": world.gateway()})
    for target, warned in (("aicc", True), ("local", False)):
        done = world.run("validate", "-t", target, "--format", "json").json("problems")
        assert ("long-name" in {one["rule"] for one in done["problems"]}) is warned


# secrets


def test_no_password_is_left_anywhere(world: Console) -> None:
    """A37: neither on a walk, nor printed, nor in the record, nor in a checklist."""
    scanner = Scanner({"one": CANARY, "two": CANARY + "-2"})
    walk(world, "d", "d", "d", "q")
    world.declare({"in1": world.gateway(), "in2": world.gateway(2)})
    for arguments in (
        ["apply", "-v", "--log-format", "json"],
        ["apply", "--format", "json"],
        ["apply", "--checklist", "steps.md"],
        ["apply", "--checklist", "steps.html"],
        ["apply", "--done", "in2", "-v"],
        ["status"],
        ["plan", "--out", "plan.json"],
        ["apply", "plan.json"],
    ):
        done = world.run(*arguments)
        assert scanner.find(done.out + done.err) == [], arguments
    assert scanner.find_in(world.root.parent) == []


@pytest.mark.interop("strace")
def test_a_shown_password_goes_to_the_terminal_and_nowhere_else(world: Console) -> None:
    """A37: of all that is written, one write to the terminal holds it."""
    log = world.root.parent / "trace"
    options = ["-f", "-qq", "-y", "-s", "100000", "-e", "trace=write,pwrite64,writev,sendto"]
    wrapped = [str(shutil.which("strace")), *options, "-o", str(log)]
    plain = world.command
    world.command = lambda *arguments: [*wrapped, *plain(*arguments)]  # type: ignore[method-assign]
    with Dialogue(world, ("apply",)) as on:
        for key in "ddp":
            on.press(key)
        on.press("x", "Press any key to wipe it.")
        on.press("q")
        assert on.end() == 0
    held = [one for one in log.read_text().splitlines() if CANARY in one]
    assert len(held) == 1
    assert "</dev/tty>" in held[0] or "</dev/pts/" in held[0]
    log.unlink()
