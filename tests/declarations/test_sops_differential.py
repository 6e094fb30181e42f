"""The in-process reader against the real sops: over 2,000 random trees and 1,000 forgeries.

Every run starts from one seed, so that a failure can be had again: GATEWAYS_FUZZ_SEED sets another.
GATEWAYS_FUZZ=big makes ten times as many, for the long rig. By default about 30 s on two cores,
nearly all of it the starting of sops.

Where the two differ, ours is the stricter one, and only in the ways of `STRICTER`.
"""

import random
import re
import string
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.sops import writer
from reconciler.declarations.sops.document import parse
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.keys import Keyring
from reconciler.declarations.sops.reader import decrypt
from tests.declarations.sops_support import (
    SCALE,
    SEED,
    Age,
    dice_from,
    flat,
    flat_opened,
    random_document,
    random_text,
    real_sops,
)

FILES = 150 * SCALE
TREES_PER_FILE = 16
FORGERIES = 1000 * SCALE
pytestmark = pytest.mark.timeout(180 * SCALE)

RULES = (
    (),
    ("--unencrypted-suffix", "_enc"),
    ("--encrypted-suffix", "_enc"),
    ("--encrypted-regex", "^part[0-4]"),
    ("--unencrypted-regex", "(_enc|x)$"),
)

STRICTER = {
    Reason.UNSUPPORTED: (
        "a key stands twice in the same map",  # sops looks at the top of the file only
        "anchors and tags are not used in a secrets file",
        "aliases are not used in a secrets file",
        "a key of the map is not text",
    ),
    Reason.TAMPERED: (
        "the sops block has no valid lastmodified or version",  # sops takes 0.5 s and +00:00 too
    ),
    Reason.ALTERED: ("was altered, or moved",),  # sops ignores what follows a value's last bracket
    Reason.NOT_ENCRYPTED: ("stands there unencrypted",),  # the same, where the bracket has gone
    Reason.NOT_READABLE: ("the file is not valid YAML",),
}


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


@pytest.fixture(scope="module")
def sealed(age: Age) -> list[bytes]:
    """Files that the real sops encrypted, each with many random trees."""
    dice = dice_from(SEED)
    documents = [(random_document(dice, TREES_PER_FILE), dice.choice(RULES)) for _ in range(FILES)]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda one: age.encrypt(one[0], *one[1]), documents))


def ours(age: Age, text: bytes) -> list[Any] | SopsError:
    try:
        return flat_opened(decrypt(parse(text), Keyring(age.environ), ()))
    except SopsError as error:
        return error


def theirs(age: Age, texts: Sequence[bytes]) -> Iterator[list[Any] | None]:
    with ThreadPoolExecutor(2) as pool:
        for tree in pool.map(age.decrypt, texts):
            yield None if tree is None else list(flat(tree))


def test_random_documents_read_the_same(age: Age, sealed: list[bytes]) -> None:
    read = 0
    for text, expected in zip(sealed, theirs(age, sealed), strict=True):
        result = ours(age, text)
        if expected is None:  # sops cannot always read its own file, with odd text in clear
            assert isinstance(result, SopsError)
            continue
        assert result == expected
        read += TREES_PER_FILE
    assert read >= 2000 * SCALE


def test_forgeries_are_judged_the_same(age: Age, sealed: list[bytes]) -> None:
    dice = dice_from(SEED + 1)
    forgeries = [forge(dice, dice.choice(sealed)) for _ in range(FORGERIES)]
    verdicts: Counter[str] = Counter()
    for text, expected in zip(forgeries, theirs(age, forgeries), strict=True):
        result = ours(age, text)
        if isinstance(result, SopsError):
            assert expected is None or is_known_to_be_stricter(result), (result.message, text)
            verdicts["stricter" if expected is not None else "refused"] += 1
        else:
            assert result == expected, text  # never laxer, never another value
            verdicts["accepted"] += 1
    assert verdicts["refused"] > 0.5 * FORGERIES
    assert verdicts["accepted"] > 0.05 * FORGERIES  # those in comments, and those that undo nothing
    assert verdicts["stricter"] < 0.1 * FORGERIES


def is_known_to_be_stricter(error: SopsError) -> bool:
    return any(words in error.message for words in STRICTER.get(error.reason, ()))


def forge(dice: random.Random, sealed: bytes) -> bytes:
    return dice.choice(FORGERS)(dice, sealed.decode()).encode()


def one_letter(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text))
    return text[:at] + dice.choice(string.printable[:95] + "\n") + text[at + 1 :]


def one_letter_less(dice: random.Random, text: str) -> str:
    at = dice.randrange(len(text))
    return text[:at] + text[at + 1 :]


def lines_changed(dice: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True)
    one, other = dice.sample(range(len(lines)), 2)
    match dice.randrange(3):
        case 0:
            lines[one], lines[other] = lines[other], lines[one]
        case 1:
            lines.insert(one, lines[other])
        case _:
            del lines[one]
    return "".join(lines)


def values_swapped(dice: random.Random, text: str) -> str:
    values = re.findall(r"ENC\[[^\]]*\]", text)
    one, other = dice.choice(values), dice.choice(values)
    return text.replace(one, "\0").replace(other, one).replace("\0", other)


def type_changed(dice: random.Random, text: str) -> str:
    """Not that of a comment: we do not read comments, and sops would hash it as a value."""
    types = list(re.finditer(r"^(?!\s*#).*,type:(\w+)\]", text, re.MULTILINE))
    chosen = dice.choice(types)
    kind = dice.choice(["str", "int", "float", "bool", "time", "comment", "x"])
    return text[: chosen.start(1)] + kind + text[chosen.end(1) :]


def key_renamed(dice: random.Random, text: str) -> str:
    return re.sub(
        r"^part(\d+)", lambda _: f"part{dice.randrange(16)}", text, count=1, flags=re.MULTILINE
    )


def block_changed(dice: random.Random, text: str) -> str:
    added = dice.choice(
        [
            "    unencrypted_suffix: art1\n",
            "    encrypted_regex: ^x\n",
            "    kms: []\n",
            '    lastmodified: "2026-01-01T00:00:00Z"\n',
            '    mac: ""\n',
        ]
    )
    name = added.split(":")[0]
    return re.sub(rf"^{name}: .*\n", "", text, flags=re.MULTILINE) + added


def mac_removed(_dice: random.Random, text: str) -> str:
    return re.sub(r"^    mac: .*\n", "", text, flags=re.MULTILINE)


FORGERS = (
    one_letter,
    one_letter,
    one_letter,
    one_letter_less,
    lines_changed,
    values_swapped,
    type_changed,
    key_renamed,
    block_changed,
    mac_removed,
)

TOKENS = """
    yes no on off y n Yes true True TRUE tRUE false ~ null Null NULL nULL 0 -0 +0 017 08 0o17 0O17
    0x1F 0X1f -0x1f +12 1_000 _1 1_ 0b101 -0b11 0b 0x 0o 1e3 1E3 1e400 1e-400 .5 5. -.5 +.5 .5e3 .e1
    . .. + -- 1.0 1.50 123456789012345678901234567890 9223372036854775807 -9223372036854775808 .5_0
    2026-01 2024-foo 12:30:45 1:2 0777 0888 08.5 1.2.3 1e 1e+ 1e+5 0x_1f 0_x1 1__0 += << = a:b a#b
    1e21 1e20 100000000000000000000 1.7976931348623157e308 5e-324 0.1 007 00 0b102 0o8 1_0.5 1._5
    9007199254740993 9007199254740993.0 00000000000000000000000000000000000000000000000000000000017
""".split()  # noqa: SIM905  # a table reads better than a list of quotes


def test_plain_scalars_mean_the_same(age: Age) -> None:
    """In clear the MAC hashes what a token means, so one wrong meaning would refuse the file."""
    source = "".join(f"k{n}_unencrypted: {token}\n" for n, token in enumerate(TOKENS))
    sealed = age.encrypt(source + "secret: s\n").decode()
    for number, token in enumerate(TOKENS):  # as written, not as sops writes it anew
        sealed = re.sub(rf"(?m)^(k{number}_unencrypted): .*$", rf"\1: {token}", sealed)
    assert ours(age, sealed.encode()) == next(theirs(age, [sealed.encode()]))


@pytest.mark.parametrize("token", ["2026-01-02", "2026-01-02T03:04:05Z", ".inf", "-.INF", ".nan"])
def test_scalars_that_sops_prints_in_another_way_are_refused(age: Age, token: str) -> None:
    sealed = age.encrypt(f"k_unencrypted: {token}\nsecret: s\n")
    result = ours(age, sealed)
    assert isinstance(result, SopsError)
    assert result.reason is Reason.UNSUPPORTED


def test_what_we_write_sops_reads_edits_and_reads_again(age: Age, tmp_path: Path) -> None:
    dice = dice_from(SEED + 2)
    for number in range(20 * SCALE):
        values: dict[str, writer.Value] = {
            f"name-{n}.x": random_text(dice) for n in range(dice.randrange(1, 8))
        }
        values |= {"null": "x", "1": "y", "bound": {"value": "v", "hosts": ["a.example.com", "b"]}}
        text = writer.encrypt(values, [age.recipient])
        assert ours(age, text) == next(theirs(age, [text]))
        assert age.decrypt(text) == values
        if number % 5 == 0:
            assert age.decrypt(edited(age, tmp_path, text)) == values | {"added": "later"}


def edited(age: Age, folder: Path, text: bytes) -> bytes:
    file = folder / "a.sops.yaml"
    writer.write(file, text)
    subprocess.run(
        [real_sops(), "set", "--value-stdin", str(file), '["added"]'],
        input=b'"later"',
        env=dict(age.environ),
        check=True,
        timeout=30,
    )
    return file.read_bytes()
