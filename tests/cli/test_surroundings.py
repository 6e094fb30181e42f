"""Streams, encodings, folders and checkouts as users have them, and as they should not be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.mailserver.process import ServerProcess
from reconciler.declarations.sops.writer import encrypt
from reconciler.git import commit_of
from tests.cli.conftest import ACCOUNTS
from tests.cli.inside import contents, copied, inside
from tests.cli.world import CANARY, USERS, Ran, World

GATEWAYS = f"{sys.executable} -m reconciler"


@pytest.fixture(scope="module")
def declared(mail_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project with two gateways, not applied yet; never changed itself."""
    world = World(tmp_path_factory.mktemp("declared") / "project", mail_server)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    return world


@pytest.fixture
def project(declared: World, tmp_path: Path) -> Iterator[World]:
    yield copied(declared, tmp_path / "copy")
    declared.server.change_accounts(ACCOUNTS)


def _shell(world: World, script: str, **environ: str) -> Ran:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=world.root,
        env={**world.environ, **environ},
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = (text.decode("utf-8", "backslashreplace") for text in (done.stdout, done.stderr))
    for text in ("Traceback", CANARY, "this is a bug", "Exception ignored"):
        assert text not in out + err
    return Ran(done.returncode, out, err)


# --- streams


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (f"{GATEWAYS} plan --detailed-exitcode | true", 2),
        (f"{GATEWAYS} plan --detailed-exitcode >&-", 2),
        (f"{GATEWAYS} plan --detailed-exitcode <&- 2>&-", 2),
        (f"{GATEWAYS} plan >/dev/full", 1),
        (f"{GATEWAYS} plan -t nowhere 2>/dev/full", 64),
        (f"{GATEWAYS} apply <&-", 64),
    ],
)
def test_streams(project: World, script: str, code: int) -> None:
    before = contents(project.root)
    assert _shell(project, script).code == code
    assert contents(project.root) == before


@pytest.mark.parametrize("end", ["| true", ">&-", ">/dev/full", "--format json | head -1"])
def test_an_apply_that_nobody_reads_is_finished(project: World, end: str) -> None:
    """P6: what is on the platform must not depend on who looks."""
    assert _shell(project, f"{GATEWAYS} apply --yes {end}").code == 0
    assert inside(project, "plan", "--detailed-exitcode").code == 0


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "cp437:strict"])
def test_names_that_the_output_cannot_hold(project: World, encoding: str) -> None:
    name = "Jürgen 名"
    project.declare({"a": project.gateway(protocol_type="SMTP", default_user_name=name)})
    (project.root / "gateways.d/ü.yaml").write_text("gateways: {}\n")
    ran = _shell(project, f"{GATEWAYS} plan; {GATEWAYS} validate", PYTHONIOENCODING=encoding)
    assert ran.code == 0
    assert "default_user_name" in ran.out


def test_no_home_no_git_no_terminal(project: World) -> None:
    del project.environ["HOME"]
    bare = {"PATH": "/nonexistent", "TERM": "dumb", "TMPDIR": "/nonexistent", "NO_COLOR": "1"}
    ran = subprocess.run(
        project.command("plan", "--format", "json"),
        cwd=project.root,
        env={**project.environ, **bare},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0
    assert b'"git": null' in ran.stdout


@pytest.mark.parametrize("epoch", ["abc", "-1", "9" * 17, "²", ""])
def test_an_epoch_that_is_none_is_not_used(project: World, epoch: str) -> None:
    assert inside(project, "plan", "--format", "json", SOURCE_DATE_EPOCH=epoch).json("plan")


def test_a_working_folder_that_is_gone(project: World) -> None:
    ran = _shell(project, f"mkdir x && cd x && rmdir ../x && {GATEWAYS} plan")
    assert ran.code == 64
    assert "is gone" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("apply", "--yes", "--timeout", "nan"),
        ("apply", "--yes", "--timeout", "inf"),
        ("apply", "--yes", "--lock-timeout", "nan"),
        ("apply", "--yes", "--timeout", "-1"),
        ("plan", "--out", "-"),
        ("plan", "--max-disconnects", "-1"),
        ("plan", "--only", ""),
        ("plan", "-l", "="),
        ("plan", "\x1b[31m"),
    ],
)
def test_options_that_make_no_sense(project: World, arguments: tuple[str, ...]) -> None:
    before = contents(project.root)
    ran = inside(project, *arguments)
    assert ran.code == 64
    assert ran.out == ""
    assert contents(project.root) == before


def test_a_missing_fingerprint_key_is_told_of_by_all(project: World) -> None:
    """Without one a password is told from its ciphertext only: that must not be silent."""
    path = project.root / "gateways.d/secrets/main.sops.yaml"
    path.write_bytes(encrypt(project.passwords, [project._recipient]))
    assert "no-fingerprint-key" in inside(project, "validate").out
    for command in (("plan",), ("apply", "--yes"), ("plan", "--log-format", "json")):
        ran = inside(project, *command)
        assert ran.code == 0
        assert "no-fingerprint-key" in ran.err
    assert inside(project, "plan", "-q").err == ""


# --- folders and files


def test_a_path_with_everything_in_it(project: World) -> None:
    odd = project.root.parent / "pröjekt with 'spaces' # ?%20&\n名"
    project.root.rename(odd)
    project.root = odd
    assert inside(project, "apply", "--yes").code == 0
    assert inside(project, "plan", "--detailed-exitcode", "--out", "plän.json").code == 0
    assert inside(project, "show", "plän.json").code == 0


def test_a_folder_that_is_no_utf_8(project: World) -> None:
    odd = project.root.parent / os.fsdecode(b"latin\xe4")
    project.root.rename(odd)
    project.root = odd
    for arguments, code in ((("plan",), 0), (("apply", "--yes"), 0), (("status",), 0)):
        ran = inside(project, *arguments)
        assert ran.code == code
        assert "this is a bug" not in ran.err
    assert (odd / ".gateways/platform.db").is_file()


def test_a_pipe_takes_a_plan_and_stays(project: World, tmp_path: Path) -> None:
    """A device or a pipe is never replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    ran = _shell(project, f"cat {pipe} & {GATEWAYS} plan -q --out {pipe} >/dev/null; wait")
    assert ran.out.startswith('{"') or ran.out.startswith("{\n")
    assert pipe.is_fifo()
    ran = _shell(project, f"{GATEWAYS} plan -q --out /dev/stdout --format markdown | cat")
    assert ran.code == 0
    assert '"format_version"' in ran.out
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n"),
        lambda data: b"# caf\xc3\xa9\n---\n" + data + b"...\n",
        lambda data: b"defaults:\n" + data,
        lambda data: b"defaults: &d {}\n" + data,
    ],
    ids=["BOM and CRLF", "document marks", "no defaults", "an anchor"],
)
def test_text_as_editors_save_it(project: World, change: Callable[[bytes], bytes]) -> None:
    """P22."""
    path = project.root / "gateways.d/mail.yaml"
    path.write_bytes(change(path.read_bytes()))
    assert inside(project, "apply", "--yes").code == 0
    assert inside(project, "plan", "--detailed-exitcode").code == 0


NAMES = ("null", "true", "0", "con", "a.b", "A-", "x" * 64, "init")


def test_names_that_mean_something_elsewhere(project: World) -> None:
    project.declare(
        {
            name: project.gateway(labels={"team": f"::error::{number}", "z": "a=b"})
            for number, name in enumerate(NAMES)
        }
    )
    assert inside(project, "apply", "--yes").code == 0
    assert inside(project, "plan", "--detailed-exitcode").code == 0
    status = inside(project, "status", "--format", "json").json("status")["gateways"]
    assert {one["name"] for one in status} == set(NAMES)
    chosen = inside(project, "plan", "-l", "team=::error::2", "--only", "0")
    assert "1 unchanged" in chosen.out


@pytest.mark.parametrize(
    "password",
    ["  spaces  ", "quote\"'\\", "\U0001f600", "x" * 64, "null", "{{ a }}", "ENC[x]", "%s%n{0}"],
)
def test_passwords_as_people_choose_them(project: World, password: str) -> None:
    project.declare({"a": project.gateway(), "b": project.gateway(1, protocol_type="SMTP")})
    project.write_secrets(one=password)
    project.server.change_accounts({USERS[0]: password})
    assert inside(project, "apply", "--yes").code == 0
    assert inside(project, "plan", "--detailed-exitcode").code == 0


# --- whatever is said passes through


EVIL = "</td><img src=x> @team/all `x` | [a](http://e.example) ::error::x"


def test_no_markup_of_a_declaration_reaches_a_comment(project: World) -> None:
    """A20."""
    sender = project.gateway(protocol_type="SMTP", default_user_name=EVIL)
    project.declare({"a": {**sender, "labels": {"l": "<b>|@team"}}})
    text = inside(project, "plan", "--format", "markdown").out
    assert "img src" in text
    ours = text.replace("<details>", "").replace("</details>", "")
    ours = ours.replace("<summary>", "").replace("</summary>", "")
    assert not set("<>@`[]") & set(ours)
    rows = [line for line in ours.splitlines() if line.startswith("| default")]
    assert [row.count("|") for row in rows] == [4, 4]


def test_no_file_name_is_a_workflow_command(project: World) -> None:
    """Faults A21, A22."""
    folder = project.root / "gateways.d"
    (folder / "::error file=x,line=1::y%0A.yaml").write_text("- x\n")
    (folder / "b\n::stop-commands::x.yaml").write_text("gateways: {}\n")
    (folder / "c\x1b]52;c;eA==\x07.yaml").write_text("gateways: {}\n")
    annotated = inside(project, "validate", "--format", "github")
    assert annotated.code == 3
    assert len(annotated.out.splitlines()) == 3
    assert all(line.startswith("::error file=gateways.d/") for line in annotated.out.splitlines())
    plain = inside(project, "validate")
    planned = inside(project, "plan")
    for text in (annotated.out, plain.out, planned.err):
        assert not set(text) & {"\x1b", "\x07", "\r"}
    for line in (plain.out + planned.err).splitlines():
        assert not line.lstrip().startswith("::")


# --- checkouts


def test_a_repository_without_commits(project: World) -> None:
    _git(project, "init", "-q")
    plan = inside(project, "plan", "--format", "json").json("plan")
    assert plan["git"] == {"commit": None, "dirty": True}


def test_a_branch_that_is_no_utf_8(project: World) -> None:
    _git(project, "init", "-q")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    _git(project, *identity, "commit", "-q", "--allow-empty", "-m", "first")
    _git(project, "checkout", "-q", "-b", b"\xff\xfe")
    assert inside(project, "plan", "--format", "json").json("plan")["git"]["commit"]


def _git(world: World, *arguments: str | bytes) -> None:
    subprocess.run(["git", *arguments], cwd=world.root, env=world.environ, check=True)


def test_a_committed_folder_cannot_pass_for_a_repository(project: World) -> None:
    """A2: git would run the programs that its settings name."""
    canary = project.root.parent / "canary"
    _git(project, "init", "-q", "--bare", ".")
    (project.root / "config").write_text(
        "[core]\n\trepositoryformatversion = 0\n\tbare = false\n"
        f'\tworktree = {project.root}\n\tfsmonitor = "touch {canary}; false"\n'
    )
    assert inside(project, "plan").code == 0
    assert not canary.exists()
    assert commit_of(project.root, ("gateways.d",)) is None


MODULES = (
    "yaml", "click", "json", "asyncio", "pathlib", "sitecustomize", "usercustomize", "jsonschema",
    "jinja2", "cryptography", "pyrage", "sqlite3", "conftest",
)  # fmt: skip


@pytest.mark.parametrize("where", [".", "gateways.d"])
def test_no_module_of_the_checkout_is_imported(project: World, where: str) -> None:
    """A2: the tree of a pull request is data."""
    canary = project.root.parent / "canary"
    code = f"open({str(canary)!r}, 'w').close()\n"
    for name in MODULES:
        (project.root / where / f"{name}.py").write_text(code)
    for name in ("reconciler.dist-info", "yaml"):
        (project.root / where / name).mkdir()
        (project.root / where / name / "__init__.py").write_text(code)
    (project.root / where / ".env").write_text("GATEWAYS_ACTOR=evil\n")
    (project.root / where / "pyproject.toml").write_text("[tool.gateways]\nx = 1\n")
    script = Path(sys.executable).with_name("gateways")
    commands = [f"{GATEWAYS} plan"]
    if script.exists():
        commands.append(f"{script} plan")
    for command in commands:
        assert _shell(project, f"cd {where} && {command}").code == 0
        assert not canary.exists(), command


def test_settings_cannot_choose_a_program(project: World) -> None:
    """A3: neither sops nor git is looked for in the checkout."""
    canary = project.root.parent / "canary"
    for name in ("sops", "git", "gpg"):
        program = project.root / name
        program.write_text(f"#!/bin/sh\ntouch {canary}\n")
        program.chmod(0o755)
    assert inside(project, "apply", "--yes").code == 0
    assert not canary.exists()
    assert shutil.which("git")
