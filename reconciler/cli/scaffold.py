"""The files of a new project: what each is called and says. None is ever overwritten."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from reconciler import schemas
from reconciler.errors import InvalidInput, WrongUsage

SETTINGS: Final = "gateways.yaml"
DECLARATION: Final = "gateways.d/support.yaml"
SECRETS: Final = "gateways.d/secrets/main.sops.yaml"
SOPS_SETTINGS: Final = ".sops.yaml"
IGNORED: Final = ".gitignore"
_ROOT: Final = "gateways.d/certs/isrg-root-x1.pem"

_TEMPLATES: Final[Mapping[str, str]] = {
    SETTINGS: "gateways.yaml",
    DECLARATION: "support.yaml",
    _ROOT: "isrg-root-x1.pem",
    SOPS_SETTINGS: "sops.yaml",
    IGNORED: "gitignore",
    ".pre-commit-config.yaml": "pre-commit-config.yaml",
    ".github/workflows/gateways.yaml": "workflow.yaml",
}
_SCHEMAS: Final = ("gateways", "project")
_PLAIN: Final = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the templates leave open."""

    owner: str
    host: str
    recipients: tuple[str, ...] = ()


def paths() -> tuple[str, ...]:
    """Every file of a new project, in the order in which people would read them."""
    editor = tuple(f"schema/{name}.schema.json" for name in _SCHEMAS)
    return (SETTINGS, DECLARATION, SECRETS, *list(_TEMPLATES)[2:], *editor)


def missing_from(folder: Path) -> tuple[str, ...]:
    """The files to make; the sample's certificate only where the sample is new, or names it."""
    absent = tuple(path for path in paths() if not os.path.lexists(folder / path))
    if DECLARATION in absent or _names_root(folder / DECLARATION):
        return absent
    return tuple(path for path in absent if path != _ROOT)


def _names_root(declaration: Path) -> bool:
    try:
        return Path(_ROOT).name.encode() in declaration.read_bytes()
    except OSError:  # whoever reads it as a declaration says what is wrong
        return False


def content(path: str, answers: Answers) -> bytes:
    """What one file says; the secrets file is not written from a template."""
    if path.startswith("schema/"):
        return schemas.text(Path(path).name.removesuffix(".schema.json")).encode()
    text = (files("reconciler") / "templates" / "init" / _TEMPLATES[path]).read_text("utf-8")
    for mark, value in (
        ("@OWNER@", _scalar(answers.owner)),
        ("@HOST@", _scalar(answers.host)),
        ("@RECIPIENT@", ",".join(answers.recipients)),
    ):
        text = text.replace(mark, value)
    return text.encode()


def owner_of(folder: Path) -> str:
    """An owner's name made from the folder's."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    return name[:64].rstrip("-") or "gateways"


def checked_host(host: str) -> str:
    if not schemas.gate("gateways", "host")(host):
        raise WrongUsage(
            f"--host {host!r} is no host name or address",
            "give the mail server's name alone, such as mail.example.com",
        )
    return host


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not be there yet; on failure nothing of it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as stream:
        try:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError:
            path.unlink()
            raise


def ignores_state(root: Path) -> bool:
    """Whether .gitignore keeps the local platform out of git."""
    text = (root / IGNORED).read_text(encoding="utf-8", errors="replace")
    return any(line.strip().strip("/") == ".gateways" for line in text.splitlines())


def recipients_of(root: Path) -> tuple[str, ...]:
    """The age recipients that the project's .sops.yaml names for the secrets file; () without one.

    Raises:
        InvalidInput: there is a .sops.yaml, and it names none.

    """
    path = root / SOPS_SETTINGS
    if not path.exists():
        return ()
    for rule in _rules(path):
        if _covers(str(rule.get("path_regex", ""))):
            named = rule.get("age") or ""
            listed: Sequence[Any] = named if isinstance(named, list) else str(named).split(",")
            if recipients := tuple(text for item in listed if (text := str(item).strip())):
                return recipients
    raise InvalidInput(
        f"{SOPS_SETTINGS} names no age recipient for {SECRETS}",
        "add a creation rule with an age recipient, or make the secrets file with sops",
    )


def _covers(pattern: str) -> bool:
    try:
        return re.search(pattern, SECRETS) is not None
    except re.error:
        raise InvalidInput(
            f"{SOPS_SETTINGS}: path_regex {pattern!r} is no regular expression",
            "a path that ends in .sops.yaml is matched by: \\.sops\\.yaml$",
        ) from None


def _rules(path: Path) -> list[Mapping[str, Any]]:
    import yaml

    try:
        loaded = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError):
        raise InvalidInput(f"{path} is not YAML") from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    rules = loaded.get("creation_rules") if isinstance(loaded, dict) else None
    return [rule for rule in rules or () if isinstance(rule, dict)]


def _scalar(text: str) -> str:
    """As YAML, quoted where a reader could take it for something other than text."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
