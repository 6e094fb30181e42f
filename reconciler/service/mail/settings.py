"""How outgoing mail behaves, whatever the gateway."""

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What one message may have; `size` is bytes as it goes out, attachments in base64."""

    recipients: int = 100
    size: int = 25 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class OutboxSettings:
    """Limits of one gateway's queue, when a message is tried again, and how long it is known.

    After a refusal for now it is tried again after `first_pause`, then twice that, up to
    `longest_pause`, until `lifetime` has passed. `sessions` is how many connections a gateway with
    a long queue may have. Times without a unit are seconds.
    """

    limits: MessageLimits = field(default_factory=MessageLimits)
    queue_messages: int = 100_000
    queue_bytes: int = 4 * 1024 * 1024 * 1024
    first_pause: float = 300
    longest_pause: float = 4_000
    lifetime: timedelta = timedelta(days=5)
    remembered: timedelta = timedelta(days=30)
    sessions: int = 4
    keep_alive: float = 60
    farewell: float = 5
