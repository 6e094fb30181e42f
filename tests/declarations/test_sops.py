"""One sops file: taken apart, judged, opened; and every way in which that can fail."""

import os
import re
import shutil
import stat
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.declarations.sops import writer
from reconciler.declarations.sops.document import MAX_BYTES, parse
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.keys import Keyring
from reconciler.errors import WrongUsage
from tests.declarations.sops_support import CANARY, Age, opened, refused, sops


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


@pytest.fixture(scope="module")
def sealed(age: Age) -> str:
    return writer.encrypt({"mailbox": CANARY, "other": "second"}, [age.recipient]).decode()


# The text


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        (b"", "the file is empty", (0, 0)),
        (b"# only this\n", "the file is empty", (0, 0)),
        (b"- a\n", "the file is not a map of names to secrets", (1, 1)),
        (b"word\n", "the file is not a map of names to secrets", (1, 1)),
        (b"a: 1\n---\nb: 2\n", "the file holds more than one YAML document", (2, 1)),
        (b"a: &x 1\nb: *x\n", "anchors and tags are not used in a secrets file", (1, 4)),
        (b"a: !!str 1\n", "anchors and tags are not used in a secrets file", (1, 4)),
        (b"a:\n  b: *x\n", "aliases are not used in a secrets file", (2, 6)),
        (b"<<: {a: 1}\n", "a key of the map is not text", (1, 1)),
        (b"a: 1\n1: 2\n", "a key of the map is not text", (2, 1)),
        (b"? [a]\n: 2\n", "a key of the map is not a plain name", (1, 3)),
        (b"a: 1\nb: 2\na: 3\n", "a key stands twice in the same map", (3, 1)),
        (b"a: {b: 1, b: 2}\n", "a key stands twice in the same map", (1, 11)),
        (b"a: 1\nsops: x\n", "the sops block is not a map", (2, 7)),
        (b"a: 1\nsops:\n", "the sops block is not a map", (2, 6)),
        (b"a: 1\nsops: {}\n", "the sops block is not a map", (2, 7)),
        (b"a: 1\nsops: [x]\n", "the sops block is not a map", (2, 8)),
        (b"a: [\n", "the file is not valid YAML", (2, 1)),
        (b"a: 1\n<<<<<<< HEAD\nb: 2\n", "git left a merge conflict here", (2, 1)),
        (b"a: \xff\n", "the file is not UTF-8 text", (0, 0)),
        (b"a: '" + b"x" * MAX_BYTES + b"'\n", "the file is larger than 1 MiB", (0, 0)),
        (b"a: " + b"[" * 100 + b"]" * 100, "the file is nested deeper than 64 levels", (1, 67)),
    ],
)
def test_text_that_is_no_secrets_file(text: bytes, message: str, place: tuple[int, int]) -> None:
    with pytest.raises(SopsError) as caught:
        parse(text)
    assert (caught.value.message, (caught.value.line, caught.value.column)) == (message, place)


def test_a_bom_and_windows_line_ends_are_accepted(age: Age, sealed: str) -> None:
    text = b"\xef\xbb\xbf" + sealed.replace("\n", "\r\n").encode()
    assert opened(text, age.environ) == [CANARY, "second"]


# Forgeries, each with what the user is told


def test_an_altered_value_is_named_with_its_place(age: Age, sealed: str) -> None:
    at = sealed.index("data:", sealed.index("other")) + 5
    error = refused(
        sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :], age.environ
    )
    assert error.reason is Reason.ALTERED
    assert error.message == "the value of other was altered, or moved from another key or file"
    assert (error.line, error.column) == (2, 8)


@pytest.mark.parametrize("part", ["data", "iv", "tag"])
def test_every_part_of_a_value_is_protected(age: Age, sealed: str, part: str) -> None:
    at = sealed.index(part + ":") + len(part) + 1
    forged = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
    assert refused(forged, age.environ).reason is Reason.ALTERED


@pytest.mark.parametrize(
    ("pattern", "by", "reason"),
    [
        (r'lastmodified: "20', 'lastmodified: "21', Reason.TAMPERED),
        (r"lastmodified: .*", "lastmodified: yesterday", Reason.TAMPERED),
        (r"    version: .*\n", "", Reason.TAMPERED),
        (r"    mac: .*\n", "", Reason.TAMPERED),
        (r"    mac: .*\n", '    mac: ""\n', Reason.TAMPERED),
        (r"mac: ENC.AES256_GCM,data:....", "mac: ENC[AES256_GCM,data:AAAA", Reason.TAMPERED),
        (r"other: .*\n", "", Reason.TAMPERED),
        (r"other", "another", Reason.ALTERED),
        (r"other: .*", "other: plain", Reason.NOT_ENCRYPTED),
        (r"other: .*", "other: 5", Reason.NOT_ENCRYPTED),
        (r"other: (.*)", r"other: \1 ", None),
        (r"other: (.*)", r"other: \1x", Reason.NOT_ENCRYPTED),
        (r"suffix: _unencrypted", "suffix: other", Reason.TAMPERED),
        (
            r"    unencrypted_suffix",
            "    mac_only_encrypted: true\n    unencrypted_suffix",
            Reason.UNSUPPORTED,
        ),
        (
            r"    unencrypted_suffix",
            "    encrypted_regex: .\n    unencrypted_suffix",
            Reason.NOT_READABLE,
        ),
        (r"sops:\n(.*\n)*", "", Reason.NOT_ENCRYPTED),
        (r"        - recipient: .*\n", "", Reason.NO_KEY),  # a map where a list belongs
    ],
)
def test_forgeries(age: Age, sealed: str, pattern: str, by: str, reason: Reason | None) -> None:
    forged, count = re.subn(pattern, by, sealed, count=1)
    assert count == 1
    if reason is None:
        assert opened(forged, age.environ) == [CANARY, "second"]
    else:
        assert refused(forged, age.environ).reason is reason


def test_values_cannot_trade_places(age: Age, sealed: str) -> None:
    lines = sealed.splitlines(keepends=True)
    names = [line.split(" ", 1) for line in lines[:2]]
    swapped = f"{names[0][0]} {names[1][1]}{names[1][0]} {names[0][1]}" + "".join(lines[2:])
    assert refused(swapped, age.environ).reason is Reason.ALTERED
    moved = lines[1] + lines[0] + "".join(lines[2:])
    assert refused(moved, age.environ).reason is Reason.TAMPERED


def test_an_expression_that_could_run_away_is_not_run_here(age: Age, sealed: str) -> None:
    bomb = sealed.replace("unencrypted_suffix: _unencrypted", "encrypted_regex: (a+)+$")
    bomb = bomb.replace("other", "a" * 60)
    started = time.monotonic()
    refused(bomb, {**age.environ, "PATH": "/nonexistent"})
    assert time.monotonic() - started < 10


# Keys, found where sops finds them


def at(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_keys_are_found_where_sops_finds_them(age: Age, sealed: str, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path / "nobody"), "PATH": os.environ["PATH"]}
    key = f"# a comment\n\n{age.secret}\n"
    file = at(tmp_path / "key.txt", key)
    at(tmp_path / "home/.config/sops/age/keys.txt", key)
    at(tmp_path / "xdg/sops/age/keys.txt", key)
    for environ in (
        {**home, "SOPS_AGE_KEY": key},
        {**home, "SOPS_AGE_KEY_FILE": file},
        {**home, "SOPS_AGE_KEY_CMD": f"cat '{file}'"},
        {**home, "HOME": str(tmp_path / "home")},
        {**home, "XDG_CONFIG_HOME": str(tmp_path / "xdg")},
        {**home, "SOPS_AGE_KEY": "AGE-SECRET-KEY-1BROKEN", "SOPS_AGE_KEY_FILE": file},
    ):
        assert Keyring(environ).at_hand([parse(sealed.encode())])
        assert opened(sealed, environ) == [CANARY, "second"]


def test_no_key_at_hand(sealed: str, tmp_path: Path) -> None:
    for environ in (
        {"HOME": str(tmp_path)},
        {"HOME": str(tmp_path), "SOPS_AGE_KEY": "", "SOPS_AGE_KEY_FILE": ""},  # a fork's CI job
    ):
        assert not Keyring(environ).at_hand([parse(sealed.encode())])
        error = refused(sealed, environ)
        assert error.reason is Reason.NO_KEY
        assert "SOPS_AGE_KEY_FILE" in error.hint


def test_a_key_that_does_not_fit(age: Age, sealed: str, tmp_path: Path) -> None:
    other = Age(tmp_path)
    error = refused(sealed, other.environ)
    assert error.reason is Reason.WRONG_KEY
    assert error.message == "no key at hand fits the file"
    assert age.recipient in error.hint
    assert error.hint.endswith("; plan needs no key: without SOPS_AGE_KEY it says not compared")
    at(tmp_path / ".config/sops/age/keys.txt", other.environ["SOPS_AGE_KEY"])
    without = refused(sealed, {"HOME": str(tmp_path)}).hint.partition("without ")[2]
    assert without == f"{tmp_path}/.config/sops/age/keys.txt it says not compared"


@pytest.mark.parametrize("text", ["", "\n", "# created: today\n# public key: age1\n"])
def test_a_key_file_without_a_key_is_told_of(sealed: str, tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(text)
    hint = refused(sealed, {"HOME": str(tmp_path), "SOPS_AGE_KEY_FILE": str(file)}).hint
    assert "; SOPS_AGE_KEY_FILE holds no key; " in hint


@pytest.mark.parametrize(
    ("name", "value", "note"),
    [
        ("SOPS_AGE_KEY", CANARY, "line 1 of SOPS_AGE_KEY is not an age key"),
        ("SOPS_AGE_KEY_FILE", "/nonexistent", "SOPS_AGE_KEY_FILE names cannot be read"),
        ("SOPS_AGE_KEY_CMD", "false", "the command of SOPS_AGE_KEY_CMD failed"),
        ("SOPS_AGE_KEY_CMD", "'", "the command of SOPS_AGE_KEY_CMD failed"),
        ("SOPS_AGE_KEY_CMD", "/nonexistent", "the command of SOPS_AGE_KEY_CMD failed"),
    ],
)
def test_a_key_that_is_none_is_told_of_but_not_shown(
    sealed: str, tmp_path: Path, name: str, value: str, note: str
) -> None:
    error = refused(sealed, {"HOME": str(tmp_path), "PATH": os.environ["PATH"], name: value})
    assert note in error.hint


def test_the_second_recipient_can_read_too(age: Age, tmp_path: Path) -> None:
    other = Age(tmp_path)
    text = writer.encrypt({"mailbox": "x"}, [other.recipient, age.recipient])
    assert opened(text, age.environ) == opened(text, other.environ) == ["x"]


@pytest.mark.parametrize("kind", ["id_ed25519", "id_rsa"])
def test_ssh_keys(kind: str, tmp_path: Path) -> None:
    key = (
        Ed25519PrivateKey.generate() if kind == "id_ed25519" else generate_private_key(65537, 2048)
    )
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    text = sops(
        ["encrypt", "--age", public, "--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"],
        b"mailbox: by-ssh\n",
        {"HOME": str(tmp_path), "SOPS_DISABLE_VERSION_CHECK": "1"},
    )
    at(tmp_path / "home/.ssh" / kind, private.decode())
    assert opened(text, {"HOME": str(tmp_path / "home")}) == ["by-ssh"]
    named = {"HOME": "/nonexistent"}
    named["SOPS_AGE_SSH_PRIVATE_KEY_FILE"] = str(tmp_path / "home/.ssh" / kind)
    assert opened(text, named) == ["by-ssh"]
    assert refused(text, {"HOME": "/nonexistent"}).reason is Reason.NO_KEY


@pytest.mark.interop("ssh-keygen")
def test_an_ssh_key_with_a_passphrase_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / ".ssh" / "id_ed25519"
    file.parent.mkdir()
    make = [
        str(shutil.which("ssh-keygen")),
        "-q",
        "-t",
        "ed25519",
        "-N",
        "a phrase",
        "-f",
        str(file),
    ]
    subprocess.run(make, check=True, timeout=30)
    text = writer.encrypt({"mailbox": "x"}, [file.with_suffix(".pub").read_text().strip()])
    assert "without a passphrase" in refused(text, {"HOME": str(tmp_path)}).hint


@pytest.fixture(scope="module")
def pgp() -> Iterator[dict[str, str]]:
    """A GnuPG home with one key without a passphrase; its fingerprint is in FPR."""
    home = Path("/tmp") / f"gnupg-test-{os.getpid()}"  # noqa: S108  # sockets need a short path
    home.mkdir(mode=0o700)
    environ = {"GNUPGHOME": str(home), "HOME": str(home), "PATH": os.environ["PATH"]}
    gpg = str(shutil.which("gpg"))
    make = [gpg, "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "a <a@example.com>"]
    subprocess.run([*make, "default", "default", "never"], env=environ, check=True, timeout=60)
    listing = subprocess.run(
        [gpg, "--batch", "--with-colons", "--list-secret-keys"],
        env=environ,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    ).stdout
    environ["FPR"] = next(line.split(":")[9] for line in listing.splitlines() if line[:3] == "fpr")
    yield environ
    gpgconf = str(shutil.which("gpgconf"))
    subprocess.run([gpgconf, "--kill", "all"], env=environ, check=False, timeout=30)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.interop("gpg")
def test_pgp_by_gpg_for_the_data_key_only(pgp: dict[str, str], tmp_path: Path) -> None:
    environ = {**pgp, "SOPS_DISABLE_VERSION_CHECK": "1"}
    options = ["--input-type", "yaml", "--output-type", "yaml", "/dev/stdin"]
    text = sops(
        ["encrypt", "--pgp", pgp["FPR"], *options], b"mailbox: by-pgp\nlist: [a]\n", environ
    )
    only_gpg = tmp_path / "bin"
    only_gpg.mkdir()
    for tool in ("gpg", "gpg-agent"):
        (only_gpg / tool).symlink_to(str(shutil.which(tool)))
    environ = {**pgp, "PATH": str(only_gpg)}
    assert Keyring(environ).at_hand([parse(text)])
    assert opened(text, environ) == ["by-pgp", "a"]
    stranger = tmp_path / "stranger"
    stranger.mkdir(mode=0o700)
    without = {**environ, "GNUPGHOME": str(stranger)}
    assert not Keyring(without).at_hand([parse(text)])
    assert refused(text, without).reason is Reason.NO_KEY
    forged = text.replace(b"mailbox", b"mailbux")
    assert refused(forged, environ).reason is Reason.ALTERED


# Writing


def test_a_file_is_in_place_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "a.sops.yaml"
    writer.write(file, b"first")
    writer.write(file, b"second")
    assert file.read_bytes() == b"second"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(FileNotFoundError):
        writer.write(tmp_path / "no" / "b", b"")
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError):
        writer.write(tmp_path / "taken", b"")
    assert sorted(tmp_path.iterdir()) == [file, tmp_path / "taken"]


@pytest.mark.parametrize(
    ("values", "recipient"),
    [
        ({"a:b": "x"}, None),
        ({"sops": "x"}, None),
        ({"": "x"}, None),
        ({"a": ""}, None),
        ({"a": "x"}, "age1nonsense"),
        ({"a": "x"}, "ssh-ed25519 nonsense"),
    ],
)
def test_what_cannot_be_written(age: Age, values: dict[str, str], recipient: str | None) -> None:
    with pytest.raises(WrongUsage):
        writer.encrypt(values, [recipient or age.recipient])
    with pytest.raises(WrongUsage):
        writer.encrypt(values, [])


def test_no_key_or_value_is_in_what_is_written(age: Age, sealed: str) -> None:
    assert CANARY not in sealed
    assert b64encode(CANARY.encode()).decode().rstrip("=") not in sealed
    assert age.secret not in sealed
