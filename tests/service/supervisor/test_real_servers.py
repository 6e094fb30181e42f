"""Sessions that are kept with Postfix and Dovecot, and what those do to them."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.model import EncryptionMode, FailureKind, Gateway, ProtocolType, StatusState
from reconciler.service import work
from reconciler.service.supervisor import backoff
from tests.rig import MailRig
from tests.rig.gateways import EVERY_WAY, IMAP, PORTS, TLS, make_gateway
from tests.service.supervisor.stage import TENANT, Stage, staged, until

pytestmark = pytest.mark.interop

SUCCEEDED, FAILED = StatusState.SUCCEEDED, StatusState.FAILED
PASSWORD = "pw-alice"


def on(
    rig: MailRig, name: str, protocol: ProtocolType, mode: EncryptionMode = TLS, **fields: str
) -> Gateway:
    port = rig.ports[PORTS[protocol, mode]]
    anchor = rig.authority.certificate
    return replace(make_gateway(protocol, mode, port, anchor=anchor, **fields), name=name)


async def doveadm(rig: MailRig, *words: str) -> str:
    """On a thread: Dovecot may wait until we have heard what it says."""
    done = await asyncio.to_thread(
        subprocess.run,
        ["doveadm", "-c", str(rig.folder / "dovecot.conf"), *words],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return str(done.stdout)


async def sessions(rig: MailRig, user: str) -> int:
    """How many IMAP and POP3 sessions Dovecot has of a user."""
    lines = (await doveadm(rig, "who", "-1")).splitlines()[1:]
    return sum(line.split()[0] == user for line in lines)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as running:
        yield running


async def test_every_protocol_and_encryption_at_once(
    tmp_path: Path, rig: MailRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is kept alive; and at the end Dovecot has none left."""
    monkeypatch.setattr(work, "KEEP_ALIVE_SECONDS", 0.05)
    users = ("alice@example.test", "bob@example.test", "long@example.test")
    async with staged(tmp_path) as stage:
        for number, (protocol, mode) in enumerate(EVERY_WAY):
            user = users[number % 3]  # only one can have the maildrop of POP3
            gateway = on(rig, f"{protocol}-{mode}", protocol, mode, user_id=user)
            await stage.connected(gateway, rig.users[user])
        await asyncio.sleep(0.5)
        assert [actual.status.state for actual in await stage.all()] == [SUCCEEDED] * 9
        assert stage.supervisor.counts().reconnects == 0
        assert await sessions(rig, "alice@example.test") == 2
    assert [await sessions(rig, user) for user in users] == [0, 0, 0]


async def test_a_session_that_the_operator_kicks_comes_back(stage: Stage, rig: MailRig) -> None:
    """G10: what Dovecot does with `doveadm kick`."""
    gateway = on(rig, "support", IMAP, user_id="bob@example.test")
    await stage.connected(gateway, "pw-bob")
    await doveadm(rig, "kick", "bob@example.test")
    await until(lambda: stage.supervisor.counts().reconnects == 1)

    def open_again() -> bool:
        facts = stage.supervisor.facts(TENANT, "support")
        return facts is not None and facts.open_since is not None

    await until(open_again)
    assert await sessions(rig, "bob@example.test") == 1


@pytest.mark.parametrize("protocol", ProtocolType)
async def test_a_wrong_password_is_refused_and_then_corrected(
    stage: Stage, rig: MailRig, protocol: ProtocolType
) -> None:
    """G12, G39."""
    gateway = on(rig, "support", protocol)
    await stage.create(gateway, "wrong")
    failure = (await stage.settled()).status.failure
    assert failure
    assert (failure.kind, failure.field) == (FailureKind.AUTH, "user_password")
    await stage.edit(gateway, PASSWORD)
    assert (await stage.settled()).status.state is SUCCEEDED


class FewSessions(MailRig):
    """Dovecot alone, which grants each user ten sessions, as it does by itself."""

    def __init__(self) -> None:
        super().__init__(postfix=False)

    def _run(self, command: Sequence[str]) -> None:
        file = self.folder / "dovecot.conf"
        granted = "mail_max_userip_connections = "
        text = file.read_text()
        assert f"{granted}20000" in text
        file.write_text(text.replace(f"{granted}20000", f"{granted}10"))
        super()._run(command)


@pytest.fixture
def few_sessions() -> Iterator[FewSessions]:
    with FewSessions() as rig:
        yield rig


async def test_more_sessions_than_dovecot_grants(
    stage: Stage, few_sessions: MailRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G14: ten of fourteen are connected, the others are busy; one that goes makes room."""
    monkeypatch.setattr(backoff, "BASE_SECONDS", 0.1)
    names = [f"gateway-{number}" for number in range(14)]
    await stage.create_all((on(few_sessions, name, IMAP), PASSWORD) for name in names)

    async def states() -> list[StatusState]:
        return sorted(actual.status.state for actual in await stage.all())

    async with asyncio.timeout(30):
        while await states() != [FAILED] * 4 + [SUCCEEDED] * 10:  # noqa: ASYNC110 - it is read
            await asyncio.sleep(0.05)
    failed = [actual for actual in await stage.all() if actual.status.failure]
    assert {one.status.failure and one.status.failure.kind for one in failed} == {FailureKind.BUSY}
    connected = next(one.gateway.name for one in await stage.all() if not one.status.failure)
    await stage.disconnect(connected)
    async with asyncio.timeout(30):
        while (await states()).count(SUCCEEDED) < 10:  # noqa: ASYNC110 - it is read
            await asyncio.sleep(0.05)
