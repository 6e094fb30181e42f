"""Where gateways live: one small protocol, and an explicit table of what fits it."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, cast

from reconciler.errors import InvalidInput
from reconciler.messages import InboxPage, OutgoingMessage, SentMessage
from reconciler.model import (
    Actor,
    ActualGateway,
    Cause,
    DesiredGateway,
    Happening,
    Snapshot,
    Target,
    Tick,
)

HISTORY_KEPT: Final = 100
"""How many happenings of a gateway are told at most: the latest."""


class ReadablePlatform(Protocol):
    """All that planning ever sees: it has no way to write."""

    async def read(self, *, refresh: bool = False) -> Snapshot:
        """Everything, or an error: never half.

        `refresh` logs in again and stores nothing. However often it is asked for, one user and
        password is refused once a run at most, and not again after three refusals.

        Raises:
            PlatformUnavailable: the platform cannot be read.
            Locked: a service holds the platform's database.

        """
        ...

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        """What was done to each gateway, the latest last and `HISTORY_KEPT` at most.

        A name of which nothing is known has none. Raises as `read` does.
        """
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Write:
    """What goes with every write: who does it, a key that makes repeating it harmless, a revision.

    A write is refused with `RevisionMoved` if the gateway is no longer at `revision`; None stands
    for "whatever it is", which only the console buttons say.
    """

    actor: Actor
    key: str
    revision: str | None = None


class Platform(ReadablePlatform, Protocol):
    """What apply and the two console buttons act through.

    A write stores and answers, durably; making the connection is left to `settle`, so that not
    waiting is simply not calling it.
    """

    async def create(self, desired: DesiredGateway, write: Write) -> ActualGateway: ...

    async def edit(
        self, desired: DesiredGateway, write: Write, *, reconnect: bool
    ) -> ActualGateway: ...

    async def rebuild(self, name: str, write: Write, *, force: bool = False) -> ActualGateway:
        """Ask for the connection to be made anew.

        A login that was refused too often is tried once more with `force`, which apply never uses;
        if the server accepts it, the refusals are forgotten.
        """
        ...

    async def disconnect(self, name: str, write: Write, *, cause: Cause) -> ActualGateway:
        """Close the session and make no further attempt.

        With cause `undeclared` the stored password and fingerprint are erased; with cause
        `declared` the stored field `state` becomes disconnected.
        """
        ...

    async def adopt(self, desired: DesiredGateway, write: Write) -> ActualGateway: ...

    async def settle(self, name: str, *, seconds: float) -> ActualGateway:
        """Wait until the gateway has connected, failed or been disconnected.

        After `seconds` at most its status is failed, kind timeout.
        """
        ...

    def lock(self, actor: Actor, *, seconds: float) -> AbstractAsyncContextManager[None]:
        """Hold the target's lock; its lease is renewed meanwhile and expires if the holder dies.

        Raises:
            Locked: another holder kept it for `seconds`; the message says who and since when.

        """
        ...


@dataclass(frozen=True, slots=True)
class TickedWrite(Write):
    """A write that a person has carried out: stored in one stroke with the ticks of its last steps.

    `shows` is the status that the console showed afterwards, in its own words; None where nobody
    has looked.
    """

    ticks: tuple[Tick, ...] = ()
    shows: str | None = None


class ByHand(Platform, Protocol):
    """A platform whose writes a person carries out, step by step, and this tool only notes."""

    @property
    def record(self) -> str:
        """The file that holds what people said, as the project names it."""
        ...

    async def ticks(self) -> tuple[Tick, ...]:
        """What was ticked, the latest last. Raises as `read` does."""
        ...

    async def tick(self, tick: Tick) -> None:
        """Note a step of a change of which more is to be done; durable when this returns."""
        ...


class Mail(Protocol):
    """Sending and receiving through gateways, which a platform that holds sessions offers too."""

    async def send(self, name: str, message: OutgoingMessage, *, key: str) -> SentMessage:
        """Hand a message over; when this returns it is on disk, and no more than once for a key.

        Raises:
            InvalidInput: the message cannot be sent as it is, for example in the gateway's charset.
            RevisionMoved: there is no such gateway.
            Blocked: the gateway cannot send.

        """
        ...

    async def sent(self, name: str, message_id: str) -> SentMessage:
        """What has become of a message, by the id that `send` gave."""
        ...

    async def resend(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        """Send again to those whose state is unknown; whoever has it already gets it twice.

        Raises:
            RevisionMoved: there is no such message.
            Blocked: what became of it is known, or an attempt is under way.

        """
        ...

    async def give_up(self, name: str, message_id: str, *, actor: Actor) -> SentMessage:
        """Make no further attempt. Raises as `resend` does."""
        ...

    async def inbox(self, name: str, *, after: str = "", limit: int = 100) -> InboxPage:
        """What came in after a cursor; from the first message that is kept where there is none."""
        ...

    def raw(self, name: str, message_id: str) -> AsyncIterator[bytes]:
        """A received message as it came, in pieces; an error at the first or at any later one."""
        ...

    async def close(self) -> None: ...


Opener = Callable[[Target, Path], Platform]
MailOpener = Callable[[Target, Path], Mail]

# module:attribute, so that a platform's imports are paid for only by those who use it
PLATFORMS: Mapping[str, str] = {
    "embedded": "reconciler.platforms.embedded:open_platform",
    "http": "reconciler.platforms.http:open_platform",
    "runbook": "reconciler.platforms.runbook:open_platform",
}
BY_HAND: Final = frozenset({"runbook"})
MAIL: Mapping[str, str] = {
    "embedded": "reconciler.platforms.embedded_mail:open_mail",
    "http": "reconciler.platforms.http_mail:open_mail",
}


def open_platform(target: Target, root: Path) -> Platform:
    """Open the platform of a target for apply and for the two console buttons."""
    return _opener(target)(target, root)


def open_readable(target: Target, root: Path) -> ReadablePlatform:
    """Open the platform of a target for planning; an absent database reads as empty."""
    return cast(ReadablePlatform, _ReadOnly(_opener(target)(target, root)))


def is_by_hand(target: Target) -> bool:
    """Whether people carry out what is planned for a target."""
    return target.platform in BY_HAND


def open_by_hand(target: Target, root: Path) -> ByHand:
    """Open the platform of a target that `is_by_hand`."""
    return cast(ByHand, open_platform(target, root))


def open_mail(target: Target, root: Path) -> Mail:
    """Open what a target sends and receives mail through."""
    location = MAIL.get(target.platform)
    if location is None:
        raise InvalidInput(
            f"{target.place}: platform {target.platform!r} of target {target.name!r} sends and "
            "receives no mail",
            "platforms that do: " + ", ".join(sorted(MAIL)),
        )
    return cast(MailOpener, _attribute(location))(target, root)


class _ReadOnly:
    """Hides the writes: what planning holds has no such methods at all."""

    def __init__(self, platform: ReadablePlatform) -> None:
        self._platform = platform

    async def read(self, *, refresh: bool = False) -> Snapshot:
        return await self._platform.read(refresh=refresh)

    async def history(self, names: Collection[str]) -> Mapping[str, tuple[Happening, ...]]:
        return await self._platform.history(names)

    async def close(self) -> None:
        await self._platform.close()


def _opener(target: Target) -> Opener:
    location = PLATFORMS.get(target.platform)
    if location:
        return cast(Opener, _attribute(location))
    from importlib.metadata import entry_points  # noqa: PLC0415 - slow, and seldom needed

    for entry in entry_points(group="gateways.platforms", name=target.platform):
        return cast(Opener, entry.load())
    named = f"{target.place}: platform {target.platform!r} of target {target.name!r}"
    raise InvalidInput(f"{named} is not known", "known platforms: " + ", ".join(sorted(PLATFORMS)))


def _attribute(location: str) -> Any:
    module, _, attribute = location.partition(":")
    return getattr(import_module(module), attribute)
