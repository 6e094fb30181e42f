"""How mail is taken in, and how long it is kept."""

from dataclasses import dataclass
from typing import Final

MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReceivingSettings:
    """How mail is taken in, and how long it is kept.

    `idle_seconds` is how long an IDLE lasts before it is asked for anew (RFC 2177 allows 29
    minutes); whatever happens, a mailbox is looked through that often. `poll_seconds` is between
    two looks where there is no IDLE. A message above `max_bytes` is listed and left on the server.
    Nothing is fetched while the disk has less than `reserve_bytes` left.

    A message is kept for `keep_days`, and for less where its gateway's messages together have more
    than `keep_bytes`. What tells messages apart is remembered for `remember_days`.
    """

    idle_seconds: float = 600
    poll_seconds: float = 60
    pause_seconds: float = 30
    max_bytes: int = 150 * MEBIBYTE
    reserve_bytes: int = 64 * MEBIBYTE
    keep_days: int = 30
    keep_bytes: int | None = None
    remember_days: int = 90
