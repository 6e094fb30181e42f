"""Two locks on a record: one for a whole apply, one for the moment of a write.

Both are the system's, so that they end with the process however it ends. The first is a file in
`.gateways`, which no commit holds, and says who has it; the second is the project's folder.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.clock import Clock, stamp
from reconciler.errors import Locked, PlatformUnavailable
from reconciler.model import Actor

FOLDER: Final = ".gateways"

_PAUSE: Final = 0.1


@dataclass(frozen=True, slots=True)
class RecordLock:
    """The locks of the record `name` in the project's folder `root`."""

    root: Path
    name: str
    clock: Clock

    @asynccontextmanager
    async def apply(self, actor: Actor, *, seconds: float) -> AsyncIterator[None]:
        """Hold it for an apply. Raises Locked where another kept it for `seconds`."""
        handle = self._open()
        try:
            await self._take(handle, seconds)
            self._note(handle, actor)
            yield
        finally:
            os.close(handle)  # which gives it back

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold it for one write: read, change, replace. Others wait, for milliseconds."""
        try:
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise PlatformUnavailable(f"{self.root}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _open(self) -> int:
        path = self.root / FOLDER / f"{self.name.replace('/', '-')}.lock"
        try:
            if not path.parent.exists():
                path.parent.mkdir(mode=0o700, exist_ok=True)
                path.with_name(".gitignore").write_text("*\n")  # nothing in it is for a commit
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PlatformUnavailable(
                f"{FOLDER}/{path.name} cannot be written: {error.strerror}",
                "an apply keeps its lock there; make the folder writable",
            ) from None

    async def _take(self, handle: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if loop.time() >= deadline:
                    raise _held_by(handle) from None
                await asyncio.sleep(_PAUSE)
            else:
                return

    def _note(self, handle: int, actor: Actor) -> None:
        holder = {"actor": actor.name, "run": actor.run, "since": stamp(self.clock())}
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder).encode(), 0)


def _held_by(handle: int) -> Locked:
    try:
        found = json.loads(os.pread(handle, 4096, 0))
        who, run, since = (str(found[key]) for key in ("actor", "run", "since"))
    except (ValueError, LookupError, TypeError, OSError):
        who, run, since = "somebody", "", "just now"
    run = f" (run {run})" if run else ""
    return Locked(
        f"{who}{run} holds the lock since {since}",
        "wait with --lock-timeout, or ask who walks through the steps; it ends with that command",
    )
