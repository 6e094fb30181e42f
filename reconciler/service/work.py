"""What is done with a session while it is open: the supervisor opens it, the work uses it.

A gateway's session has one work, by its protocol: sending, or receiving.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final

from reconciler.model import ActualGateway, ProtocolType
from reconciler.service.service import Service
from reconciler.service.sessions.base import MailSession


@dataclass(slots=True)
class Held:
    """One gateway whose session is open. `actual` is replaced when message fields change.

    `wake` is set when there may be something to do: a message to send, a changed gateway. `another`
    opens one more session to the same server, paced like every connection, and closes it after use.
    """

    service: Service
    tenant: str
    actual: ActualGateway
    session: MailSession
    another: Callable[[], AbstractAsyncContextManager[MailSession]]
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.actual.gateway.name


@dataclass(frozen=True, slots=True)
class Soon:
    """The session is better made anew: as the back-off says, after `most` seconds at the latest.

    It is the server that gives the reason. One that does so in each session keeps nobody busy.
    """

    most: float


Work = Callable[[Held], Awaitable[float | Soon]]
"""Works until cancelled, or until the session is to be closed for now.

Returns the seconds after which the session is to be opened again: a POP3 session is closed after
each look, since it keeps everybody else out of the mailbox. Meanwhile the status stays.

Raises:
    SessionError: the session was lost; the supervisor opens another.

"""


async def keep(held: Held) -> float:
    """Only keep the session open."""
    while True:
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                await held.session.wire.peek(1)  # raises at once where the server has closed it
        except TimeoutError:
            pass
        else:
            await asyncio.sleep(_UNASKED_SECONDS)
        await held.session.keep_alive()


KEEP_ALIVE_SECONDS: Final = 60.0
_UNASKED_SECONDS: Final = 1.0
"""A server that says something unasked is listened to no more often."""

KEEP_ONLY: Final[Mapping[ProtocolType, Work]] = dict.fromkeys(ProtocolType, keep)
"""Keeping the session of every connected gateway."""
