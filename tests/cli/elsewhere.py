"""A gateway service beside the command line, in a thread, and a proxy before it."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reconciler.service.store import AuditEntry, Store
from reconciler.service.supervisor.supervisor import Supervisor
from tests.cli.world import World
from tests.platforms.fault_proxy import FaultProxy, fault_proxy
from tests.service.running import Running, running

T = TypeVar("T")

SECONDS = 30.0


@dataclass(frozen=True)
class Elsewhere:
    """What is asked of the service goes through `proxy`, whose rule may be set from this thread."""

    service: Running
    proxy: FaultProxy
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def wait_for(self, main: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(main, self.loop).result(SECONDS)

    def token(self, role: str = "apply", tenant: str = "acme", **fields: Any) -> str:
        made = self.wait_for(self.service.token(role, tenant, **{"origin": self.url, **fields}))
        return made.text().reveal()

    def audit(self) -> list[AuditEntry]:
        look = self.service.site.service.look(lambda one: Store(one, "acme").audit())
        return list(self.wait_for(look))

    def actions(self) -> list[tuple[str, str]]:
        """What was done to gateways, in order."""
        return [(one.gateway, one.action) for one in self.audit() if one.gateway]


@contextmanager
def elsewhere(folder: Path) -> Iterator[Elsewhere]:
    """A service that keeps sessions, with its database in that folder."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    stack = AsyncExitStack()

    async def start() -> Elsewhere:
        service = await stack.enter_async_context(running(folder, supervise=Supervisor))
        port = int(service.url.rpartition(":")[2])
        return Elsewhere(service, await stack.enter_async_context(fault_proxy(port)), loop)

    try:
        yield asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()


def live_on(there: Elsewhere, world: World, **settings: Any) -> None:
    """Give a project an http target as its only one, and its environment a token for it."""
    target = {
        "platform": "http",
        "url": there.url,
        "tenant": "acme",
        "token": {"env": "GATEWAYS_TOKEN"},
        **settings,
    }
    world.settings["targets"] = {"production": target}
    world.write_settings()
    world.environ["GATEWAYS_TOKEN"] = there.token()
