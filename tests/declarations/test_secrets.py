"""The secrets files of a target: judged without a key, opened only where needed."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from reconciler.declarations.secrets import SecretFiles
from reconciler.declarations.sops import reader, writer
from reconciler.declarations.sops.document import MAX_BYTES
from reconciler.errors import ExitCode, InvalidInput, SecretsUnavailable
from tests.declarations.sops_support import CANARY, SCALE, SEED, Age, dice_from

PATTERN = "gateways.d/secrets/*.sops.yaml"
FOLDER = "gateways.d/secrets"


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


def put(root: Path, name: str, text: bytes | str) -> Path:
    file = root / FOLDER / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def seal(age: Age, **values: writer.Value) -> str:
    return writer.encrypt(values, [age.recipient]).decode()


def scan(root: Path, age: Age | None = None, patterns: Sequence[str] = (PATTERN,)) -> SecretFiles:
    environ: Mapping[str, str] = age.environ if age else {"HOME": "/nonexistent"}
    return SecretFiles.scan(root, patterns, (), environ=environ)


def said(secrets: SecretFiles) -> list[str]:
    """Problems as text; none of them may hold the canary."""
    lines = [
        f"{problem.place} {problem.path} {problem.rule}: {problem.message}".replace(FOLDER, "")
        for problem in secrets.problems
    ]
    assert CANARY not in "".join(lines) + "".join(problem.hint for problem in secrets.problems)
    return lines


# Without a key


def test_names_places_and_ciphertexts_need_no_key(age: Age, tmp_path: Path) -> None:
    put(tmp_path, "b.sops.yaml", seal(age, sales="x"))
    text = seal(age, support=CANARY, bound={"value": "v", "hosts": ["a.example.com"]})
    put(tmp_path, "a.sops.yaml", text)
    secrets = scan(tmp_path)
    assert said(secrets) == []
    assert list(secrets.names) == ["support", "bound", "sales"]
    entry = secrets.names["support"]
    assert str(entry.place) == f"{FOLDER}/a.sops.yaml:1:10"
    assert re.fullmatch("sha256:[0-9a-f]{64}", entry.ciphertext)
    assert len({entry.ciphertext for entry in secrets.names.values()}) == 3


def test_a_ciphertext_changes_only_with_its_own_value(age: Age, tmp_path: Path) -> None:
    bound: writer.Value = {"value": "v", "hosts": ["a.example.com"]}
    text = seal(age, support="x", bound=bound)
    put(tmp_path, "a.sops.yaml", text)
    before = scan(tmp_path).names
    put(tmp_path, "a.sops.yaml", text.replace("sops:", "\n# a comment\nsops:"))
    assert {name: entry.ciphertext for name, entry in scan(tmp_path).names.items()} == {
        name: entry.ciphertext for name, entry in before.items()
    }
    put(tmp_path, "a.sops.yaml", text.replace("- ENC[AES256_GCM,data:", "- ENC[AES256_GCM,data:A"))
    after = scan(tmp_path).names
    assert after["support"].ciphertext == before["support"].ciphertext
    assert after["bound"].ciphertext != before["bound"].ciphertext


def test_no_files_and_nothing_to_say(tmp_path: Path) -> None:
    secrets = scan(tmp_path)
    assert said(secrets) == []
    assert secrets.names == {}
    assert secrets.has_identity()
    assert secrets.decrypt(["support"]) == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"support: {CANARY}\n", "/a.sops.yaml:1:10  not-encrypted: the file is not encrypted"),
        ("", "/a.sops.yaml:1:1  not-encrypted: the file is empty"),
        ("a: 1\nsops: 2\n", "/a.sops.yaml:2:7  secrets-file-form: the sops block is not a map"),
        (
            f"a: [{CANARY}\n",
            "/a.sops.yaml:2:1  secrets-file-unreadable: the file is not valid YAML",
        ),
        (f"a: '{CANARY}'\n---\nb: 1", "/a.sops.yaml:2:1  secrets-file-form: the file holds more"),
        (b"a: \xff\xfe", "/a.sops.yaml:1:1  secrets-file-unreadable: the file is not UTF-8 text"),
        (f"{CANARY}\n", "/a.sops.yaml:1:1  secrets-file-form: the file is not a map"),
        ("a" * (MAX_BYTES + 1), "/a.sops.yaml:1:1  secrets-file-unreadable: the file is larger"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str | bytes, expected: str) -> None:
    put(tmp_path, "a.sops.yaml", text)
    lines = said(scan(tmp_path))
    assert len(lines) == 1
    assert lines[0].startswith(expected)


@pytest.mark.parametrize(
    ("pattern", "by", "expected"),
    [
        (r"support: .*", f"support: {CANARY}", "1:10 support plain-secret"),
        (r"support: .*", "support: 5", "1:10 support plain-secret"),
        (r"support: .*", 'support: ""', "1:10 support plain-secret"),
        (r"support: .*", "support:", "1:9 support plain-secret"),
        (r"support: .*", "support: []", "1:10 support secrets-file-form"),
        (r"support", '"sup port"', "1:13  bad-secret-name"),
        (r"support", '"-support"', "1:13  bad-secret-name"),
        (r"support", "note_unencrypted", None),
        (r"    hosts:", "    host:", "5:11 bound.host.0 secrets-file-form"),
        (r"    hosts:\n(.*\n)", "    hosts: []\n", "4:12 bound.hosts secrets-file-form"),
        (r"    value: .*\n", "", "4:11 bound secrets-file-form: the secret has no value"),
        (r"    mac: .*\n", "", "8:22 sops secrets-file-form: the sops block has no MAC"),
        (r"    unenc", "    mac_only_encrypted: true\n    unenc", "1:1  secrets-file-form"),
        (
            r"    mac: ",
            "    hc_vault:\n    - vault_address: http://x\n    mac: ",
            "foreign-key-service",
        ),
    ],
)
def test_what_a_file_may_not_hold(
    age: Age, tmp_path: Path, pattern: str, by: str, expected: str | None
) -> None:
    text = seal(age, support=CANARY, bound={"value": "v", "hosts": ["a.example.com"]})
    forged, count = re.subn(pattern, by, text, count=1)
    assert count == 1
    put(tmp_path, "a.sops.yaml", forged)
    lines = said(scan(tmp_path, age))
    if expected is None:
        assert lines == []
    else:
        assert any(expected in line for line in lines), lines
        with pytest.raises(SecretsUnavailable) as caught:
            scan(tmp_path, age).decrypt(scan(tmp_path).names)
        assert CANARY not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "forged",
    [
        r'"bound":\n    value: \1\n"bound:hosts":\n\2',
        r'"bound":\n    value: \1\n    "hosts:":\n\2',
        r'"bound":\n    - value: \1\n    - hosts:\n        \2',
        r'"bound:value": \1\n"x": {}\n"bound:hosts":\n\2',
    ],
)
def test_a_binding_cannot_be_moved_away_from_its_secret(
    age: Age, tmp_path: Path, forged: str
) -> None:
    """Sops binds a value to its keys joined by colons, and hashes no structure: we look at both."""
    text = seal(age, bound={"value": CANARY, "hosts": ["mail.example.com"]})
    moved = re.sub(r"bound:\n    value: (.*)\n    hosts:\n(.*)", forged, text)
    assert moved != text
    put(tmp_path, "a.sops.yaml", moved)
    assert said(scan(tmp_path, age))
    with pytest.raises(SecretsUnavailable):
        scan(tmp_path, age).decrypt(["bound", "bound:value"])


def test_sops_itself_would_not_notice_such_a_move(age: Age) -> None:
    """So that the test above proves something."""
    text = seal(age, bound={"value": "v", "hosts": ["mail.example.com"]})
    moved = text.replace("    hosts:", '"bound:hosts":')
    assert age.decrypt(moved.encode()) == {
        "bound": {"value": "v"},
        "bound:hosts": ["mail.example.com"],
    }


def test_a_name_in_two_files_is_a_problem_of_both(age: Age, tmp_path: Path) -> None:
    put(tmp_path, "a.sops.yaml", seal(age, support="x"))
    put(tmp_path, "b.sops.yaml", seal(age, support="x"))
    lines = said(scan(tmp_path))
    assert [line.split(": ")[0] for line in lines] == [
        "/a.sops.yaml:1:10 support duplicate-secret",
        "/b.sops.yaml:1:10 support duplicate-secret",
    ]
    assert "b.sops.yaml:1:10" in lines[0]


# Which files


def test_links_pipes_and_folders(age: Age, tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    inside = put(root, "a.sops.yaml", seal(age, inside="x"))
    stolen = put(outside, "z.sops.yaml", seal(age, stolen="x"))
    folder = inside.parent
    (folder / "kept").mkdir()
    (folder / "kept/k.yaml").write_text(seal(age, kept="x"))
    (folder / "b.sops.yaml").symlink_to("kept/k.yaml")
    (folder / "c.sops.yaml").symlink_to(stolen)
    (folder / "d.sops.yaml").symlink_to("nowhere")
    (folder / "e.sops.yaml").symlink_to("e.sops.yaml")
    (folder / "f.sops.yaml").mkdir()
    os.mkfifo(folder / "g.sops.yaml")
    (folder / ".h.sops.yaml").write_text("hidden: x\n")
    secrets = scan(root)
    assert list(secrets.names) == ["inside", "kept"]
    assert [line.split("  ")[1] for line in said(secrets)] == [
        "secrets-file-unreadable: the link leads out of the project",
        "secrets-file-unreadable: the link leads nowhere",
        "secrets-file-unreadable: the file cannot be read: Too many levels of symbolic links",
        "secrets-file-unreadable: it is not a regular file",
    ]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("gateways.d/secrets/*.sops.yaml", ["a", "b"]),
        ("gateways.d/secrets/a.sops.yaml", ["a"]),
        ("gateways.d/**/*.sops.yaml", ["a", "b", "deep"]),
        ("gateways.d/**", ["a", "b", "deep"]),
        ("gateways.d/*/[ab].sops.yaml", ["a", "b"]),
        ("gateways.d/secrets/?.sops.yaml", ["a", "b"]),
        ("gateways.d/secrets/missing.sops.yaml", []),
        ("../root/gateways.d/secrets/*.sops.yaml", []),
        ("gateways.d/secrets/../secrets/*", []),
        ("/etc/*", []),
        ("", []),
        ("linked/*.sops.yaml", []),
        ("**/*.sops.yaml", ["a", "b", "deep"]),
    ],
)
def test_patterns_reach_into_the_project_only(
    age: Age, tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    root = tmp_path / "root"
    put(root, "a.sops.yaml", seal(age, a="x"))
    put(root, "b.sops.yaml", seal(age, b="x"))
    (root / FOLDER / "deep").mkdir()
    (root / FOLDER / "deep/c.sops.yaml").write_text(seal(age, deep="x"))
    put(tmp_path / "outside", "x.sops.yaml", seal(age, outside="x"))
    (root / "linked").symlink_to(tmp_path / "outside" / FOLDER)
    secrets = scan(root, patterns=[pattern, pattern])
    assert list(secrets.names) == expected
    assert all("leads out of the project" in line for line in said(secrets))
    assert len(secrets.problems) == (pattern == "linked/*.sops.yaml")


# With a key


def test_secrets_and_their_bindings(age: Age, tmp_path: Path) -> None:
    digest = "AB:" * 31 + "AB"
    text = seal(
        age,
        plain=CANARY,
        bound={"value": "v", "hosts": ["Mail.Example.com", "*.example.net"]},
        pinned={
            "value": "w",
            "hosts": ["[2001:db8::1]"],
            "anchors": [f"SHA256:{digest}", "f" * 64],
        },
        unbound={"value": "u"},
    )
    put(tmp_path, "a.sops.yaml", text)
    secrets = scan(tmp_path, age).decrypt(["plain", "bound", "pinned", "unbound", "missing"])
    assert {name: one.value.reveal() for name, one in secrets.items()} == {
        "plain": CANARY,
        "bound": "v",
        "pinned": "w",
        "unbound": "u",
    }
    assert secrets["bound"].hosts == ("mail.example.com", "*.example.net")
    assert secrets["pinned"].hosts == ("2001:db8::1",)
    assert secrets["pinned"].anchors == ("ab" * 32, "f" * 64)
    assert secrets["plain"].hosts is secrets["unbound"].hosts is None
    assert CANARY not in f"{secrets}{secrets!r}"


def test_only_the_files_that_are_needed_are_opened_and_each_once(
    age: Age, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Age(tmp_path / "other")
    put(tmp_path, "a.sops.yaml", seal(age, one="1", two="2"))
    put(tmp_path, "b.sops.yaml", seal(other, locked="x"))
    calls: list[object] = []
    real = reader.decrypt

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(reader, "decrypt", counted)
    secrets = scan(tmp_path, age)
    secrets.decrypt(["one"])
    secrets.decrypt(["one", "two"])
    assert len(calls) == 1
    with pytest.raises(SecretsUnavailable):
        secrets.decrypt(["one", "locked"])


def test_every_file_that_fails_is_named_with_its_reason(age: Age, tmp_path: Path) -> None:
    other = Age(tmp_path / "other")
    put(tmp_path, "a.sops.yaml", seal(age, fine="x"))
    put(tmp_path, "b.sops.yaml", seal(other, locked="x"))
    put(tmp_path, "c.sops.yaml", seal(age, forged=CANARY).replace("data:", "data:AAAA", 1))
    put(tmp_path, "d.sops.yaml", seal(age, stale=CANARY).replace('ed: "20', 'ed: "21'))
    put(tmp_path, "e.sops.yaml", seal(age, plain=CANARY).split("sops:")[0])
    secrets = scan(tmp_path, age)
    with pytest.raises(SecretsUnavailable) as caught:
        secrets.decrypt(["fine", "locked", "forged", "stale", "plain"])
    assert caught.value.message.replace(FOLDER, "").splitlines() == [
        "4 secrets files cannot be read:",
        "/b.sops.yaml: no key at hand fits the file",
        "/c.sops.yaml:1:9: the value of forged was altered, or moved from another key or file",
        "/d.sops.yaml: the file was changed without its key (MAC mismatch)",
        "/e.sops.yaml:1:8: the file is not encrypted: it has no sops block",
    ]
    assert caught.value.exit_code is ExitCode.SECRETS
    assert CANARY not in caught.value.message + caught.value.hint
    assert secrets.decrypt(["fine"])["fine"].value.reveal() == "x"


@pytest.mark.parametrize(
    ("source", "name", "rule"),
    [
        ("a.b: 7\n", "a.b", "secret-not-text"),
        ("a: true\n", "a", "secret-not-text"),
        ("a: 1.50\n", "a", "secret-not-text"),
        ("a: {value: 7, hosts: [h]}\n", "a", "secret-not-text"),
        ("a: {value: x, hosts: [7]}\n", "a", "secret-not-text"),
        ("a: {value: x, hosts: ['https://h']}\n", "a", "bad-binding"),
        ("a: {value: x, hosts: ['h:443/']}\n", "a", "bad-binding"),
        ("a: {value: x, anchors: [abc]}\n", "a", "bad-binding"),
    ],
)
def test_values_that_are_no_secrets(
    age: Age, tmp_path: Path, source: str, name: str, rule: str
) -> None:
    put(tmp_path, "a.sops.yaml", age.encrypt(f"fine: x\n{source}"))
    secrets = scan(tmp_path, age)
    assert said(secrets) == []
    with pytest.raises(InvalidInput) as caught:
        secrets.decrypt(["fine", name])
    assert [problem.rule for problem in caught.value.problems] == [rule]
    assert caught.value.problems[0].place.line > 1
    assert secrets.decrypt(["fine"])["fine"].value.reveal() == "x"


def test_what_only_looks_encrypted_is_no_secret(age: Age, tmp_path: Path) -> None:
    """The rule of the file says that it stands in clear, so sops gives it back as it is."""
    looks = "ENC[AES256_GCM,data:AAAA,iv:AAAA,tag:AAAA,type:str]"
    put(tmp_path, "a.sops.yaml", age.encrypt(f"a_unencrypted: {looks}\nb: x\n"))
    with pytest.raises(InvalidInput) as caught:
        scan(tmp_path, age).decrypt(["a_unencrypted"])
    assert [problem.rule for problem in caught.value.problems] == ["plain-secret"]


def test_whether_a_key_is_at_hand(age: Age, tmp_path: Path) -> None:
    put(tmp_path, "a.sops.yaml", seal(age, one="1"))
    assert scan(tmp_path, age).has_identity()
    assert not scan(tmp_path).has_identity()
    empty = {"HOME": "/nonexistent", "SOPS_AGE_KEY": ""}
    assert not SecretFiles.scan(tmp_path, [PATTERN], (), environ=empty).has_identity()


def test_whether_credentials_of_a_named_service_are_at_hand(age: Age, tmp_path: Path) -> None:
    arn = "arn:aws:kms:eu-west-1:1:key/x"
    text = re.sub(
        r"(?s)    age:.*?(?=    last)", f"    kms:\n    - arn: {arn}\n", seal(age, one="1")
    )
    put(tmp_path, "a.sops.yaml", text)
    home = {"HOME": "/nonexistent"}
    for environ, expected in ((home, False), ({**home, "AWS_PROFILE": "x"}, True)):
        secrets = SecretFiles.scan(tmp_path, [PATTERN], [arn], environ=environ)
        assert said(secrets) == []
        assert secrets.has_identity() is expected


def test_a_scan_never_raises(age: Age, tmp_path: Path) -> None:
    """Whatever bytes a pull request brings; and no message shows any of them."""
    text = seal(age, support="x", bound={"value": "v", "hosts": ["a.example.com"]}).encode()
    dice = dice_from(SEED)
    for _ in range(1500 * SCALE):
        broken = bytearray(text)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(broken))
            broken[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
        put(tmp_path, "a.sops.yaml", bytes(broken))
        secrets = scan(tmp_path, age)
        said(secrets)
        try:
            found = secrets.decrypt(secrets.names)
        except (SecretsUnavailable, InvalidInput):
            continue
        assert {one.value.reveal() for one in found.values()} == ({"x", "v"} if found else set())
        assert found or secrets.problems


def test_a_file_name_that_is_no_text_can_be_shown(age: Age, tmp_path: Path) -> None:
    folder = put(tmp_path, "a.sops.yaml", seal(age, a="x")).parent
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.sops.yaml")).write_text("plain: x\n")
    (line,) = said(scan(tmp_path))
    assert line.encode().startswith(b"/\\udcff.sops.yaml:1:8  not-encrypted")
