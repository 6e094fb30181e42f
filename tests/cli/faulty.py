"""A mail server that misbehaves, in a thread beside the command line."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.mailserver import MailServer
from reconciler.model import EncryptionMode, ProtocolType
from tests.cli.world import CANARY, USERS, World


@contextmanager
def faulty_server() -> Iterator[MailServer]:
    """A running server with the usual accounts; its faults may be set from this thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = MailServer(dict(zip(USERS, (CANARY, CANARY + "-2"), strict=True)))
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(20)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(20)
        loop.close()


def declare_on(server: MailServer, world: World, mode: str = "TLS", **fields: Any) -> None:
    """Declare one IMAP gateway, `a`, that lives on this server and trusts it."""
    (world.root / "gateways.d/certs/root.pem").write_bytes(server.ca_file.read_bytes())
    port = server.port(ProtocolType.IMAP, EncryptionMode(mode))
    given = {"port": port, "encryption_mode": mode, **fields}
    world.declare({"a": world.gateway(1, **given)})
