"""The page's words: the console's for a status, times as people say them, and text made safe."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from markupsafe import Markup

from reconciler.model import Action, Cause, StatusState

# "Connection succeeded" is the console's own; no other word of its is documented
STATUS_WORDS: Final = {
    StatusState.FAILED: "Failed",
    StatusState.CONNECTING: "Connecting",
    StatusState.DISCONNECTED: "Disconnected",
    StatusState.SUCCEEDED: "Connection succeeded",
}
CAUSE_WORDS: Final = {
    Cause.DECLARED: "as declared",
    Cause.BY_HAND: "by hand",
    Cause.WHEN_FAILED: "by when_failed",
    Cause.UNDECLARED: "no longer declared",
}

ACTION_WORDS: Final = {
    Action.CREATE: "created",
    Action.EDIT: "edited",
    Action.REBUILD: "rebuilt",
    Action.DISCONNECT: "disconnected",
    Action.ADOPT: "adopted",
}

_STEPS: Final = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))
_JUST_NOW_SECONDS: Final = 5

# control characters, and those that reorder or hide text (Trojan Source, CVE-2021-42574)
_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def shown(value: Any) -> Any:
    """Every value that a template prints goes through this: nothing hides or turns text around."""
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", value)
    return value


def moment(text: str) -> datetime:
    """A time as the database has it. Raises ValueError."""
    return datetime.fromisoformat(text).astimezone(UTC)


def relative(text: str, now: datetime) -> str:
    """`4 min ago`, `in 40 s`; the page's script says the same words as time goes on."""
    seconds = (moment(text) - now).total_seconds()
    size = abs(seconds)
    if size < _JUST_NOW_SECONDS:
        return "now"
    unit, word = next(((unit, word) for unit, word in _STEPS if size >= unit), _STEPS[-1])
    count = int(size // unit)
    length = f"{count} {word}s" if word == "day" and count != 1 else f"{count} {word}"
    return f"in {length}" if seconds > 0 else f"{length} ago"


def exactly(text: str) -> str:
    """To the second and in UTC, so that it can be laid beside a log."""
    return f"{moment(text):%Y-%m-%d %H:%M:%S} UTC"


def person(actor: str) -> str:
    """The name of `Name <address>`, as git has it; of anything else all."""
    name, bracket, _ = actor.partition(" <")
    return name if bracket and name and actor.endswith(">") else actor


def count(number: int, one: str, many: str = "") -> str:
    """`1 gateway`, `1,204 gateways`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
