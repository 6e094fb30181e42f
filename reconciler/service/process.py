"""What a service asks of the system it runs on, and tells it."""

import ctypes
import os
import resource
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # from <sys/prctl.h>


def keep_memory_private() -> None:
    """No core dump, and no other process of this user may look into this one.

    Passwords are in memory while they are used. Where the system knows no such request (it is
    Linux's), it stays as it is.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def open_files() -> int:
    """How many files and connections may be open at once, after asking for all that are allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most if most != resource.RLIM_INFINITY else sys.maxsize


def tell_systemd(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Say to who started this service how it is: `READY=1`, `STOPPING=1` (sd_notify(3))."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address[0] == "@" else address)
        channel.send(state.encode())
