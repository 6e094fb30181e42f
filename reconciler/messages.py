"""The nouns of mail that goes out and comes in through a gateway: values, like the model's."""

from dataclasses import dataclass
from enum import StrEnum


class MessageKind(StrEnum):
    """Who writes: an agent is named in From (Default User Name), a notification is not."""

    AGENT = "agent"
    NOTIFICATION = "notification"


class RecipientState(StrEnum):
    """What became of one recipient.

    `unknown`: the connection was lost after the whole message was sent and before the server's
    answer, so that nobody can tell whether the message will arrive. Such a message is never sent
    again by itself.
    """

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


class MessageState(StrEnum):
    """The state of a message as a whole.

    `queued` while a recipient is, `held` while one is and the gateway is disconnected; after that
    `unknown` if one recipient is, `sent` or `failed` if all are, `partly sent` where they differ.
    """

    QUEUED = "queued"
    HELD = "held"
    SENT = "sent"
    PARTLY_SENT = "partly sent"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What somebody asks a gateway to send; From is the gateway's own affair.

    `references` are the Message-IDs of the conversation, oldest first; `in_reply_to` is the one
    that is answered. `message_id` is given by whoever wants to choose it, else it is made.
    """

    kind: MessageKind
    to: tuple[str, ...]
    subject: str
    text: str
    html: str | None = None
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    reply_to: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    message_id: str | None = None
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipient:
    """One recipient; `answer` is the server's last word, cleaned and shortened."""

    address: str
    state: RecipientState
    answer: str = ""
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that was accepted, and what has become of it. Times are UTC, ISO 8601 with a Z."""

    id: str
    gateway: str
    kind: MessageKind
    state: MessageState
    message_id: str
    created_at: str
    size: int
    recipients: tuple[Recipient, ...]
    next_attempt_at: str | None = None
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that came in. Its raw bytes are kept as they came; this is read from them.

    `sender` is the address of From, in lower case (ASCII letters) unless the gateway is case
    sensitive. `received_at` is when the gateway took it in. `defects` say what could not be read or
    fetched; `resync` that the mailbox was numbered anew and this may have been seen before.
    """

    id: str
    gateway: str
    sender: str
    to: tuple[str, ...]
    subject: str
    received_at: str
    size: int
    message_id: str = ""
    in_reply_to: str = ""
    defects: tuple[str, ...] = ()
    resync: bool = False


@dataclass(frozen=True, slots=True)
class InboxPage:
    """Messages in the order in which they were stored; `cursor` asks for what comes after them.

    `dropped` is how many came between the cursor that was asked with and the first of these, and
    are no longer kept. `unfetched` says why nothing could be fetched just now, where that was
    tried.
    """

    messages: tuple[ReceivedMessage, ...]
    cursor: str
    dropped: int = 0
    unfetched: str = ""


@dataclass(frozen=True, slots=True)
class AttachedPart:
    """A part of a received message that is no text to be shown; `size` is that of its content."""

    name: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class MessageView:
    """What a received message says, read on demand. `headers` are decoded, in their order.

    Texts are what the sender wrote, so HTML among them is not safe to show. `defects` say what
    could not be read.
    """

    headers: tuple[tuple[str, str], ...] = ()
    text: str = ""
    html: str = ""
    attachments: tuple[AttachedPart, ...] = ()
    defects: tuple[str, ...] = ()
