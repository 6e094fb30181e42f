"""Announcing received messages to webhooks: at least once, in order while all goes well.

Each webhook has a courier. It tells the messages of one gateway one after the other, and those of
several at once. A target that fails is left alone for longer and longer, and asked with a single
announcement whether it works again. An announcement that fails twice lets the next one pass, so
that none can hold up the rest.
"""

import asyncio
import logging
import random
import sqlite3
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reconciler.clock import exact
from reconciler.errors import GatewaysError
from reconciler.model import Secret
from reconciler.service.feed import About, Changed
from reconciler.service.mail.inbox import Inbox
from reconciler.service.mail.webhook_event import event_body, event_id
from reconciler.service.mail.webhook_limits import AT_ONCE, Patience, Rooms
from reconciler.service.mail.webhook_queue import Delivery, Queue, Webhook
from reconciler.service.mail.webhook_signature import signed
from reconciler.service.mail.webhook_store import Webhooks
from reconciler.service.mail.webhook_target import Answer, Caller, Outcome
from reconciler.service.service import Service

logger = logging.getLogger("gateways.webhooks")

_LOOK_SECONDS: Final = 60.0
_FAULT_SECONDS: Final = 5.0
_CLEARED_AT_ONCE: Final = 1_000
_MISSING: Final = "the message is no longer kept"


@dataclass(frozen=True, slots=True)
class Office:
    """What all couriers share."""

    service: Service
    caller: Caller
    patience: Patience
    rooms: Rooms


async def run(
    service: Service,
    *,
    caller: Caller | None = None,
    patience: Patience | None = None,
    rooms: Rooms | None = None,
) -> None:
    """Announce received messages, of every tenant, until cancelled."""
    if caller is None:
        private_hosts = service.settings.sessions.private_hosts
        caller = Caller(ssl.create_default_context(), private_hosts=private_hosts)
    office = Office(service, caller, patience or Patience(), rooms or Rooms())
    couriers: dict[str, Courier] = {}
    with service.feed.listen(About.INBOX, About.WEBHOOK) as listener:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_clear_all(service))
            while True:
                for webhook in await _webhooks(service):
                    if webhook.id not in couriers:
                        courier = couriers[webhook.id] = Courier(office, webhook)
                        tasks.create_task(_employ(courier, couriers))
                while True:
                    changed = await listener.next()
                    _wake(couriers, changed)
                    if changed.about is About.WEBHOOK:
                        break


async def _employ(courier: "Courier", couriers: dict[str, "Courier"]) -> None:
    """Until the webhook is removed; then what it was still to be told is cleared away."""
    await courier.run()
    del couriers[courier.webhook.id]
    await _clear(courier.service, courier.webhook.id)


async def _clear(service: Service, webhook_id: str) -> None:
    with suppress(GatewaysError):  # it is tried again at the next start
        while await service.write(
            lambda connection: Queue(connection).clear(webhook_id, _CLEARED_AT_ONCE)
        ):
            pass


async def _clear_all(service: Service) -> None:
    """What an earlier process did not come to."""
    with suppress(GatewaysError):
        for webhook_id in await service.ask(lambda connection: Queue(connection).removed()):
            await _clear(service, webhook_id)


async def _webhooks(service: Service) -> tuple[Webhook, ...]:
    while True:
        try:
            return await service.look(lambda connection: Queue(connection).webhooks())
        except GatewaysError as error:
            logger.warning("webhooks cannot be read: %s", error.message)
            await asyncio.sleep(_FAULT_SECONDS)


def _wake(couriers: dict[str, "Courier"], changed: Changed) -> None:
    for courier in couriers.values():
        if courier.concerns(changed):
            courier.wake.set()


class Courier:
    """Announces messages to one webhook, until that is removed."""

    def __init__(self, office: Office, webhook: Webhook) -> None:
        self.wake = asyncio.Event()
        self._office = office
        self.service = office.service
        self.webhook = webhook
        self._busy: set[str] = set()
        self._last = ""
        self._failed_at = 0.0

    def concerns(self, changed: Changed) -> bool:
        webhook = self.webhook
        mine = changed.about is About.WEBHOOK or webhook.gateway in {None, changed.gateway}
        return mine and webhook.tenant == changed.tenant

    async def run(self) -> None:
        async with asyncio.TaskGroup() as deliveries:
            while True:
                self.wake.clear()
                try:
                    due, pause = await self.service.look(self._look)
                except GatewaysError as error:
                    logger.warning("webhook %s: %s", self.webhook.id, error.message)
                    due, pause = [], _FAULT_SECONDS
                if due is None:
                    return
                for delivery in due:
                    self._busy.add(delivery.gateway)
                    self._last = delivery.gateway
                    deliveries.create_task(self._deliver(delivery))
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self.wake.wait()

    def _look(self, connection: sqlite3.Connection) -> tuple[list[Delivery] | None, float]:
        """What is to be announced now, and seconds until there may be more; None ends it all."""
        queue = Queue(connection)
        webhook = queue.find(self.webhook.id)
        if webhook is None:
            return None, 0
        self.webhook = webhook
        if webhook.disabled_at:
            return [], _LOOK_SECONDS
        now = self.service.clock()
        wait = _seconds_until(webhook.opens_at, now)
        if wait > 0:
            return [], min(wait, _LOOK_SECONDS)
        wanted = (1 if webhook.failures else AT_ONCE) - len(self._busy)
        due = queue.due(webhook, self._last, self._busy, wanted, exact(now))
        if due or self._busy:
            return due, _LOOK_SECONDS
        soonest = queue.soonest(webhook)
        wait = _LOOK_SECONDS if soonest is None else _seconds_until(soonest, now)
        return due, min(max(wait, 0), _LOOK_SECONDS)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._announce(delivery)
        except GatewaysError as error:
            # the database or the key cannot be used: without a pause the target would be told
            # again and again
            logger.warning("webhook %s: %s", delivery.webhook, error.message)
            await asyncio.sleep(_FAULT_SECONDS)
        except Exception:
            # one announcement that we cannot make must not end all the others
            logger.exception("webhook %s: an announcement failed by a bug", delivery.webhook)
            await asyncio.sleep(_LOOK_SECONDS)
        finally:
            self._busy.discard(delivery.gateway)
            self.wake.set()

    async def _announce(self, delivery: Delivery) -> None:
        webhook = self.webhook
        async with self._office.rooms.place(webhook):
            started = asyncio.get_running_loop().time()
            body, keys = await self.service.look(
                lambda connection: self._told(connection, webhook, delivery)
            )
            if body is None:
                await self.service.write(
                    lambda connection: Queue(connection).failed(
                        delivery, _MISSING, exact(self.service.clock()), None
                    )
                )
                self._tell(webhook, delivery, Answer(Outcome.AGAIN, _MISSING), given_up=True)
                return
            event = event_id(delivery.message)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "gateways",
                **signed(event, int(self.service.clock().timestamp()), body, keys),
            }
            answer = await self._office.caller.call(webhook.url, body, headers)
        given_up = await self.service.write(
            lambda connection: self._record(connection, delivery, answer, started)
        )
        self._tell(webhook, delivery, answer, given_up=given_up)

    def _told(
        self, connection: sqlite3.Connection, webhook: Webhook, delivery: Delivery
    ) -> tuple[bytes | None, tuple[Secret, ...]]:
        kept = Inbox(connection, webhook.tenant).find(delivery.gateway, delivery.message)
        if kept is None:
            return None, ()
        webhooks = Webhooks(connection, webhook.tenant, self.service.vault, self.service.clock)
        return event_body(kept.message), webhooks.keys(webhook)

    def _record(
        self, connection: sqlite3.Connection, delivery: Delivery, answer: Answer, started: float
    ) -> bool:
        """Store what became of an attempt; True if the announcement is given up."""
        queue = Queue(connection)
        webhook = queue.find(delivery.webhook)
        if webhook is None:
            return False
        now = self.service.clock()
        match answer.outcome:
            case Outcome.TAKEN:
                queue.taken(delivery)
                return False
            case Outcome.GONE:
                queue.disable(webhook, answer.words, exact(now))
                return False
            case Outcome.AGAIN:
                return self._put_off(queue, webhook, delivery, answer, started)

    def _put_off(
        self, queue: Queue, webhook: Webhook, delivery: Delivery, answer: Answer, started: float
    ) -> bool:
        patience = self._office.patience
        now = self.service.clock()
        spread = random.uniform(0.8, 1.2)  # noqa: S311 - spreads load
        asked = min(answer.pause, patience.pauses[-1])
        given_up = (
            delivery.first_attempt_at is not None
            and -_seconds_until(delivery.first_attempt_at, now) >= patience.given_up_after
        )
        pause = timedelta(seconds=max(patience.announcement(delivery.attempts) * spread, asked))
        queue.failed(delivery, answer.words, exact(now), None if given_up else exact(now + pause))
        # what was under way when the target failed says nothing that is not known already
        if started >= self._failed_at:
            self._failed_at = asyncio.get_running_loop().time()
            pause = timedelta(seconds=max(patience.target(webhook.failures) * spread, asked))
            queue.pause(webhook, answer.words, exact(now), exact(now + pause))
        return given_up

    def _tell(
        self, webhook: Webhook, delivery: Delivery, answer: Answer, *, given_up: bool
    ) -> None:
        """Count an attempt, and log what an operator can do something about."""
        metrics = self.service.metrics
        metrics.deliveries.labels(answer.outcome.value).inc()
        about = {"tenant": webhook.tenant, "gateway": delivery.gateway, "webhook": webhook.id}
        if given_up:
            metrics.given_up.inc()
            logger.error("an announcement is given up: %s", answer.words, extra=about)
        elif answer.outcome is Outcome.GONE:
            logger.warning("the target wants no more: it %s", answer.words, extra=about)
        elif answer.outcome is Outcome.AGAIN and not webhook.failures:
            logger.warning("the target fails: %s", answer.words, extra=about)
        elif answer.outcome is Outcome.TAKEN and webhook.failures:
            logger.info("the target works again", extra=about)


def _seconds_until(moment: str, now: datetime) -> float:
    """Negative for what is past; an empty moment is now."""
    return (datetime.fromisoformat(moment) - now).total_seconds() if moment else 0
