"""What is known of sessions now and is stored nowhere: for the page, and for the metrics."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.model import FailureKind, ProtocolType, StatusState


class Waiting(StrEnum):
    """Why a gateway has no session at the moment, in words for people."""

    TURN = "its turn to connect"
    ANSWER = "the mail server's answer"
    HOST = "the mail server to answer: one gateway tries for all of them"
    BACK_OFF = "the next attempt"
    REFUSED = "the next attempt: a refused login is tried again slowly"
    PARKED = "another user or password, or rebuild --force"
    LIMIT = "a session of the same user to end: the mail server takes no more of them"
    PLANNED = "the next look into the mailbox"
    CLOSED = "something to do: the mail server closes idle sessions"
    SEALED = "the key of the stored passwords"


@dataclass(frozen=True, slots=True)
class Facts:
    """One gateway's session. Moments are UTC; `next_attempt_at` is None where it is not known.

    `certificate_expires` is that of the server's certificate, as the last session saw it.
    """

    open_since: datetime | None = None
    certificate_expires: datetime | None = None
    reconnects: int = 0
    next_attempt_at: datetime | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """All gateways of this process. `reconnects` and `failures` count from its start.

    `certificates` are the moments when those of the servers end, as the last sessions saw them.
    `waiting` is how many wait for their turn to connect: for the pace of their mail host, or for it
    to answer.
    """

    sessions: Mapping[tuple[ProtocolType, StatusState], int]
    reconnects: int
    failures: Mapping[FailureKind, int]
    waiting: int
    certificates: Collection[datetime] = ()
