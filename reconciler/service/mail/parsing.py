"""What a message says, read in a process of its own: `python -m reconciler.service.mail.parsing`.

Python's own reader of mail is made for mail as it should be: on what people send to do harm it
takes for ever, all memory, or ends the process. Here that ends nothing but this process, which has
nothing: no secret, no open file, little memory and little time. Whoever started it starts another.

Each request is a line of JSON with `size` and `charset`, then so many bytes; each answer is a line.
"""

import email.message
import email.parser
import json
import os
import re
import resource
from collections.abc import Iterator
from email.policy import compat32
from typing import IO, Any, Final

from reconciler.service.mail.charsets import decoded, header_text, tidy

MAX_MEMORY: Final = 768 * 1024 * 1024
MAX_SECONDS: Final = 10
MAX_TEXT: Final = 1024 * 1024
"""Characters of each text: what an agent reads has some thousand."""

_MAX_HEADERS: Final = 500
_MAX_VALUE: Final = 8_000
_MAX_PARTS: Final = 1_000
_MAX_NAME: Final = 255
_MAX_DEFECTS: Final = 20
_FAILURES: Final = (
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the library is known to raise; whatever else it may be ends this process."""

_WORDS: Final = re.compile(r"(?<!^)(?=[A-Z])")
_END_OF_HEADER: Final = re.compile(rb"\r?\n\r?\n")


def view(content: bytes, charset: str) -> dict[str, Any]:
    """What a message says, as JSON. Whatever cannot be read is told in `defects`."""
    defects: dict[str, None] = {}
    texts: dict[str, list[str]] = {"plain": [], "html": []}
    attachments: list[dict[str, Any]] = []
    headers = _headers(content, charset, defects)
    try:
        message = email.parser.BytesParser(policy=compat32).parsebytes(content)
        for part in _parts(message, defects):
            _read(part, charset, texts, attachments)
    except _FAILURES:
        defects["parts that cannot be read"] = None
    found = {kind: "\n".join(some) for kind, some in texts.items()}
    if any(len(text) > MAX_TEXT for text in found.values()):
        defects["longer texts than are shown"] = None
    return {
        "headers": headers,
        "text": found["plain"][:MAX_TEXT],
        "html": found["html"][:MAX_TEXT],
        "attachments": attachments,
        "defects": list(defects)[:_MAX_DEFECTS],
    }


def _headers(content: bytes, charset: str, defects: dict[str, None]) -> list[list[str]]:
    """Every header that is one, in order: not by the library, which fails on some."""
    end = _END_OF_HEADER.search(content)
    head = content[: end.start() if end else len(content)]
    found: list[list[str]] = []
    for field in re.split(rb"\r?\n(?![ \t])", head[: _MAX_HEADERS * _MAX_VALUE]):
        name, colon, value = field.partition(b":")
        if not colon or not name.strip().isascii() or len(name) > _MAX_NAME:
            continue
        if len(found) == _MAX_HEADERS:
            defects["more headers than are shown"] = None
            break
        unfolded = re.sub(rb"\r?\n[ \t]+", b" ", value[:_MAX_VALUE])
        found.append([tidy(name.decode()), header_text(unfolded, charset)])
    return found


def _parts(
    message: email.message.Message, defects: dict[str, None]
) -> Iterator[email.message.Message]:
    """The parts that are no containers, in order; a message that was forwarded is one part."""
    waiting = [message]
    count = 0
    while waiting:
        part = waiting.pop()
        count += 1
        if count > _MAX_PARTS:
            defects["more parts than are shown"] = None
            return
        for defect in part.defects:
            words = type(defect).__name__.removesuffix("Defect")
            defects[_WORDS.sub(" ", words).lower()] = None
        inner: Any = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(inner, list):
            waiting += reversed(inner)
        else:
            yield part


def _read(
    part: email.message.Message,
    charset: str,
    texts: dict[str, list[str]],
    attachments: list[dict[str, Any]],
) -> None:
    kind = part.get_content_type()
    name = _name(part, charset)
    attached = name or part.get_content_disposition() == "attachment"
    content = _content(part)
    if kind in {"text/plain", "text/html"} and not attached:
        label = _parameter(part, "charset")
        texts[part.get_content_subtype()].append(decoded(content, label, charset))
    else:
        attachments.append(
            {"name": name, "content_type": tidy(kind)[:_MAX_NAME], "size": len(content)}
        )


def _content(part: email.message.Message) -> bytes:
    inner = part.get_payload(decode=True)
    if isinstance(inner, bytes):
        return inner
    messages = part.get_payload()
    if isinstance(messages, list) and messages:  # a message that was forwarded
        return b"".join(one.as_bytes() for one in messages if hasattr(one, "as_bytes"))
    return b""


def _name(part: email.message.Message, charset: str) -> str:
    found = part.get_filename("")
    return header_text(found.encode("utf-8", "surrogateescape"), charset)[:_MAX_NAME]


def _parameter(part: email.message.Message, name: str) -> str:
    found = part.get_param(name, "")
    text = found[2] if isinstance(found, tuple) else str(found)
    return text.encode("ascii", "replace").decode()


def _confine() -> None:
    """Take away what it does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))


def _allow(seconds: int) -> None:
    """So much time of the processor from now on; then the system ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer until nobody asks any more."""
    while line := requests.readline():
        asked = json.loads(line)
        content = requests.read(asked["size"])
        if len(content) < asked["size"]:
            return
        _allow(MAX_SECONDS)
        answers.write(json.dumps(view(content, asked["charset"])).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    _confine()
    serve(os.fdopen(0, "rb"), os.fdopen(1, "wb"))
