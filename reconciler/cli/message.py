"""A message from what the command line says of it, and the files that it names."""

import mimetypes
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler.errors import InvalidInput, WrongUsage
from reconciler.messages import Attachment, MessageKind, OutgoingMessage

MOST_BYTES: Final = 25 * 1024 * 1024
"""Of one file: what is larger fits into no message, and is not read to find that out."""

_ANY_FILE: Final = "application/octet-stream"
_STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Written:
    """The options, as they were given; names of files are relative to `folder`."""

    folder: Path
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str | None
    text: str | None
    text_file: str | None
    html: str | None
    attach: tuple[str, ...]
    kind: str | None
    reply_to: str | None
    in_reply_to: str | None

    @property
    def empty(self) -> bool:
        given = (self.subject, self.text, self.text_file, self.html, self.kind)
        return not any((*self.to, *self.cc, *self.bcc, *self.attach)) and not any(
            one is not None for one in (*given, self.reply_to, self.in_reply_to)
        )


def message_of(written: Written) -> OutgoingMessage:
    """Read the files, and put the message together.

    Raises:
        WrongUsage: an option is missing, or two do not go together.
        InvalidInput: a file cannot be read as what it should be.

    """
    if written.kind is None:
        raise WrongUsage("--kind is missing", "agent names the sender in From, notification not")
    if not (written.to or written.cc or written.bcc):
        raise WrongUsage("--to is missing", "for example: --to ann@example.com")
    if written.subject is None:
        raise WrongUsage("--subject is missing", 'an empty one is written as --subject ""')
    if (written.text is None) == (written.text_file is None):
        raise WrongUsage("one of --text and --text-file is needed, and not both")
    text = written.text if written.text is not None else _text(written, written.text_file or "")
    return OutgoingMessage(
        MessageKind(written.kind),
        written.to,
        written.subject,
        text,
        None if written.html is None else _text(written, written.html),
        written.cc,
        written.bcc,
        written.reply_to,
        _bracketed(written.in_reply_to),
        attachments=tuple(_attachment(written, name) for name in written.attach),
    )


def _bracketed(message_id: str | None) -> str | None:
    """A Message-ID has angle brackets, which a shell takes for something else."""
    return f"<{message_id}>" if message_id and not message_id.startswith("<") else message_id


def _text(written: Written, name: str) -> str:
    raw = sys.stdin.buffer.read(MOST_BYTES + 1) if name == _STDIN else _read(written, name)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name}: byte {error.start} is not UTF-8", "save it as UTF-8") from None


def _attachment(written: Written, name: str) -> Attachment:
    kind, packed = mimetypes.guess_type(name)
    if kind is None or packed or kind.startswith(("message/", "multipart/")):
        kind = _ANY_FILE
    return Attachment(Path(name).name, kind, _read(written, name))


def _read(written: Written, name: str) -> bytes:
    path = written.folder / name
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InvalidInput(f"{name}: more than {MOST_BYTES:,} bytes fit into no message")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{name}: {error.strerror}", "name a file that can be read") from None
