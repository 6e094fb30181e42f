"""Hours in seconds: an event loop whose clock jumps to whatever is due next.

Everything that runs on it is the real thing; only the time between is left out. The mail servers
are simulated, since a real one would live in real time.
"""

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from reconciler.model import EncryptionMode, FailureKind, Gateway, ProtocolType, Secret
from reconciler.service.sessions import SessionError, SessionSettings
from reconciler.service.sessions.base import Passed, Phase
from reconciler.service.sessions.failures import connect_failure, fail
from reconciler.service.sessions.sasl import server_busy
from reconciler.service.work import Held, Work
from tests.service.supervisor.stage import Stage, staged

T = TypeVar("T")

START = 1_000_000.0


class _JumpingSelector(selectors.DefaultSelector):
    """Does not wait: where nothing has come in, the time has passed."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[Any]:
        found: list[Any] = super().select(0)
        if not found and timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if not found and timeout:
            self.jump(timeout)
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """What would run on another thread is run at once, in no time."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.jump = self.jump
        self.now = START
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def jump(self, seconds: float) -> None:
        self.now += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *arguments: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*arguments))
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)
        return done


def virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)


class SimulatedHost:
    """A mail server that takes some time to answer, and is down between the moments of `outages`.

    `connections` are the moments at which a client began to connect. While it is down it refuses
    connections, or with `silent` leaves them without an answer. `accepts` judges logins.
    """

    def __init__(
        self, *, latency: float = 0.05, silent: bool = False, sessions_of_one_user: int = 1 << 30
    ) -> None:
        self.latency = latency
        self.silent = silent
        self.outages: list[tuple[float, float]] = []
        self.connections: list[float] = []
        self.refused: list[str] = []
        self.too_many: list[str] = []
        self.accepts: Callable[[Gateway, str], bool] = lambda *_: True
        self._sessions_of_one_user = sessions_of_one_user
        self._ends: dict[asyncio.Future[None], str] = {}

    @property
    def open(self) -> int:
        return len(self._ends)

    def down(self) -> bool:
        now = asyncio.get_running_loop().time()
        return any(start <= now < end for start, end in self.outages)

    def drop(self) -> None:
        """End all sessions."""
        for end in list(self._ends):
            if not end.done():
                end.set_result(None)

    def fail_for(self, seconds: float) -> float:
        """Go down now; the moment at which it is up again."""
        now = asyncio.get_running_loop().time()
        self.outages.append((now, now + seconds))
        self.drop()
        return now + seconds

    async def connect(self, where: str, seconds: float) -> None:
        self.connections.append(asyncio.get_running_loop().time())
        if self.down() and not self.silent:
            raise connect_failure(where, ConnectionRefusedError())
        try:
            async with asyncio.timeout(seconds):
                pause = 1.0  # a connection is asked for again after 1, 2, 4 and 8 seconds
                while self.down():
                    await asyncio.sleep(pause)
                    pause *= 2
                await asyncio.sleep(self.latency)
        except TimeoutError:
            raise connect_failure(where, TimeoutError()) from None

    def log_in(self, gateway: Gateway, password: str) -> asyncio.Future[None]:
        """What will be done when the session ends."""
        where, user = f"{gateway.host}:{gateway.port}", gateway.user_id or ""
        if self.down():
            raise connect_failure(where, ConnectionRefusedError())
        if not self.accepts(gateway, password):
            self.refused.append(user)
            raise fail(FailureKind.AUTH, "user_password", f"{where} refuses the login")
        if list(self._ends.values()).count(user) >= self._sessions_of_one_user:
            self.too_many.append(user)
            raise server_busy(where, "[LIMIT] Too many connections")
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ends[end] = user
        end.add_done_callback(self._ends.pop)
        return end


def mailbox(number: int) -> tuple[Gateway, str]:
    """A gateway on the simulated host, and its password."""
    return Gateway(
        f"gateway-{number:05}",
        ProtocolType.IMAP,
        "mail.test",
        143,
        user_id=f"mailbox-{number}@example.com",
        encryption_mode=EncryptionMode.NONE,
    ), "password"


class SimulatedSession:
    """What the supervisor needs of a session."""

    def __init__(
        self,
        host: SimulatedHost,
        gateway: Gateway,
        password: Secret | None,
        settings: SessionSettings,
    ) -> None:
        self.gateway = gateway
        self.wire = self
        self.certificate_expires = None
        self._host = host
        self._password = password
        self._deadlines = settings.deadlines
        self._end: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def overall(self) -> AsyncIterator[None]:
        yield

    async def enter(self, phase: Phase) -> Passed:
        where = f"{self.gateway.host}:{self.gateway.port}"
        match phase:
            case Phase.TCP:
                await self._host.connect(where, self._deadlines.connect)
            case Phase.TLS | Phase.CAPABILITIES:
                await asyncio.sleep(self._host.latency)
            case Phase.LOGIN:
                await asyncio.sleep(self._host.latency)
                password = self._password.reveal() if self._password else ""
                self._end = self._host.log_in(self.gateway, password)
            case Phase.DNS:
                pass
        return Passed("")

    async def lost(self) -> SessionError:
        """Wait until the server ends the session."""
        assert self._end
        await self._end
        return fail(FailureKind.TCP, "host", "closed the connection", transient=True)

    async def keep_alive(self) -> None:
        pass

    async def close(self) -> None:
        if self._end and not self._end.done():
            self._end.set_result(None)


async def hold(held: Held) -> float:
    """The work of a simulated session."""
    raise await held.session.lost()  # type: ignore[attr-defined]


@asynccontextmanager
async def simulated(folder: Path, host: SimulatedHost, work: Work = hold) -> AsyncIterator[Stage]:
    """A service whose gateways are all on this host."""
    async with staged(
        folder,
        dict.fromkeys(ProtocolType, work),
        sessions=lambda *given: SimulatedSession(host, *given),
    ) as stage:
        yield stage


def busiest(moments: Sequence[float], seconds: float = 1.0) -> int:
    """The most of them in any window of so many seconds, wherever it begins."""
    moments = sorted(moments)
    most = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most
