"""Attempts at sending one gateway's messages: which are to be made, and what came of each."""

import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, TypeVar

from reconciler.clock import exact, stamp
from reconciler.errors import PlatformUnavailable
from reconciler.messages import Recipient, RecipientState
from reconciler.service.mail.queue import (
    Claimed,
    Queue,
    Waiting,
    is_queued,
    judge_abandoned,
    judge_interrupted,
)
from reconciler.service.mail.results import Results
from reconciler.service.service import Service
from reconciler.service.sessions.transfer import Answer

logger = logging.getLogger("gateways.sending")

T = TypeVar("T")

_REFUSED: Final = range(500, 600)
_JITTER: Final = 0.2
_DOUBLED_AT_MOST: Final = 16


class Attempts:
    """What of the queue's ways a sender needs; results are written while it goes on."""

    def __init__(self, service: Service, tenant: str, gateway: str) -> None:
        self._service = service
        self._gateway = (tenant, gateway)
        self._results = Results(service, tenant, gateway)
        metrics = service.metrics
        self._bytes_out = metrics.message_bytes.labels("out")
        self._outcomes = {
            state: metrics.sent.labels(state.value)
            for state in RecipientState
            if state is not RecipientState.QUEUED
        }

    async def settle_interrupted(self) -> None:
        """Settle what was under way when an earlier process ended, or the last work on these."""
        service, handovers = self._service, self._service.handovers
        epoch, now = service.epoch, exact(service.clock())
        if handovers.started:
            noted = handovers.now()
            await self.write(lambda queue: judge_abandoned(queue, epoch, noted, now))
            return
        earlier = handovers.earlier()
        await service.write(lambda connection: judge_interrupted(connection, epoch, earlier, now))
        if not handovers.started:
            handovers.start(epoch)

    async def next_due(self) -> float | None:
        """Seconds until the next attempt, 0 if it is now; None where nothing waits."""
        due = await self._service.look(lambda connection: self._queue(connection).next_due())
        if due is None:
            return None
        return max(0.0, (datetime.fromisoformat(due) - self._service.clock()).total_seconds())

    async def claim(self, most: int) -> deque[Claimed]:
        """Take what is due, in order, and say so on disk."""
        epoch, now = self._service.epoch, exact(self._service.clock())
        return deque(await self.write(lambda queue: queue.claim(epoch, now, most)))

    async def piece(self, message: Claimed, part: int) -> bytes:
        return await self._service.look(
            lambda connection: self._queue(connection).piece(message.number, part)
        )

    async def write(self, job: Callable[[Queue], T]) -> T:
        return await self._service.write(lambda connection: job(self._queue(connection)))

    async def finish(self) -> None:
        """Wait until what came of attempts is on disk."""
        await self._results.finish()

    # what came of an attempt

    def put_back(self, messages: Iterable[Claimed]) -> None:
        """Messages of which nothing went out, or not all; it does not count as an attempt."""
        for one in messages:
            self._put_back(one.waiting, one.due)

    def _put_back(self, waiting: Waiting, due: str) -> None:
        self._results.add(waiting.number, lambda queue: queue.put_back(waiting, due))

    def answered(self, message: Claimed, answers: Sequence[Answer]) -> None:
        self._bytes_out.inc(message.waiting.size)
        if all(answer.positive for answer in answers):
            with suppress(PlatformUnavailable):  # a help and no more: the outcome is stored next
                self._service.handovers.accepted(message.number)
        self._record(message, [(_meaning(answer), answer.text) for answer in answers])

    def unknown(self, message: Claimed, why: str) -> None:
        """It was handed over, and nobody can tell what became of it: somebody has to decide."""
        logger.warning(
            "message %s of gateway %s may have been sent, or not: %s",
            message.waiting.id,
            self._gateway[1],
            why,
        )
        self._record(message, [(RecipientState.UNKNOWN, why)] * len(message.envelope.recipients))

    def cut(self, message: Claimed, why: str) -> None:
        """The session was lost before all of it had gone out."""
        self._record(message, [(RecipientState.QUEUED, why)] * len(message.envelope.recipients))

    def _record(self, message: Claimed, came_to: Sequence[tuple[RecipientState, str]]) -> None:
        """What each of those that it was sent to has come to, in order."""
        waiting, left = message.waiting, iter(came_to)
        recipients = tuple(
            Recipient(one.address, *next(left), one.attempts + 1) if is_queued(one) else one
            for one in waiting.recipients
        )
        for state, _ in came_to:
            if state in self._outcomes:
                self._outcomes[state].inc()
        now = self._service.clock()
        due = exact(now + self._pause(waiting.attempts))
        self._results.add(
            waiting.number,
            lambda queue: queue.record(waiting, recipients, now=stamp(now), due=due),
        )

    def _pause(self, attempts: int) -> timedelta:
        """Before the next attempt; a little another each time, so that not all come at once."""
        settings = self._service.settings.outbox
        seconds = settings.first_pause * 2 ** min(attempts, _DOUBLED_AT_MOST)
        chance = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - keeps attempts apart
        return timedelta(seconds=min(seconds, settings.longest_pause) * chance)

    def _queue(self, connection: sqlite3.Connection) -> Queue:
        return Queue(connection, *self._gateway)


def _meaning(answer: Answer) -> RecipientState:
    """What a reply code says; one that makes no sense is taken for a refusal for now."""
    if answer.positive:
        return RecipientState.SENT
    return RecipientState.FAILED if answer.code in _REFUSED else RecipientState.QUEUED
