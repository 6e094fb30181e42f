"""`gateways-secrets-encrypted`: what must not be committed is refused by its content."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from reconciler.cli.encrypted import main
from reconciler.declarations.sops import writer
from reconciler.errors import ExitCode

pyrage = pytest.importorskip("pyrage")

CANARY = "hunter2-canary"
SEALED = "ENC[AES256_GCM,data:AAAA,iv:BBBB,tag:CCCC,type:str]"


def judge(file: Path, text: str | bytes) -> tuple[int, str]:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = CliRunner().invoke(main, [str(file)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert CANARY not in result.output
    return result.exit_code, result.output.replace(f"{file}:", "")


def encrypted() -> bytes:
    recipient = str(pyrage.x25519.Identity.generate().to_public())
    return writer.encrypt({"support_mailbox": CANARY}, [recipient])


def test_each_fault_has_its_hint(tmp_path: Path) -> None:
    plain, key, halves = tmp_path / "a.sops.yaml", tmp_path / "keys.txt", tmp_path / "b.sops.yaml"
    plain.write_text(f"support_mailbox: {CANARY}\n")
    key.write_text(str(pyrage.x25519.Identity.generate()))
    halves.write_text("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n")
    told = CliRunner().invoke(main, [str(plain), str(key), str(halves)]).output.splitlines()
    assert told[2] == f"{halves}:2:1: a secrets file with a merge conflict"
    assert [line[:22] for line in told[3:]] == [
        "hint: sops encrypt --i",
        "hint: leave it out of ",
        "hint: take one side wh",
    ]


def test_an_encrypted_file_passes(tmp_path: Path) -> None:
    assert judge(tmp_path / "secrets" / "main.sops.yaml", encrypted()) == (0, "")


@pytest.mark.parametrize(
    "name", ["main.sops.yaml", "x.sops.yml", "x.sops.json", "secrets/a.yaml", "secrets/deep/a.yml"]
)
@pytest.mark.parametrize(
    "text",
    [
        f"support_mailbox: {CANARY}\n",
        f'{{"support_mailbox": "{CANARY}"}}\n',
        f"support_mailbox: {CANARY}\nsops:\n",
        f"support_mailbox: {CANARY}\nsops: {{version: 3.11.0}}\n",
        f"- {CANARY}\n",
        f"{CANARY}\n",
    ],
)
def test_a_plain_file_does_not(tmp_path: Path, name: str, text: str) -> None:
    code, output = judge(tmp_path / name, text)
    assert code == ExitCode.INVALID
    assert output.startswith("1:1: a secrets file that is not encrypted\n")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (CANARY, "2:4"),
        (f"[{CANARY}]", "2:5"),
        (f"{{value: {CANARY}}}", "2:12"),
        ("5", "2:4"),
        ("true", "2:4"),
        (f'"{SEALED} and {CANARY}"', "2:4"),
        ("&a [*a, plain]", "2:12"),
    ],
)
def test_one_plain_value_among_encrypted_ones(tmp_path: Path, value: str, place: str) -> None:
    text = f'good: "{SEALED}"\nb: {value}\nsops: {{mac: "{SEALED}"}}\n'
    code, output = judge(tmp_path / "main.sops.yaml", text)
    assert code == ExitCode.INVALID
    assert output.startswith(f"{place}: 'b' is not encrypted\n")


def test_what_hides_nothing_may_be_plain(tmp_path: Path) -> None:
    text = f"a: ''\nb: null\nc: ~\nd:\nsops: {{mac: '{SEALED}'}}\n"
    assert judge(tmp_path / "main.sops.yaml", text) == (0, "")


@pytest.mark.parametrize("text", ["a: [\n", "\x00", b"\xff\xfe\x00", "a: " + "[" * 20_000])
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str | bytes) -> None:
    assert judge(tmp_path / "main.sops.yaml", text)[0] == ExitCode.INVALID


def test_a_second_document_is_judged_too(tmp_path: Path) -> None:
    code, output = judge(tmp_path / "main.sops.yaml", encrypted() + f"---\na: {CANARY}\n".encode())
    assert code == ExitCode.INVALID
    assert "not encrypted" in output


@pytest.mark.parametrize("name", ["notes.txt", "gateways.d/certs/root.pem", "secrets/key.txt"])
@pytest.mark.parametrize(
    "text",
    [
        str(pyrage.x25519.Identity.generate()),
        "-----BEGIN " + "PRIVATE KEY-----\nMIIE\n",
        "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE\n",
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nMIIE\n",
    ],
    ids=["age", "pkcs8", "rsa", "openssh"],
)
def test_private_keys_are_refused_anywhere(tmp_path: Path, name: str, text: str) -> None:
    code, output = judge(tmp_path / name, f"# a comment\n{text}")
    assert code == ExitCode.INVALID
    assert output.startswith("2:1: a private key")
    assert text.splitlines()[0] not in output


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gateways.d/support.yaml", "gateways: {a: {host: mail.example.com}}\n"),
        ("gateways.d/certs/root.pem", "-----BEGIN CERTIFICATE-----\nMIIE\n"),
        ("gateways.d/secrets/README.md", "How to add a secret.\n"),
        ("docs/secrets.md", "AGE-SECRET-KEY-1... is what a key begins with\n"),
    ],
)
def test_other_files_pass(tmp_path: Path, name: str, text: str) -> None:
    assert judge(tmp_path / name, text) == (0, "")


def test_a_file_that_is_gone_and_no_file_at_all(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, [str(tmp_path / "gone.sops.yaml")]).exit_code == 0
    assert CliRunner().invoke(main, []).exit_code == 0
