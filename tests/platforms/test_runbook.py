"""The runbook platform: the contract, and what a record in git adds to it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from reconciler.errors import InvalidInput, Locked
from reconciler.model import (
    CONNECTION_SUCCEEDED,
    Action,
    Actor,
    ActualGateway,
    Cause,
    Certificate,
    FieldChange,
    Gateway,
    Place,
    ProtocolType,
    StatusState,
    Target,
    Tick,
)
from reconciler.platforms import Platform, TickedWrite, is_by_hand, open_platform
from reconciler.platforms.runbook import RunbookPlatform
from tests.platforms.contract import (
    ACTOR,
    PASSWORD,
    PlatformContract,
    Platforms,
    only,
    server,
    wanted,
    write,
)
from tests.service.mounts import need_own_mounts

__all__ = ["server"]  # a fixture is found by its name in this module

CHECKOUT: Final = Path(__file__).parents[2]
RECORD: Final = "aicc.json"

_NO_SESSION = "no session, so what a mail server answers is not seen"
_NO_PAUSE = "a write has no pause in which it could be cancelled"
_NO_NETWORK = "no network, so a write is never repeated without knowing whether it was stored"
HOLDS_NOT: Final = {
    "test_a_refresh_logs_in_and_stores_nothing": _NO_SESSION,
    "test_create_then_settle_connects": _NO_SESSION,
    "test_without_authentication_nobody_logs_in": _NO_SESSION,
    "test_settling_what_is_settled_makes_no_contact": _NO_SESSION,
    "test_a_wrong_password_is_blamed": _NO_SESSION,
    "test_a_missing_password_is_told_without_a_contact": _NO_SESSION,
    "test_a_silent_server_is_a_timeout": _NO_SESSION,
    "test_a_busy_server_is_asked_again": _NO_SESSION,
    "test_refused_logins_end_at_three": _NO_SESSION,
    "test_refreshes_do_not_add_up_to_a_locked_account": _NO_SESSION,
    "test_a_refresh_leaves_alone_what_was_refused_through_another_gateway": _NO_SESSION,
    "test_a_refresh_that_is_accepted_forgets_what_refreshes_were_refused": _NO_SESSION,
    "test_a_refresh_makes_one_contact_for_equal_connections": _NO_SESSION,
    "test_a_parked_login_is_tried_once_more_by_force": _NO_SESSION,
    "test_force_ends_what_refreshes_were_refused": _NO_SESSION,
    "test_edit_with_reconnect_connects_anew": _NO_SESSION,
    "test_rebuild_makes_one_connection_anew": _NO_SESSION,
    "test_disconnect_says_why_when_and_who": _NO_SESSION,
    "test_a_disconnect_during_a_contact_stands": _NO_SESSION,
    "test_a_cancelled_writer_leaves_the_others_alone": _NO_PAUSE,
    "test_a_repeated_write_gives_the_same_answer_and_writes_nothing": _NO_NETWORK,
    "test_a_key_is_good_for_one_write": _NO_NETWORK,
}


class Watched(RunbookPlatform):
    """With somebody who looks at Gateway Monitoring whenever a connection is waited for."""

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        actual = await super().settle(name, seconds=seconds)
        if actual.status.state is not StatusState.CONNECTING:
            return actual
        with self._lock.write():
            record = self._file.read()
            seen = TickedWrite(ACTOR, "", shows=CONNECTION_SUCCEEDED)
            after = self._shown(actual, seen)
            self._file.write(replace(record, gateways={**record.gateways, name: after}))
        return after


@pytest.fixture
def platforms(tmp_path: Path) -> Platforms:
    def open_one(owner: str = "ours", **settings: Any) -> Platform:
        return Watched(tmp_path, RECORD, owner, **settings)

    return open_one


class TestContract(PlatformContract):
    """What needs a session or a network is left out, by name and reason."""


for _name in HOLDS_NOT:
    setattr(TestContract, _name, None)


def test_what_is_left_out_is_of_the_contract() -> None:
    assert HOLDS_NOT.keys() <= vars(PlatformContract).keys()


# what a record is


def target(**fields: Any) -> Target:
    place = Place("gateways.yaml")
    return Target("aicc", "runbook", place, "ours", "gateways.d", (), **fields)


def opened(root: Path, owner: str = "ours") -> RunbookPlatform:
    return RunbookPlatform(root, RECORD, owner)


def mailbox(name: str = "in1", **fields: Any) -> Gateway:
    given = {"user_id": "support@example.com", **fields}
    return Gateway(name, ProtocolType.IMAP, "mail.example.com", 993, **given)


def files_in(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


async def recorded(root: Path, *names: str) -> str:
    """A record of some gateways; its text."""
    for name in names:
        await opened(root).create(wanted(mailbox(name)), write())
    return (root / RECORD).read_text()


async def test_it_is_by_hand(tmp_path: Path) -> None:
    assert is_by_hand(target())
    platform = open_platform(target(record=RECORD), tmp_path)
    snapshot = await platform.read()
    assert (snapshot.gateways, snapshot.supervised, snapshot.told) == ((), True, True)
    assert files_in(tmp_path) == [], "reading makes nothing"


async def test_its_bytes_follow_from_what_it_says(tmp_path: Path) -> None:
    await opened(tmp_path).create(wanted(mailbox("b")), write())
    text = await recorded(tmp_path, "a")
    (tmp_path / RECORD).write_text(json.dumps(json.loads(text)))
    assert [one.gateway.name for one in (await opened(tmp_path).read()).gateways] == ["a", "b"]
    await opened(tmp_path).tick(Tick("2026-11-22T10:00:00Z", "a", None, "r", "b", Action.EDIT))
    again = (tmp_path / RECORD).read_text()
    assert again == json.dumps(json.loads(again), indent=2, sort_keys=True) + "\n"
    assert PASSWORD not in again


async def test_a_write_and_its_ticks_are_one(tmp_path: Path) -> None:
    platform = opened(tmp_path)
    tick = Tick("2026-11-22T10:00:00Z", "bob", "c0ffee", "run-9", "in1", Action.CREATE, "sha", 4, 4)
    made = TickedWrite(Actor("bob", "c0ffee", "run-9"), "", None, (tick,), CONNECTION_SUCCEEDED)
    actual = await platform.create(wanted(mailbox()), made)
    assert actual.status.state is StatusState.SUCCEEDED
    (stored,) = await platform.ticks()
    assert (stored.step, stored.steps, stored.actor) == (4, 4, "bob")
    assert stored.changes is not None
    assert FieldChange("host", None, "mail.example.com") in stored.changes
    (told,) = (await platform.history(["in1"]))["in1"]
    assert (told.actor, told.commit, told.action) == ("bob", "c0ffee", "create")


@pytest.mark.parametrize("cause", list(Cause))
async def test_disconnect_says_why_when_and_who(tmp_path: Path, cause: Cause) -> None:
    platform = opened(tmp_path)
    await platform.create(wanted(mailbox()), write())
    shown = TickedWrite(ACTOR, "", "1", shows=CONNECTION_SUCCEEDED)
    after = await platform.disconnect("in1", shown, cause=cause)
    assert (after.status.state, after.status.cause) == (StatusState.DISCONNECTED, cause)
    assert after.has_password is (cause is not Cause.UNDECLARED)
    assert await only(platform) == after


async def test_taking_over_what_nobody_told_of(tmp_path: Path) -> None:
    adopted = await opened(tmp_path).adopt(wanted(mailbox()), write())
    assert (adopted.owner, adopted.revision) == ("ours", "1")


# what can be wrong with it


def faults(text: str) -> dict[str, tuple[bytes, str]]:
    lines = text.splitlines()
    broken = "\n".join([*lines[:5], "<<<<<<< HEAD", *lines[5:], ">>>>>>> theirs"])
    twice = text.replace('"in1": {', '"in1": {}, "in1": {', 1)
    newer = text.replace('"format_version": "1.0"', '"format_version": "2.0"')
    return {
        "cut": (text[:200].encode(), r"aicc\.json:\d+:\d+: it is not JSON"),
        "empty": (b"", r"aicc\.json:1:1: it is not JSON"),
        "conflict": (broken.encode(), r"aicc\.json:6: git left a conflict"),
        "twice": (twice.encode(), r"aicc\.json:\d+: 'in1' is there twice"),
        "newer": (newer.encode(), r"its format is 2\.0, and this version reads 1\."),
        "no text": (b"{\n\xff}", r"aicc\.json:2: it is not UTF-8"),
        "a list": (b"[]", "does not fit"),
        "deep": (b"[" * 100_000, "not a record|not JSON|does not fit"),
        "a constant": (b'{"format_version": NaN}', "not a record"),
        "a port": (text.replace('"port": 993', '"port": "993"').encode(), r"gateways\.in1"),
        "a key": (text.replace('"host":', '"hist":').encode(), r"gateways\.in1\.gateway"),
        "a revision": (text.replace('"revision": "1"', '"revision": "x"').encode(), "revision"),
        "a status": (text.replace('"connecting"', '"Connected"').encode(), r"status\.state"),
        "a password": (text.replace('"labels": {}', '"user_password": "x"').encode(), "gateway"),
    }


@pytest.mark.parametrize("name", list(faults("")))
async def test_a_record_that_is_broken(tmp_path: Path, name: str) -> None:
    """It is named, with its line where that can be told, and stays as it is."""
    content, message = faults(await recorded(tmp_path, "in1"))[name]
    (tmp_path / RECORD).write_bytes(content)
    with pytest.raises(InvalidInput, match=message) as caught:
        await opened(tmp_path).read()
    assert caught.value.hint
    with pytest.raises(InvalidInput):
        await opened(tmp_path).create(wanted(mailbox("in2")), write())
    assert (tmp_path / RECORD).read_bytes() == content


async def test_a_certificate_of_another_digest(tmp_path: Path) -> None:
    anchored = mailbox(certificate=Certificate("root.pem", "-----BEGIN CERTIFICATE-----"))
    await opened(tmp_path).create(wanted(anchored), write())
    record = json.loads((tmp_path / RECORD).read_text())
    record["certificates"] = dict.fromkeys(record["certificates"], "another")
    (tmp_path / RECORD).write_text(json.dumps(record))
    with pytest.raises(InvalidInput, match="it was altered"):
        await opened(tmp_path).read()


@pytest.mark.parametrize("name", ["../elsewhere.json", "/etc/aicc.json", "link.json", "loop.json"])
async def test_a_record_outside_of_the_project(tmp_path: Path, name: str) -> None:
    root = tmp_path / "project"
    root.mkdir()
    (tmp_path / "elsewhere.json").write_text("{}")
    (root / "link.json").symlink_to(tmp_path / "elsewhere.json")
    (root / "loop.json").symlink_to(root / "loop.json")
    platform = RunbookPlatform(root, name, "ours")
    for attempt in (platform.read(), platform.create(wanted(mailbox()), write())):
        with pytest.raises(InvalidInput, match="leads out of the project"):
            await attempt
    assert (tmp_path / "elsewhere.json").read_text() == "{}"


async def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / RECORD).symlink_to("records/aicc.json")
    (tmp_path / "records/aicc.json").write_text('{"format_version": "1.0", "certificates": {},')
    with pytest.raises(InvalidInput):
        await opened(tmp_path).read()
    (tmp_path / "records/aicc.json").unlink()
    await recorded(tmp_path, "in1")
    assert (tmp_path / RECORD).is_symlink()
    assert "in1" in (tmp_path / "records/aicc.json").read_text()


async def test_a_record_that_is_no_file(tmp_path: Path) -> None:
    (tmp_path / RECORD).mkdir()
    with pytest.raises(InvalidInput, match="not a regular file"):
        await opened(tmp_path).read()
    (tmp_path / RECORD).rmdir()
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(InvalidInput, match="not a regular file"):
        await opened(tmp_path).read()


async def test_the_mode_of_the_file_stays(tmp_path: Path) -> None:
    await recorded(tmp_path, "in1")
    (tmp_path / RECORD).chmod(0o600)
    await recorded(tmp_path, "in2")
    assert (tmp_path / RECORD).stat().st_mode & 0o777 == 0o600


def child(script: str, root: Path, *prefix: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", textwrap.dedent(script), str(root)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )


WRITES = """
    import asyncio, pathlib, sys
    from reconciler.model import Action, Tick
    from reconciler.platforms.runbook import RunbookPlatform

    async def main(root):
        platform = RunbookPlatform(root, "aicc.json", "ours")
        for number in range(1, 100000):
            at = "2026-11-22T10:00:00Z"
            await platform.tick(Tick(at, "a", None, "r", "in1", Action.EDIT, "c", number, 9))
            print(number, flush=True)

    asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_killed_while_it_writes(tmp_path: Path) -> None:
    """The record is the old one or the one that follows, never a part of one."""
    await recorded(tmp_path, "in1")
    for _ in range(4):
        writer = child(WRITES, tmp_path)
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.communicate()[0].splitlines()
        last = int((rest or said)[-1])
        ticks = await opened(tmp_path).ticks()
        assert ticks[-1].step in {last, last + 1}
        assert (await only(opened(tmp_path))).gateway.name == "in1"


async def test_what_a_killed_writer_left_is_cleared(tmp_path: Path) -> None:
    """And nothing else: an editor keeps files of much the same name."""
    left, kept = tmp_path / ".aicc.json.unfinished-x1y2z3ab", tmp_path / ".aicc.json.swp"
    left.write_text("{")
    kept.write_text("")
    await recorded(tmp_path, "in1")
    assert not left.exists()
    assert kept.exists()


async def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    script = WRITES.replace("100000", "40")
    writers = [child(script, tmp_path) for _ in range(2)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(await opened(tmp_path).ticks()) == 2 * 39


HOLDS = """
    import asyncio, os, pathlib, sys
    from reconciler.model import Actor
    from reconciler.platforms.runbook import RunbookPlatform

    async def main(root):
        platform = RunbookPlatform(root, "aicc.json", "ours")
        async with platform.lock(Actor("carol", None, "run-7"), seconds=0):
            print("held", flush=True)
            await asyncio.sleep(60)

    asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    holder = child(HOLDS, tmp_path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(Locked, match=r"carol \(run run-7\) holds the lock since"):
        async with opened(tmp_path).lock(ACTOR, seconds=0):
            pytest.fail("two hold the lock")
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    async with opened(tmp_path).lock(ACTOR, seconds=0):
        pass


@pytest.mark.interop("unshare", "mount")
async def test_a_read_only_folder(tmp_path: Path) -> None:
    """It can be planned from, and not applied to; the record is as it was."""
    need_own_mounts(tmp_path)
    text = await recorded(tmp_path, "in1")
    script = """
        import asyncio, pathlib, subprocess, sys
        from reconciler.errors import PlatformUnavailable
        from reconciler.model import Actor
        from tests.platforms.test_runbook import mailbox, opened, wanted, write

        async def main(root):
            subprocess.run(["mount", "--bind", root, root], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
            assert len((await opened(root).read()).gateways) == 1
            for attempt in (lock(root), opened(root).create(wanted(mailbox("in2")), write())):
                try:
                    await attempt
                except PlatformUnavailable as error:
                    assert "cannot be written" in error.message, error.message
                else:
                    raise SystemExit("written")
            print("refused", flush=True)

        async def lock(root):
            async with opened(root).lock(Actor("a"), seconds=0):
                pass

        asyncio.run(main(pathlib.Path(sys.argv[1])))
    """
    refused = child(script, tmp_path, "unshare", "--mount")
    assert refused.communicate()[0] == "refused\n"
    assert (tmp_path / RECORD).read_text() == text
