"""What a server says at the very moment in which somebody stops listening is still heard later."""

import asyncio
import time

import pytest

from reconciler.service.sessions.smtp import SmtpSession
from tests.rig.gateways import SMTP
from tests.rig.scripted import Peer, scripted
from tests.service.dialogues import GREETING, LOGIN, opened


async def test_a_reply_that_has_come_is_not_lost_to_a_cancel() -> None:
    """G40: it may be the only word on what became of a message."""

    def script(peer: Peer) -> None:
        peer.say(GREETING[SMTP])
        peer.answer(LOGIN[SMTP], b"235 welcome\r\n")
        peer.hear()
        time.sleep(0.05)  # the client listens by now
        peer.say(b"250 the answer\r\n")

    with scripted(script) as server:
        session = await opened(SMTP, server.port)
        assert isinstance(session, SmtpSession)
        await session.wire.send(b"NOOP")
        listening = asyncio.create_task(session.read_reply())
        await asyncio.sleep(0.01)
        time.sleep(0.2)  # noqa: ASYNC251 - the answer comes while nothing is looked at
        for _ in range(2):  # one round to see that there is something, one to act on it
            await asyncio.sleep(0)
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        async with asyncio.timeout(5):
            reply = await session.read_reply()
        assert (reply.code, reply.lines) == (250, (b"the answer",))
        await session.close()
