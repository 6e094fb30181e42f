"""gateways token: who may call a service, made and ended beside it while it runs."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from reconciler import schemas
from reconciler.cli.border import run
from reconciler.clock import now
from reconciler.model import Secret
from reconciler.service import database as database_module
from reconciler.service.access import Role, Tokens
from reconciler.service.database import open_readable
from reconciler.service.store import Store
from reconciler.service.upgrade import VERSION
from reconciler.tokens import Token
from tests.cli.served import Served, served
from tests.cli.world import Ran

Gateways = Callable[..., Ran]


@pytest.fixture
def gateways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Gateways:
    """The command line in this process, in a folder that is no project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATEWAYS_ACTOR", "tester")

    def call(*arguments: str) -> Ran:
        code = run([*arguments])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Ran(int(code), said.out, said.err)

    return call


def new(gateways: Gateways, *more: str, tenant: str = "acme", role: str = "apply") -> Token:
    """A token made by the command, read as a client reads it."""
    required = ("--database", "p.db", "--tenant", tenant, "--role", role)
    made = gateways("token", "new", *required, *more)
    assert made.code == 0, made.err
    (line,) = made.out.splitlines()
    return Token.parse(line)


def listed(gateways: Gateways, *more: str) -> list[dict[str, Any]]:
    found = gateways("token", "list", "--database", "p.db", "--format", "json", *more)
    assert found.code == 0, found.err
    data = json.loads(found.out)
    Draft202012Validator(schemas.load("tokens")).validate(data)
    rows: list[dict[str, Any]] = data["tokens"]
    return rows


def audited(folder: Path, tenant: str = "acme") -> list[tuple[str, str, str]]:
    connection = open_readable(folder / "p.db")
    assert connection
    with closing(connection):
        entries = Store(connection, tenant).audit()
    return [(entry.actor, entry.action, entry.changes) for entry in entries]


def test_a_token_is_made_shown_once_and_kept_as_a_hash(gateways: Gateways, tmp_path: Path) -> None:
    token = new(
        gateways, "--url", "https://gateways.example.com", "--days", "7", "--note", "the CI job"
    )
    assert token.origin == "https://gateways.example.com:443"
    (row,) = listed(gateways)
    assert (row["id"], row["tenant"], row["role"], row["state"]) == (
        token.id,
        "acme",
        "apply",
        "good",
    )
    assert (row["origin"], row["note"]) == ("https://gateways.example.com:443", "the CI job")
    connection = open_readable(tmp_path / "p.db")
    assert connection
    with closing(connection):
        found = Tokens(connection, now).find(token)
        other = Tokens(connection, now).find(Token(token.id, Secret("A" * 43), None))
    assert found is not None
    assert (found.tenant, found.role, other) == ("acme", Role.APPLY, None)
    secret = token.secret.reveal()
    text = gateways("token", "list", "--database", "p.db").out
    assert token.id in text
    assert secret not in text + json.dumps(listed(gateways)) + str(audited(tmp_path))
    assert secret.encode() not in everything_in(tmp_path)
    assert (tmp_path / "p.db").stat().st_mode & 0o077 == 0


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_without_an_origin_a_token_is_for_loopback(gateways: Gateways) -> None:
    assert new(gateways).origin is None
    assert listed(gateways)[0]["origin"] is None
    assert "loopback only" in gateways("token", "list", "--database", "p.db").out


def test_what_is_said_beside_the_token_goes_to_standard_error(gateways: Gateways) -> None:
    made = gateways("token", "new", "--database", "p.db", "--tenant", "acme", "--role", "read")
    assert made.out.startswith("gwt_")
    assert "shown only this once" in made.err
    assert made.out.strip().split(".")[1] not in made.err
    quiet = gateways(
        "token", "new", "-q", "--database", "p.db", "--tenant", "acme", "--role", "read"
    )
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--tenant", "a b"], "--tenant"),
        (["--tenant", ""], "--tenant"),
        (["--tenant", "x" * 65], "--tenant"),
        (["--tenant", "\x1b[2J"], "--tenant"),
        (["--role", "king"], "--role"),
        (["--days", "0"], "--days"),
        (["--days", "-1"], "--days"),
        (["--days", "3651"], "--days"),
        (["--days", "1.5"], "--days"),
        (["--url", ""], "--url"),
        (["--url", "gateways.example.com"], "--url"),
        (["--url", "ftp://gateways.example.com"], "--url"),
        (["--url", "http://gateways.example.com"], "--url"),
        (["--url", "https://gateways.example.com/v1"], "--url"),
        (["--url", "https://user:secret@gateways.example.com"], "--url"),
        (["--url", "https://gateways.example.com:0"], "--url"),
        (["--url", "https://gateways.example.com:65536"], "--url"),
        (["--url", "https://gate ways"], "--url"),
        (["--url", "https://gateways.example.com?x=1"], "--url"),
        (["--note", "two\nlines"], "--note"),
        (["--note", "x" * 201], "--note"),
        (["--format", "json"], "--format"),
    ],
)
def test_what_makes_no_sense_is_refused(
    gateways: Gateways, tmp_path: Path, wrong: list[str], said: str
) -> None:
    given = {"--database": "p.db", "--tenant": "acme", "--role": "read", wrong[0]: wrong[1]}
    refused = gateways("token", "new", *(word for pair in given.items() for word in pair))
    assert refused.code == 64
    assert said in refused.err
    assert refused.out == ""
    assert "secret" not in refused.err
    assert "\x1b" not in refused.err
    assert not (tmp_path / "p.db").exists()


def test_a_token_is_revoked_by_its_id_or_its_text(gateways: Gateways, tmp_path: Path) -> None:
    first, second, third = (new(gateways, tenant=one) for one in ("acme", "acme", "globex"))
    revoked = gateways("token", "revoke", first.id, "--database", "p.db")
    assert (revoked.code, revoked.out) == (0, f"{first.id}: revoked\n")
    whole = gateways("token", "revoke", second.text().reveal(), "--database", "p.db")
    assert (whole.code, whole.out) == (0, f"{second.id}: revoked\n")
    assert second.secret.reveal() not in whole.out + whole.err
    assert [one["state"] for one in listed(gateways, "--tenant", "acme")] == ["revoked"] * 2
    assert [one["id"] for one in listed(gateways, "--tenant", "globex")] == [third.id]
    again = gateways("token", "revoke", first.id, "--database", "p.db")
    assert again.code == 0
    assert "revoked already" in again.err
    assert [(actor, action) for actor, action, _ in audited(tmp_path)] == [
        ("tester", "token new"),
        ("tester", "token new"),
        ("tester", "token revoke"),
        ("tester", "token revoke"),
    ]
    assert json.loads(audited(tmp_path)[2][2]) == [{"token": first.id, "role": "apply"}]


def test_an_id_that_is_none_revokes_nothing(gateways: Gateways) -> None:
    """Also where another one of the same line is one: all or nothing."""
    token = new(gateways)
    for wrong in ("x", "gwt_nonsense", "\x1b[2J"):
        refused = gateways("token", "revoke", token.id, wrong, "--database", "p.db")
        assert refused.code == 64
        assert "\x1b" not in refused.err
        assert refused.out == ""
    assert listed(gateways)[0]["state"] == "good"


def test_a_database_that_is_none(gateways: Gateways, tmp_path: Path) -> None:
    for command in (["list"], ["revoke", "x"]):
        absent = gateways("token", *command, "--database", "p.db")
        assert absent.code == 64
        assert "there is no database p.db" in absent.err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "other.db").write_bytes(b"SQLite format 3\0 but it is not" * 100)
    before = (tmp_path / "other.db").read_bytes()
    for command in (["list"], ["revoke", "x"], ["new", "--tenant", "a", "--role", "read"]):
        damaged = gateways("token", *command, "--database", "other.db")
        assert damaged.code == 10
    assert (tmp_path / "other.db").read_bytes() == before
    with closing(sqlite3.connect(tmp_path / "foreign.db")) as other:
        other.execute("CREATE TABLE ours (x)")
    foreign = gateways(
        "token", "new", "--tenant", "a", "--role", "read", "--database", "foreign.db"
    )
    assert foreign.code == 10
    assert "another program" in foreign.err


def test_the_folder_of_c_is_where_the_database_is(gateways: Gateways, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    required = ("--tenant", "acme", "--role", "read")
    assert gateways("token", "new", "-C", "there", "--database", "p.db", *required).code == 0
    assert (tmp_path / "there/p.db").exists()


def test_a_busy_database_is_waited_for_and_then_told(
    gateways: Gateways, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G26: another program writes for a while, and then for too long."""
    token = new(gateways)
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.5)
    with closing(
        sqlite3.connect(tmp_path / "p.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN EXCLUSIVE")
        refused = gateways("token", "revoke", token.id, "--database", "p.db")
        assert refused.code == 10
        assert "locked" in refused.err
        soon = threading.Timer(0.1, lambda: other.execute("ROLLBACK"))
        soon.start()
        assert gateways("token", "revoke", token.id, "--database", "p.db").code == 0
        soon.join()


def test_beside_a_running_service(gateways: Gateways, tmp_path: Path) -> None:
    """Made, used, revoked, refused: with nothing started anew."""
    with served(tmp_path / "p.db") as service:
        token = new(gateways, role="read")
        assert answered(service, token) == 200
        assert [one["id"] for one in listed(gateways)] == [token.id]
        assert gateways("token", "revoke", token.id, "--database", "p.db").code == 0
        assert answered(service, token) == 401
    assert [action for _, action, _ in audited(tmp_path)] == ["token new", "token revoke"]


def answered(service: Served, token: Token) -> int:
    return service.ask("GET", "/v1/gateways", token=token.text().reveal()).status


def test_a_database_of_another_version_is_left_to_its_service(
    gateways: Gateways, tmp_path: Path
) -> None:
    """G36: what runs on it would not understand it any more."""
    new(gateways)
    with served(tmp_path / "p.db"):
        with closing(sqlite3.connect(tmp_path / "p.db")) as other:
            other.execute(f"PRAGMA user_version = {VERSION - 1}")
        required = ("--database", "p.db", "--tenant", "acme", "--role", "read")
        refused = gateways("token", "new", *required)
        assert refused.code == 6
        assert "a gateway service runs on this database" in refused.err
        with closing(sqlite3.connect(tmp_path / "p.db")) as other:
            assert other.execute("PRAGMA user_version").fetchone()[0] == VERSION - 1
            other.execute(f"PRAGMA user_version = {VERSION}")


def test_two_that_make_the_database_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reconciler", "token", "new", "--database", "p.db"]
    command += ["--tenant", "acme", "--role", "read"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        subprocess.Popen(
            command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        Token.parse(out.decode().strip())
    assert len(audited(tmp_path)) == 4


def test_an_expired_token_is_listed_as_such(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    new(gateways, "--days", "1")
    later = now() + timedelta(days=2)
    monkeypatch.setattr("reconciler.clock.now", lambda: later)
    assert listed(gateways)[0]["state"] == "expired"
