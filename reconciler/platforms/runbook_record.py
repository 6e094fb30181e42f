"""The record: the file in git that holds what people said of a console. It never holds a password.

Its bytes follow from what it says: sorted, indented, and changed only where that changed, so that a
commit of it can be reviewed line by line.
"""

import json
import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reconciler import schemas
from reconciler.errors import GatewaysError, InvalidInput, PlatformUnavailable
from reconciler.files import clear_unfinished, write_text
from reconciler.model import Action, ActualGateway, FieldChange, SecretChange, Tick
from reconciler.wire import actual_data, certificates_of
from reconciler.wire_reading import Reader, happening_from

FORMAT_VERSION: Final = "1.0"

_MAJOR: Final = "1."
_CONFLICT: Final = re.compile(r"^(<{7} |\|{7} |={7}$|>{7} )", re.MULTILINE)
_RESTORE: Final = "git log -p shows what it was; git checkout COMMIT -- FILE brings that back"


@dataclass(frozen=True, slots=True)
class Record:
    """What the console holds, by what people said, and the steps that they ticked."""

    gateways: Mapping[str, ActualGateway] = field(default_factory=dict)
    ticks: tuple[Tick, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordFile:
    """The file `name` in the project's folder `root`; absent, it reads as empty."""

    root: Path
    name: str

    def read(self) -> Record:
        """All of it.

        Raises:
            InvalidInput: it is damaged, in a git conflict, or of a later version.
            PlatformUnavailable: it cannot be read.

        """
        path = self._path()
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):
                raise InvalidInput(f"{self.name} is not a regular file", "name another record")
            content = path.read_bytes()
        except FileNotFoundError:
            return Record()
        except OSError as error:
            raise PlatformUnavailable(f"{self.name} cannot be read: {error.strerror}") from None
        return _record(_parsed(content, self.name), self.name)

    def write(self, record: Record) -> None:
        """Replace the file in one step; the caller holds the lock on writes.

        Raises:
            PlatformUnavailable: it cannot be written, and is as it was.

        """
        path = self._path()
        clear_unfinished(path)
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        try:
            write_text(path, text_of(record), mode=mode)
        except GatewaysError as error:
            raise PlatformUnavailable(
                error.message, "nothing was stored; make room or the folder writable, and go on"
            ) from None

    def _path(self) -> Path:
        """The file itself, through links that stay in the project. Raises InvalidInput."""
        root = self.root.resolve()
        try:
            path = (root / self.name).resolve()
        except (OSError, RuntimeError):  # a link to itself
            path = Path("/")
        if not path.is_relative_to(root) or path == root:
            raise InvalidInput(
                f"record {self.name} leads out of the project",
                "replace the link by a file in the project",
            )
        return path


def text_of(record: Record) -> str:
    """The record as the bytes of its file."""
    return json.dumps(_data(record), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _data(record: Record) -> dict[str, Any]:
    pems: dict[str, str] = {}
    for one in record.gateways.values():
        pems |= certificates_of(one)
    return {
        "format_version": FORMAT_VERSION,
        "certificates": pems,
        "gateways": {name: _gateway_data(one) for name, one in record.gateways.items()},
        "ticks": [_tick_data(one) for one in record.ticks],
    }


def _gateway_data(actual: ActualGateway) -> dict[str, Any]:
    data = actual_data(actual)
    del data["gateway"]["name"]  # it is the key
    data.pop("applied", None)  # what was applied is what was typed in
    return data


def _tick_data(tick: Tick) -> dict[str, Any]:
    data: dict[str, Any] = {
        "at": tick.at,
        "actor": tick.actor,
        "commit": tick.commit,
        "run": tick.run,
        "gateway": tick.gateway,
        "action": tick.action.value,
        "change": tick.change,
        "step": tick.step,
        "steps": tick.steps,
        "title": tick.title,
        "fields": list(tick.fields),
    }
    if tick.changes is not None:
        data["changes"] = [_change_data(one) for one in tick.changes]
    return data


def _change_data(one: FieldChange | SecretChange) -> dict[str, Any]:
    if isinstance(one, SecretChange):
        return {"field": one.field, "secret": one.secret.value}
    return {"field": one.field, "before": one.before, "after": one.after}


def _parsed(content: bytes, name: str) -> Any:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"{name}:{line}: it is not UTF-8", _RESTORE) from None
    if conflict := _CONFLICT.search(text):
        raise InvalidInput(
            f"{name}:{_line(text, conflict.start())}: git left a conflict here",
            "two branches wrote the record: take one side whole (git checkout --ours -- "
            f"{shlex.quote(name)}), then tick again what was done on the other: "
            "gateways apply --done NAME",
        )
    try:
        return json.loads(text, object_pairs_hook=_no_double, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"{name}:{error.lineno}:{error.colno}"
        raise InvalidInput(f"{place}: it is not JSON: {error.msg}", _RESTORE) from None
    except _DoubleKeyError as error:
        line = _line(text, text.rfind(json.dumps(error.args[0], ensure_ascii=False) + ":"))
        raise InvalidInput(
            f"{name}:{line}: {error.args[0]!r} is there twice", "keep the one that holds"
        ) from None
    except (ValueError, RecursionError):
        raise InvalidInput(f"{name}: it is not a record", _RESTORE) from None


def _record(data: Any, name: str) -> Record:
    version = data.get("format_version") if isinstance(data, dict) else None
    if isinstance(version, str) and not version.startswith(_MAJOR):
        raise InvalidInput(
            f"{name}: its format is {version}, and this version reads {_MAJOR}x",
            "upgrade gateways: what was written since would be lost",
        )
    if not schemas.gate("record")(data):
        raise InvalidInput(f"{name}: {_what_is_wrong(data)}", _RESTORE)
    reader = Reader(data["certificates"])
    try:
        gateways = {
            key: reader.actual({**one, "gateway": {"name": key, **one["gateway"]}})
            for key, one in sorted(data["gateways"].items())
        }
        return Record(gateways, tuple(_tick(one) for one in data["ticks"]))
    except (LookupError, TypeError, ValueError) as error:
        missing = f": {error}" if isinstance(error, KeyError) else ""
        raise InvalidInput(f"{name}: it was altered and does not fit{missing}", _RESTORE) from None


def _tick(data: Mapping[str, Any]) -> Tick:
    told = happening_from({**data, "token": "", "changes": data.get("changes", [])})
    return Tick(
        told.at,
        told.actor,
        told.commit,
        told.run,
        data["gateway"],
        Action(data["action"]),
        data["change"],
        data["step"],
        data["steps"],
        data["title"],
        tuple(data["fields"]),
        told.changes if "changes" in data else None,
    )


def _what_is_wrong(data: Any) -> str:
    """The first thing that does not fit, by its place in the record; its value is not repeated."""
    for error in schemas.errors("record", "", data):
        where = ".".join(str(one) for one in error.path) or "the whole"
        return f"{where} does not fit the schema ({error.keyword}): gateways schema record"
    return "it does not fit the schema: gateways schema record"


class _DoubleKeyError(ValueError):
    """A merge without a conflict may leave a key twice; Python would keep the last."""


def _no_double(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DoubleKeyError(key)
        found[key] = value
    return found


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
