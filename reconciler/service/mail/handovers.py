"""Which messages are being handed over, noted where the end of this process cannot undo it.

Before the end of a message goes out its number is written to a file beside the database, and once
more when the server has accepted it. Neither is synced: a note outlives the process, though not the
machine. After a crash of the process the notes tell the one message whose fate is unknown from
those that were next in line, and from those whose outcome was about to be stored; after one of the
machine all of them count as unknown.
"""

import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import PlatformUnavailable
from reconciler.messages import RecipientState
from reconciler.service.faults import translated

_HEAD: Final = struct.Struct("<16s36sQ")
_NOTE: Final = struct.Struct("<QII")  # number, attempt, whether it was accepted
_MAGIC: Final = b"gateways-sending"
_ROOM: Final = 1_024
"""Notes for which there is room from the beginning, whatever else fills the disk."""

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Noted:
    """What a process of `epoch` had noted when it ended: messages with their attempts."""

    epoch: int
    handed_over: frozenset[tuple[int, int]]
    accepted: frozenset[tuple[int, int]]

    def fate(self, number: int, attempt: int) -> RecipientState:
        """What became of an attempt: queued again where nothing was handed over."""
        if (number, attempt) in self.accepted:
            return RecipientState.SENT
        handed_over = (number, attempt) in self.handed_over
        return RecipientState.UNKNOWN if handed_over else RecipientState.QUEUED


class Handovers:
    """The notes of one process; only ever used on the event loop.

    Every method that touches the file raises PlatformUnavailable where that fails.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".sending")
        self._file: int | None = None
        self._boot = _boot_id()
        self._places: dict[int, tuple[int, int, bool]] = {}
        self._free: list[int] = []
        self._epoch = 0

    @property
    def started(self) -> bool:
        return self._file is not None

    def earlier(self) -> Noted | None:
        """What an earlier process left; None where the machine was started since, or it is lost."""
        try:
            data = self._path.read_bytes()
            magic, boot, epoch = _HEAD.unpack_from(data)
        except (FileNotFoundError, struct.error):
            return None
        if magic != _MAGIC or not self._boot or boot != self._boot:
            return None
        notes = data[_HEAD.size :]
        notes = notes[: len(notes) - len(notes) % _NOTE.size]
        return _noted(epoch, _NOTE.iter_unpack(notes))

    def start(self, epoch: int) -> None:
        """Begin anew; what an earlier process left must have been dealt with, on disk."""
        with translated(self._path):
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
            os.posix_fallocate(self._file, 0, _HEAD.size + _ROOM * _NOTE.size)
            os.pwrite(self._file, _HEAD.pack(_MAGIC, self._boot, epoch), 0)
        self._epoch = epoch

    def note(self, number: int, attempt: int) -> None:
        """Say that the end of a message is about to go out."""
        place = self._free.pop() if self._free else len(self._places)
        self._places[number] = (place, attempt, False)
        self._write(place, number, attempt, accepted=False)

    def accepted(self, number: int) -> None:
        """Say that the server has accepted it for everybody."""
        place, attempt, _ = self._places[number]
        self._places[number] = (place, attempt, True)
        self._write(place, number, attempt, accepted=True)

    def _write(self, place: int, number: int, attempt: int, *, accepted: bool) -> None:
        assert self._file is not None  # noqa: S101 - nothing is sent before it was started
        note = _NOTE.pack(number, attempt, accepted)
        try:
            os.pwrite(self._file, note, _HEAD.size + place * _NOTE.size)
        except OSError as error:
            raise PlatformUnavailable(f"{self._path}: {error.strerror}") from error

    def forget(self, number: int) -> None:
        """What became of the message is on disk, or it has not gone out."""
        if found := self._places.pop(number, None):
            self._free.append(found[0])

    def now(self) -> Noted:
        """What this process has noted and not forgotten."""
        notes = ((number, attempt, done) for number, (_, attempt, done) in self._places.items())
        return _noted(self._epoch, notes)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


def _noted(epoch: int, notes: Iterable[tuple[int, int, int]]) -> Noted:
    found = tuple(notes)
    return Noted(
        epoch,
        frozenset((number, attempt) for number, attempt, _ in found),
        frozenset((number, attempt) for number, attempt, accepted in found if accepted),
    )


def _boot_id() -> bytes:
    """What is another after each start of the machine; nothing where it cannot be known."""
    try:
        return _BOOT.read_bytes().strip()
    except OSError:
        return b""
