"""Which ports a rig listens on, and waiting for them."""

import socket
import time
from collections.abc import Callable, Mapping, Sequence

SMTP_PORTS = ("smtp", "submission", "smtps")
MAILBOX_PORTS = ("imap", "imaps", "pop3", "pop3s")


def free_ports(names: Sequence[str]) -> Mapping[str, int]:
    """A port of its own for each name; held together, so that none is given twice."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: held.getsockname()[1] for name, held in zip(names, sockets, strict=True)}
    for held in sockets:
        held.close()
    return ports


def wait_for(port: int, check_alive: Callable[[], None], *, seconds: float = 15) -> None:
    """Until the port takes connections; `check_alive` raises when that cannot happen any more."""
    end = time.monotonic() + seconds
    while True:
        check_alive()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return
