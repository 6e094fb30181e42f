"""Many ladders: what is not tried from here, and that each is heard of as it is done."""

import asyncio

import pytest

from reconciler.model import Gateway, Ladder, RungState, Secret
from reconciler.service.ladders import Ascent, climb_each
from reconciler.service.sessions.base import Phase
from tests.rig.gateways import IMAP, NONE


def gateway(name: str, host: str, port: int) -> Gateway:
    return Gateway(name, IMAP, host, port, "someone@example.test", encryption_mode=NONE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "10.0.0.1", "169.254.169.254"])
async def test_private_hosts_are_not_tried_where_they_are_not_ours_to_try(host: str) -> None:
    """A27: with a service elsewhere, whoever writes a declaration cannot look around from here."""
    (ladder,) = await climb_each([Ascent(gateway("a", host, 143))], private_hosts=False)
    assert ladder.failure is None
    assert {one.state for one in ladder.rungs[1:]} == {RungState.SKIPPED}
    assert {one.detail for one in ladder.rungs} == {
        "not tried from here: the host has a loopback, private or link-local address"
    }


async def test_unusual_ports_are_not_tried_either() -> None:
    """A27: not even looked up."""
    heard: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, one: heard.put_nowait(one), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        one = Ascent(gateway("a", "localhost", port), up_to=Phase.TCP)
        (refused,) = await climb_each([one], private_hosts=False)
        assert refused.rungs[0].detail.endswith(f"port {port} is not one that mail servers use")
        assert heard.empty()
        (tried,) = await climb_each([one])
        assert tried.reached_the_top
        assert tried.rungs[1].state is RungState.OK
        (await heard.get()).close()


async def test_each_is_heard_of_and_all_are_sorted() -> None:
    heard: list[Ladder] = []
    ascents = [
        Ascent(gateway(name, "localhost", 1), Secret(name), Phase.DNS) for name in ("c", "a", "b")
    ]
    ladders = await climb_each(ascents, climbed=heard.append)
    assert [one.gateway for one in ladders] == ["a", "b", "c"]
    assert {one.gateway for one in heard} == {"a", "b", "c"}
    assert all(one.reached_the_top for one in ladders)
