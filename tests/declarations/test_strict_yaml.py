"""What a file means, which files are refused, and where the first fault of each stands."""

import json
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.declarations.catalogue.files import RULES
from reconciler.declarations.strict_yaml import MAX_DEPTH, MAX_FAULTS, YamlProblem, parse, positions
from reconciler.declarations.yaml_scalars import Refused, resolve
from reconciler.model import Place, Problem

FILE: Final = "gateways.d/support.yaml"
SAMPLE: Final = b"""\
# yaml-language-server: $schema=../schema/gateways.schema.json
defaults:
  host: "mail.example.com"
  user_password: {secret: support_mailbox}
gateways:
  support-out:
    protocol_type: SMTP
    port: 465
    labels: {env: production, team: [a, 'b', "c"]}
  support-in: &in
    protocol_type: IMAP
    authentication_flag: true
    default_user_name: >-
      Example
      Support
  support-too: *in
"""


def refused(text: bytes) -> Problem:
    with pytest.raises(YamlProblem) as caught:
        parse(text, FILE)
    return caught.value.problems[0]


def cases() -> list[Any]:
    rows = json.loads((Path(__file__).parent / "yaml/refused.json").read_text())
    return [pytest.param(row, id=row["name"]) for row in rows]


@pytest.mark.parametrize("case", cases())
def test_refused(case: dict[str, str]) -> None:
    problem = refused(case["text"].encode())
    shown = {
        "place": f"{problem.place.line}:{problem.place.column}",
        "path": problem.path,
        "rule": problem.rule,
        "message": problem.message,
        "hint": problem.hint,
    }
    assert shown == {key: case[key] for key in shown}
    assert problem.place.file == FILE


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"", None),
        (b"\xef\xbb\xbf", None),
        (b"# only a comment\n", None),
        (b"---\n...\n", None),
        (b"---\na: 1\n...\n", {"a": 1}),
        (b"%YAML 1.2\n---\na: 1\n", {"a": 1}),
        (b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        (b"a:\nb: ~\nc: null\nd: Null\n", dict.fromkeys("abcd")),
        (b"a: true\nb: True\nc: FALSE\n", {"a": True, "b": True, "c": False}),
        (b"a: 0\nb: -12\nc: +5\nd: 993\n", {"a": 0, "b": -12, "c": 5, "d": 993}),
        (b"a: 1.5\nb: -.5\nc: 5.\nd: 0.0\n", {"a": 1.5, "b": -0.5, "c": 5.0, "d": 0.0}),
        (b"[-9223372036854775808, 9223372036854775807]", [-(2**63), 2**63 - 1]),
        (b"['yes', \"no\", '0777', \"<<\", '~', '']", ["yes", "no", "0777", "<<", "~", ""]),
        (b"[yEs, noo, ona, offline, yaml]", ["yEs", "noo", "ona", "offline", "yaml"]),
        (b"[10.0.0.1, 1.2.3, '::1', fe80::1, 12:99, 00:1b:63]", [
            "10.0.0.1", "1.2.3", "::1", "fe80::1", "12:99", "00:1b:63",
        ]),
        (b"[-, +, ., .., 1-2, 5%, 3x, _1, 0x, 1e, e5]", [
            "-", "+", ".", "..", "1-2", "5%", "3x", "_1", "0x", "1e", "e5",
        ]),
        (b"[2026-01, 20260102, 2026-01-02x]", ["2026-01", 20260102, "2026-01-02x"]),
        (b"'1': a\n'': b\n'true': c\n", {"1": "a", "": "b", "true": "c"}),
        (b"? a\n: b\n? c\n", {"a": "b", "c": None}),
        (b"{a, b: 1,}", {"a": None, "b": 1}),
        (b"a: !!str 5\nb: !!int '5'\nc: !!float 5\n", {"a": "5", "b": 5, "c": 5.0}),
        (b"a: !!bool 'true'\nb: !!null ''\nc: !!str\n", {"a": True, "b": None, "c": ""}),
        (b"!!map {a: !!seq [b]}", {"a": ["b"]}),
        (b"a: &x [1, 2]\nb: *x\nc: *x\n", {"a": [1, 2], "b": [1, 2], "c": [1, 2]}),
        (b"&k a: &x 1\nb: *x\nc: *k\n", {"a": 1, "b": 1, "c": "a"}),
        (b"a: &x 1\nb: &x 2\nc: *x\n", {"a": 1, "b": 2, "c": 2}),
        (b"a: |\n  x\n  y\nb: >\n  x\n  y\n", {"a": "x\ny\n", "b": "x y\n"}),
        (b"a: x #y\nb: x#y\nc: 'it''s'\n", {"a": "x", "b": "x#y", "c": "it's"}),
        (b'a: "\\u00e9\\t\\n\\x41"', {"a": "é\t\nA"}),
        ("é: ü\n".encode(), {"é": "ü"}),
        (b"a:\tb\n", {"a": "b"}),
    ],
)  # fmt: skip
def test_data(text: bytes, data: object) -> None:
    found = parse(text, FILE)
    assert repr(found) == repr(data)  # repr tells 1, 1.0 and True apart


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        (b"a: \xff", (1, 4), "not-utf8"),
        ("é: 1\nb: ü".encode() + b"\xc3", (2, 5), "not-utf8"),
        (b"a: \xed\xa0\x80", (1, 4), "not-utf8"),  # a lone surrogate
        (b"a: \xc0\x80", (1, 4), "not-utf8"),  # an overlong NUL
        ("a: é".encode("latin-1"), (1, 4), "not-utf8"),
        ("a: 1".encode("utf-16"), (1, 1), "not-utf8"),
        ("a: 1".encode("utf-16-le"), (1, 1), "not-utf8"),
        ("a: 1".encode("utf-16-be"), (1, 1), "not-utf8"),
        ("a: 1".encode("utf-32"), (1, 1), "not-utf8"),
        (b"\x7fELF\x02\x01\x01\x00", (1, 1), "control-character"),
        (b"\x89PNG\r\n\x1a\n", (1, 1), "not-utf8"),
        (b"x" * (1024 * 1024 + 1), (1, 1), "file-too-large"),
        (b"a: " + b"9" * 5000, (1, 4), "number-too-large"),
        (b"a: -" + b"9" * 5000 + b".5", (1, 4), "number-too-large"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, (1, 3 + MAX_DEPTH), "too-deep"),
        (b"a: " + b"{a: " * 5000, (1, 4 + 4 * (MAX_DEPTH - 1)), "too-deep"),
        (b"- " * 5000 + b"a", (1, 1 + 2 * MAX_DEPTH), "too-deep"),
        (b"? " * 5000, (1, 3), "key-not-text"),
    ],
)
def test_hostile_files_are_refused(text: bytes, place: tuple[int, int], rule: str) -> None:
    started = time.process_time()
    problem = refused(text)
    assert (problem.place, problem.rule) == (Place(FILE, *place), rule)
    assert time.process_time() - started < 5  # milliseconds, but for the machine's other work


def test_the_limits_themselves_are_accepted() -> None:
    assert len(parse(b"a: " + b"x" * (1024 * 1024 - 3), FILE)["a"]) == 1024 * 1024 - 3
    data = parse(b"a: " + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1), FILE)
    depth = 0
    while data:
        data, depth = next(iter(data.values() if isinstance(data, dict) else data)), depth + 1
    assert depth == MAX_DEPTH - 1


def bomb(levels: int) -> bytes:
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x]"
    nine = (f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels))
    return "\n".join([first, *nine]).encode()


def test_aliases_are_counted_as_what_they_stand_for() -> None:
    assert len(parse(bomb(4), FILE)) == 4
    problem = refused(bomb(9))
    assert (problem.rule, problem.place.line) == ("alias-expansion", 5)
    assert problem.message == "the aliases of this file stand for more than 10,000 values"


@pytest.mark.parametrize(("count", "accepted"), [(9_999, True), (10_000, False)])
def test_the_limit_of_aliases(count: int, accepted: bool) -> None:  # noqa: FBT001
    # An alias of a list with n values stands for n + 1.
    text = b"a: &a [" + b"x," * count + b"]\nb: *a"
    if accepted:
        assert len(parse(text, FILE)["b"]) == count
    else:
        assert refused(text).rule == "alias-expansion"


def test_a_long_text_may_not_be_repeated_without_end() -> None:
    text = b"a: &a " + b"x" * 500_000 + b"\nb: [*a, *a"
    assert len(parse(text + b"]", FILE)["b"]) == 2
    assert refused(text + b", *a]").rule == "alias-expansion"


def test_aliases_add_to_the_depth() -> None:
    half = MAX_DEPTH // 2
    inner = b"a: &a " + b"[" * half + b"]" * half + b"\nb: "
    assert parse(inner + b"[" * (half - 1) + b"*a" + b"]" * (half - 1), FILE)
    problem = refused(inner + b"[" * half + b"*a" + b"]" * half)
    assert (problem.rule, problem.place.line) == ("too-deep", 2)


def test_a_merge_bomb_is_refused_at_its_first_merge() -> None:
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, 30)]
    text = "\n".join(lines)
    problem = refused(text.encode())
    assert (problem.rule, problem.place.line) == ("merge-key", 2)
    problems, _ = everything_refused(text)
    assert {rule for *_, rule in problems} == {"merge-key"}  # none is carried out


def everything_refused(text: str) -> tuple[list[tuple[str, str, str]], Any]:
    """Places, paths and rules of all faults, and the rest of the data."""
    with pytest.raises(YamlProblem) as caught:
        parse(text.encode(), FILE)
    problems = [
        (f"{problem.place.line}:{problem.place.column}", problem.path, problem.rule)
        for problem in caught.value.problems
    ]
    return problems, caught.value.rest.data if caught.value.rest else None


@pytest.mark.parametrize(
    ("text", "problems", "rest"),
    [
        (
            "a: {flag: yes, protect: no, port: 0777}\nb: {c: 1}",
            [
                ("1:11", "a.flag", "ambiguous-value"),
                ("1:25", "a.protect", "ambiguous-value"),
                ("1:35", "a.port", "ambiguous-value"),
            ],
            {"a": {"flag": None, "protect": None, "port": None}, "b": {"c": 1}},
        ),
        (
            "no: 1\n? [a, &x {b: c}]\n: off\nd: *x\ne: [1, !t {f: =}, 2, *u]",
            [
                ("1:1", "", "ambiguous-value"),
                ("2:3", "", "key-not-text"),
                ("3:3", "", "ambiguous-value"),
                ("5:8", "e.1", "unknown-tag"),
                ("5:15", "e.1.f", "ambiguous-value"),
                ("5:22", "e.3", "unknown-alias"),
            ],
            {"d": None, "e": [1, {"f": None}, 2, None]},
        ),
        (
            "a: {x: 1}\nb: 1\na: {w: no}\nb: 2\n<<: [*u, &m {z: no}]\nc: *m",
            [
                ("3:1", "a", "duplicate-key"),
                ("3:8", "a.w", "ambiguous-value"),
                ("4:1", "b", "duplicate-key"),
                ("5:1", "", "merge-key"),
            ],
            {"a": {"x": 1}, "b": None, "c": None},
        ),
        (
            "a: &x no\nb: [*x, *x]\nc: [&y yes]\nd: *y",
            [("1:4", "a", "ambiguous-value"), ("3:5", "c.0", "ambiguous-value")],
            {"a": None, "b": [None, None], "c": [None], "d": None},
        ),
        (
            "a: no\nb: {{ mail }}\nc: 1",
            [("1:4", "a", "ambiguous-value"), ("2:5", "b", "key-not-text")],
            {"a": None, "b": {}, "c": 1},
        ),
        (
            "a: no\nb: [yes, 1",
            [
                ("1:4", "a", "ambiguous-value"),
                ("2:4", "b", "yaml-syntax"),
                ("2:5", "b.0", "ambiguous-value"),
            ],
            None,
        ),
        ("a: no\n---\nb: 1", [
            ("1:4", "a", "ambiguous-value"), ("2:1", "", "several-documents"),
        ], None),
        ("a: {user_password: 0777, b, no: 1}", [
            ("1:20", "a", "ambiguous-value"), ("1:29", "a", "ambiguous-value"),
        ], None),
    ],
)  # fmt: skip
def test_every_fault_is_told_and_the_rest_is_read(
    text: str, problems: list[tuple[str, str, str]], rest: object
) -> None:
    found, data = everything_refused(text)
    assert (found, data) == (problems, rest)


def test_reading_on_ends_after_a_thousand_faults() -> None:
    with pytest.raises(YamlProblem) as caught:
        parse(b"[" + b"no," * 300_000 + b"]", FILE)
    assert len(caught.value.problems) == MAX_FAULTS + 1
    assert caught.value.rest is None


def test_many_files_share_their_strings() -> None:
    shared: dict[str, str] = {}
    one, two = (parse(b"host: mail.example.com", FILE, shared) for _ in "12")
    assert one["host"] is two["host"]
    (key,) = one
    assert key is sys.intern("host")


RULES_REPORTED: Final = {rule.slug for rule in RULES}


def parsed_or_refused(text: bytes) -> tuple[Problem, ...]:
    """Nothing but YamlProblem may escape, and its places are those of the file."""
    try:
        parse(text, FILE)
    except YamlProblem as fault:
        lines = text.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for problem in fault.problems:
            assert 1 <= problem.place.line <= len(lines) + 1
            assert problem.place.column >= 1
            assert problem.rule in RULES_REPORTED
            assert problem.message.isprintable()
            assert problem.hint
            assert len(problem.message) < 200
        json.dumps(fault.rest and fault.rest.data)  # plain data
        return fault.problems
    return ()


QUICK: Final = settings(max_examples=300, deadline=timedelta(seconds=5))
# fmt: off
TOKENS: Final = st.sampled_from([
    "a", "b", ": ", ":", "- ", "\n", "\n  ", "\n    ", "\t", "? ", "[", "]", "{", "}", ", ", "'",
    '"', "&a ", "*a", "!!str ", "!x ", "|", ">", "#", " #", "%", "@", "---\n", "...\n", "\\", "~",
    "<<: ", "yes", "0777", "1e3", "\r\n", "\r", "é", "\u2028", "\ufeff", "\0", "\x1b", "😀", "=",
    "user_password: ", "gateways:\n", "1", ".", "-", "_", "0x", "2026-01-02", "\\u", "\\x0",
])
# fmt: on


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(text: bytes) -> None:
    parsed_or_refused(text)


@QUICK
@given(st.lists(TOKENS, max_size=40).map("".join))
@example("? ? a")
@example("a: !<tag:yaml.org,2002:str> !!int b")
@example("\ufeff\ufeff")
def test_any_tokens(text: str) -> None:
    parsed_or_refused(text.encode())


@QUICK
@given(st.data())
def test_a_damaged_sample(data: st.DataObject) -> None:
    text = SAMPLE
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 5))
        piece = data.draw(TOKENS.map(str.encode) | st.binary(max_size=3))
        text = text[:at] + piece + text[at + cut :]
    parsed_or_refused(text)


CANARY: Final = "hunter2"
# fmt: off
PASSWORD_PARTS: Final = st.lists(st.sampled_from([
    CANARY, CANARY, ",", ", ", "{", "}", "[", "]", ": ", ":", "*", "&", "!", "!!", "'", '"', "#",
    " ", "0777", "yes", "1", "- ", "? ", "@", "%", "|", ">", "\\", "~", "<<", "a",
]), min_size=1, max_size=8).map("".join)
# fmt: on


@settings(max_examples=1000, deadline=timedelta(seconds=5))
@given(
    PASSWORD_PARTS,
    st.sampled_from(
        [
            "gateways:\n  a:\n    user_password: %s\n    port: 0777\n",
            "gateways:\n  a:\n    user_password:\n      %s\n",
            "gateways:\n  a:\n    user_password: {secret: %s}\n",
            "gateways:\n  a: {user_password: %s, port: 1}\n",
            "gateways: {a: {user_password: %s}, b: 0777}\n",
            "user_password: [%s]\n",
            "- {user_password: %s}\n",
            "%s\n",
        ]
    ),
)
@example("a}, hunter2: {b: 0777", "gateways: {a: {user_password: %s}, b: 1}\n")
@example("a, hunter2, hunter2", "gateways:\n  a: {user_password: %s}\n")
@example("0777, hunter2: yes, no", "gateways:\n  a: {user_password: %s}\n")
def test_a_password_is_never_shown(password: str, template: str) -> None:
    problems = parsed_or_refused((template % password).encode())
    if template != "%s\n":
        assert CANARY not in str(problems)


def unlike_any_number(text: str) -> bool:
    return not isinstance(resolve(text), Refused)


TEXT: Final = st.text(
    st.characters(exclude_categories=["Cc", "Cn", "Cs", "Zl", "Zp"], exclude_characters="\ufeff"),
    max_size=12,
).filter(unlike_any_number)  # fmt: skip
WORDS: Final = st.sampled_from(["host", "true", "no.example", "x: y", "# c", "-", "- a", "12", ""])
DATA: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(-4_000_000, 4_000_000).map(lambda n: n / 4)
    | TEXT
    | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | WORDS, inner, max_size=4),
    max_leaves=20,
)


@QUICK
@given(DATA, st.sampled_from([None, True, False]), st.booleans(), st.sampled_from([20, 80]))
def test_the_data_is_that_of_other_readers(
    data: object,
    flow: bool | None,  # noqa: FBT001
    unicode: bool,  # noqa: FBT001
    width: int,
) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow, allow_unicode=unicode, width=width)
    assert repr(parse(text.encode(), FILE)) == repr(yaml.load(text, yaml.CSafeLoader))


def walked(data: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    return [path, *(found for step, child in inner for found in walked(child, (*path, step)))]


@QUICK
@given(st.dictionaries(st.sampled_from("abcdef"), DATA), st.booleans())
def test_every_value_has_a_place(data: object, flow: bool) -> None:  # noqa: FBT001
    text = yaml.safe_dump(data, default_flow_style=flow)
    places = positions(text.encode(), FILE)
    lines = [*text.split("\n"), ""]
    for path in walked(data):
        for place in (places.place(path), places.place(path, key=True)):
            assert 1 <= place.column <= len(lines[place.line - 1]) + 1


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        ((), (2, 1), (2, 1)),
        (("defaults",), (3, 3), (2, 1)),
        (("defaults", "host"), (3, 9), (3, 3)),
        (("defaults", "user_password", "secret"), (4, 27), (4, 19)),
        (("gateways", "support-out"), (7, 5), (6, 3)),
        (("gateways", "support-out", "port"), (8, 11), (8, 5)),
        (("gateways", "support-out", "labels", "team", 1), (9, 41), (9, 41)),
        (("gateways", "support-in"), (10, 15), (10, 3)),
        (("gateways", "support-too"), (16, 16), (16, 3)),
        (("gateways", "support-too", "protocol_type"), (11, 20), (11, 5)),  # of the anchor
        (("gateways", "support-out", "missing"), (6, 3), (6, 3)),
        (("gateways", "support-out", "missing", "deeper"), (6, 3), (6, 3)),
        (("gateways", "support-out", "labels", "team", 9), (9, 31), (9, 31)),
        (("gateways", "support-out", "labels", "team", 1, "x"), (9, 41), (9, 41)),
        (("missing",), (2, 1), (2, 1)),
    ],
)
def test_places(path: tuple[str | int, ...], value: tuple[int, int], key: tuple[int, int]) -> None:
    places = positions(SAMPLE, FILE)
    assert places.place(path) == Place(FILE, *value)
    assert places.place(path, key=True) == Place(FILE, *key)


def test_places_count_characters_and_ignore_a_byte_order_mark() -> None:
    places = positions("\ufeffé: {ü: 😀, b: x}".encode(), FILE)
    assert places.place(("é", "b")) == Place(FILE, 1, 14)


@pytest.mark.parametrize(
    "text", [b"", b"# c", b"a: [", b"a: *x", b"\xff", b"[" * 100_000, b"- a: \0"]
)
def test_places_of_a_broken_file_never_raise(text: bytes) -> None:
    assert positions(text, FILE).place(("a", 0, "b")).file == FILE


def test_the_first_of_two_equal_keys_has_the_place() -> None:
    assert positions(b"a: 1\na: 2", FILE).place(("a",)) == Place(FILE, 1, 4)


@pytest.mark.parametrize(
    "piece",
    [
        *(
            "[",
            "{",
            "[{",
            "- ",
            "? ",
            "&a ",
            "!x ",
            "a: ",
            "'",
            '"',
            "\\",
            "\t",
            "*a ",
            "a\n",
            "# ",
        ),
        *(
            "- - \n",
            "{a",
            "a,",
            "%",
            "a:\n",
            "a: |\n",
            "\n",
            " \n ",
            "{a: [",
            "\r",
            "---\n",
            "'a': ",
        ),
    ],
)
def test_large_hostile_files_take_no_time(piece: str) -> None:
    """Repeated openers and look-ahead are where parsers turn quadratic."""
    text = (piece * (1_000_000 // len(piece))).encode()
    started = time.process_time()
    parsed_or_refused(text)
    assert time.process_time() - started < 5
