"""A pull request's plan, where there is no key: everything is planned, rotations by ciphertext."""

import html
import time

import pytest

from tests.cli.world import CANARY, SECRETS_FILE, USERS, Ran, World
from tests.declarations.sops_support import real_sops


@pytest.fixture
def applied(world: World) -> World:
    """Both gateways applied from main; the tree may change from here on."""
    real_sops()
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    (world.root / ".gitignore").write_text(".gateways/\n")
    world.git("init", "-q", "-b", "main")
    world.git("add", ".")
    world.git("commit", "-q", "-m", "all")
    assert world.apply().code == 0
    return world


def rotate(world: World, name: str, user: int, value: str) -> None:
    """A new password, here and on the mail server."""
    world.set_secret(name, value)
    accounts = dict(zip(USERS, world.passwords.values(), strict=True))
    world.server.change_accounts({**accounts, USERS[user - 1]: value})


def keyless(world: World, *arguments: str) -> Ran:
    environ = world.environ
    world.environ = {name: text for name, text in environ.items() if name != "SOPS_AGE_KEY"}
    try:
        return world.run("plan", *arguments)
    finally:
        world.environ = environ


def test_a_rotation_is_planned_without_a_key_and_applied_with_one(applied: World) -> None:
    """A1, A24: the pull request's job has no key; the job after the merge does what it showed."""
    same = keyless(applied, "--policy-from", "main").out
    assert "nothing to do, 2 unchanged, passwords compared with main only" in same
    rotate(applied, "two", 2, CANARY + "-new")
    assert "nothing to do" in keyless(applied).out, "with nothing to compare it cannot be seen"
    shown = keyless(applied, "--policy-from", "main", "--out", "plan.json")
    assert shown.code == 0
    assert "user_password was set anew since the commit that this is compared with" in shown.out
    assert "user_password  rotated" in shown.out
    assert "1 to edit, 1 unchanged" in shown.out
    done = applied.run("apply", "plan.json")
    assert done.code == 0, done.err
    assert applied.changes() == []
    assert applied.run("apply", "plan.json").code == 0, "nothing of it is left to do"


def test_a_rotation_goes_with_other_changes(applied: World) -> None:
    rotate(applied, "two", 2, CANARY + "-new")
    applied.declare(
        {"a": applied.gateway(encoding_mode="GBK"), "b": applied.gateway(2, encoding_mode="GBK")}
    )
    arguments = ("--policy-from", "main", "--out", "plan.json", "--format", "json")
    plan = keyless(applied, *arguments).json("plan")
    passwords = {one["gateway"]: one["fields"][-1].get("secret") for one in plan["changes"]}
    assert passwords == {"a": "not compared", "b": "rotated"}
    assert plan["secrets_compared"] is False
    with_key = applied.run("plan", "--policy-from", "main", "--format", "json").json("plan")
    assert plan["digests"]["desired"] == with_key["digests"]["desired"]
    assert applied.run("apply", "plan.json").code == 0
    assert applied.changes() == []


def test_another_secret_for_a_gateway(applied: World) -> None:
    applied.declare(
        {"a": applied.gateway(), "b": applied.gateway(2, user_password={"secret": "one"})}
    )
    shown = keyless(applied, "--policy-from", "main").out
    assert "it was not this secret" in shown
    assert "user_password  not compared" in shown


def test_a_secrets_file_under_other_keys_does_not_pass_unseen(applied: World) -> None:
    """A4: anybody can encrypt for the recipients."""
    applied.passwords["two"] = CANARY + "-of-somebody-else"
    applied.write_secrets()
    shown = keyless(applied, "--policy-from", "main", "--out", "plan.json")
    assert shown.code == 0
    assert "warning[secrets-file-keys]" in shown.err
    comment = applied.run("comment", "plan.json", "--print").out
    danger = next(line for line in comment.splitlines() if line.startswith("> - secrets file"))
    assert "other keys or recipients" in danger
    assert "and not those of 1 secrets file with other keys" in shown.out
    markdown = keyless(applied, "--policy-from", "main", "--format", "markdown").out
    assert "and not those of 1 secrets file with other keys" in markdown
    applied.settings["targets"]["local"]["errors"] = ["secrets-file-keys"]
    applied.write_settings()
    assert keyless(applied, "--policy-from", "main").code == 0, "the base has the say"
    applied.git("commit", "-qm", "strict", "--", "gateways.yaml")
    assert keyless(applied, "--policy-from", "main").code == 3


def test_an_earlier_password_does_not_pass_unseen(applied: World) -> None:
    """A8: with a key or without; the comment has it where nobody overlooks it."""
    before = (applied.root / SECRETS_FILE).read_bytes()
    time.sleep(1.1)  # seconds are all that sops tells
    rotate(applied, "two", 2, CANARY + "-new")
    applied.git("commit", "-qam", "rotated")
    (applied.root / SECRETS_FILE).write_bytes(before)
    shown = keyless(applied, "--policy-from", "main", "--out", "plan.json")
    assert shown.code == 0
    assert f"{SECRETS_FILE}:1:1: warning[secrets-file-older]" in shown.err
    comment = html.unescape(applied.run("comment", "plan.json", "--print").out)
    assert f"> - secrets file **{SECRETS_FILE}**: the file was last written at" in comment
    assert "warning[secrets-file-older]" in applied.run("plan", "--policy-from", "main").err
    assert "secrets-file-older" not in applied.run("plan").err
    applied.settings["targets"]["local"]["errors"] = ["secrets-file-older"]
    applied.write_settings()
    applied.git("commit", "-qm", "strict", "--", "gateways.yaml")
    assert keyless(applied, "--policy-from", "main").code == 3


def test_a_first_pull_request(applied: World) -> None:
    """The commit has no declarations, and no secrets."""
    applied.git("rm", "-rq", "--cached", "gateways.d")
    applied.git("commit", "-qm", "empty")
    shown = keyless(applied, "--policy-from", "main")
    assert shown.code == 0
    assert shown.out.count("not compared") == 2


def test_file_names_and_filters_of_the_base_are_taken_as_they_are(applied: World) -> None:
    """A2: nothing that a repository's settings name is run on what is read from it."""
    (applied.root / ".gitattributes").write_text("* filter=evil\n")
    strange = applied.root / "gateways.d/ä b\n.yaml"
    strange.write_text("gateways: {}\n")
    applied.git("add", ".")
    applied.git("commit", "-qm", "strange")
    applied.git("config", "filter.evil.smudge", "touch evil; cat")
    applied.git("config", "filter.evil.required", "true")
    strange.unlink()
    rotate(applied, "two", 2, CANARY + "-new")
    assert "rotated" in keyless(applied, "--policy-from", "main").out
    assert not (applied.root / "evil").exists()
