"""Trying connections takes its time; whoever waits is told for what."""

import asyncio
import socket

import pytest

from reconciler.cli import checking
from reconciler.cli.common import Settings
from reconciler.model import (
    Action,
    Change,
    CheckState,
    DesiredGateway,
    EncryptionMode,
    Gateway,
    Place,
    Plan,
    ProtocolType,
    Target,
)
from reconciler.pipeline import Planned
from reconciler.service.ladders import Ascent
from reconciler.service.sessions.base import Phase


async def test_what_is_still_tried_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checking, "PATIENCE", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        ascents = [
            Ascent(
                Gateway(
                    f"slow-{number}",
                    ProtocolType.IMAP,
                    "127.0.0.1",
                    port,
                    encryption_mode=EncryptionMode.NONE,
                ),
                up_to=Phase.CAPABILITIES,
            )
            for number in range(5)
        ]
        trying = asyncio.create_task(checking._climb(ascents, Settings(), private_hosts=True))
        said = ""
        async with asyncio.timeout(20):
            while "still trying" not in said:
                await asyncio.sleep(0.01)
                said += capsys.readouterr().err
        assert "still trying slow-0, slow-1, slow-2 and 2 more\n" in said
        trying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trying
        capsys.readouterr()
        await asyncio.sleep(0.1)
        assert capsys.readouterr().err == "", "who tells ends with what it tells of"


@pytest.mark.parametrize("rung", ["dns", "tcp", "tls", "login"])
@pytest.mark.parametrize("platform", ["http", "embedded"])
def test_private_hosts_are_tried_for_an_embedded_target_only(platform: str, rung: str) -> None:
    """A27: a declaration must not have a CI job look around in its own network."""
    gateway = Gateway("a", ProtocolType.IMAP, "127.0.0.1", 143)
    place = Place("gateways.d/a.yaml")
    planned = Planned(
        Plan("t", platform, (Change("a", Action.CREATE, "not on the platform"),)),
        {"a": DesiredGateway(gateway, lambda: place)},
        {},
    )
    target = Target("t", platform, place, "acme", "gateways.d", (), check_logins=("*",))
    plan = checking.checked_by(planned, target, rung, Settings())
    (change,) = plan.changes
    assert change.check
    assert (change.check.state is CheckState.UNKNOWN) is (platform == "http")
    assert ("not tried from here" in change.check.note) is (platform == "http")
    assert plan.digests.plan.startswith("sha256:")
