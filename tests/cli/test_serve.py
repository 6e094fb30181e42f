"""`gateways serve` as a process: how it starts, what it refuses, and how it ends."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import serialization

from reconciler.cli.border import run
from reconciler.cli.serving import Order, serve
from reconciler.errors import WrongUsage
from reconciler.service.database import open_writable
from reconciler.service.lock import share
from tests import certs
from tests.cli.served import CHECKOUT, SECONDS, Served, serve_command, served
from tests.service.fleet import far_away


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for the tests that do not end it."""
    with served(tmp_path_factory.mktemp("serve") / "data" / "platform.db") as made:
        yield made
        assert made.end() == 0


# starting


def test_it_says_where_it_listens_and_what_it_holds(running: Served) -> None:
    running.wait_for(rf"there was no database {re.escape(str(running.database))}: a new, empty one")
    running.wait_for(r"gateways: 0, to be connected: 0")
    assert running.url.startswith("http://127.0.0.1:")
    assert running.ask("GET", "/v1/gateways").status == 401
    assert running.ask("GET", "/v1/gateways", token=running.token("read")).status == 200


def test_its_files_are_its_users_alone(running: Served) -> None:
    folder = running.database.parent
    assert folder.stat().st_mode & 0o077 == 0
    needed, end = {"platform.db", "platform.db.key", "platform.db.lock"}, time.monotonic() + SECONDS
    while not needed <= {path.name for path in folder.iterdir()}:  # the key comes a moment later
        assert time.monotonic() < end
        time.sleep(0.05)
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_its_memory_is_private(running: Served) -> None:
    """A37: no core dump, and no look into the process."""
    limits = Path(f"/proc/{running.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4:6] == ["0", "0"]
    script = """
        import ctypes
        from reconciler.service.process import keep_memory_private
        get_dumpable = 3
        before = ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0)
        keep_memory_private()
        print(before, ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]


def test_it_is_alone_on_its_database(running: Served) -> None:
    """G26: a second one, and commands, are told which process is there; tokens can be made."""
    second = subprocess.run(
        serve_command(running.database),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert second.returncode == 6
    assert f"(process {running.process.pid})" in second.stderr
    assert "one service runs on a database" in second.stderr
    assert running.ask("GET", "/v1/gateways", token=running.token("read")).status == 200


def test_a_command_on_its_database_is_refused(
    running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """G26."""
    settings = {"platform": "embedded", "database": str(running.database)}
    (tmp_path / "gateways.yaml").write_text(
        json.dumps({"owner": "acme", "targets": {"local": settings}})
    )
    assert run(["-C", str(tmp_path), "status"]) == 6
    said = capsys.readouterr().err
    assert f"a gateway service runs on this database (process {running.process.pid})" in said
    assert "use an http target" in said


def test_tokens_are_made_and_revoked_beside_it(
    running: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    database = ["--database", str(running.database)]
    new = ["token", "new", *database, "--tenant", "acme", "--role", "read", "--url", running.url]
    assert run(new) == 0
    token = capsys.readouterr().out.strip()
    assert running.ask("GET", "/v1/gateways", token=token).status == 200
    assert run(["token", "revoke", *database, token]) == 0
    assert running.ask("GET", "/v1/gateways", token=token).status == 401


async def test_it_is_refused_while_a_command_works(tmp_path: Path) -> None:
    database = tmp_path / "platform.db"
    open_writable(database).close()
    give_back = share(database, create=True)
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
        serve_command(database),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    give_back()
    assert done.returncode == 6
    assert "a command works on it" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "8080"], "written as HOST:PORT"),
        (["--listen", ":8080"], "written as HOST:PORT"),
        (["--listen", "127.0.0.1:"], "written as HOST:PORT"),
        (["--listen", "127.0.0.1:65536"], "written as HOST:PORT"),
        (["--listen", "127.0.0.1:" + "9" * 5000], "written as HOST:PORT"),
        (["--listen", "127.0.0.1:http"], "written as HOST:PORT"),
        (["--tls-certificate", "a.pem"], "belong together"),
        (["--tls-key", "a.pem"], "belong together"),
        (["--private-hosts", "some"], "is not one of"),
        (["-C", "/nowhere"], "there is no such folder"),
        ([], "Missing option '--database'"),
    ],
)
def test_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    database = ["--database", "/nowhere/platform.db"] if options else []
    assert run(["serve", *database, *options]) == 64
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("database", ["", ".", "/"])
def test_a_folder_is_no_database(
    database: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["serve", "--database", database, "--listen", "127.0.0.1:0"]) == 10
    assert "is not a file" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return Order(
        "127.0.0.1", 0, tmp_path / "platform.db", None, None, private_hosts=False, plain=False
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - it is refused
async def test_others_are_not_listened_to_without_tls(order: Order, host: str) -> None:
    with pytest.raises(WrongUsage, match="would pass there unencrypted") as caught:
        await serve(replace(order, host=host))
    assert "--allow-plain-http" in caught.value.hint
    assert not order.database.exists()


@pytest.mark.parametrize(
    ("host", "message"),
    [("192.0.2.1", "no such address"), ("no host at all", "no such address"), ("", "in use")],
)
async def test_addresses_that_cannot_be_listened_on(order: Order, host: str, message: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        expected = "another program listens there" if message == "in use" else message
        with pytest.raises(WrongUsage, match=expected):
            await serve(replace(order, host=host or "127.0.0.1", port=port))


def test_what_is_said_can_be_json(tmp_path: Path) -> None:
    open_writable(tmp_path / "platform.db").close()
    with served(tmp_path / "platform.db", "--log-format", "json") as service:
        assert service.end(signal.SIGINT) == 0
    lines = [json.loads(line) for line in service.lines]
    assert all(line.keys() >= {"at", "level", "message"} for line in lines)
    assert not any("there was no database" in line["message"] for line in lines)
    assert [line["message"].partition(" ")[0] for line in lines][-3:] == [
        "ready",
        "stopping:",
        "stopped",
    ]


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(SECONDS)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with served(tmp_path / "platform.db", environ=environ) as service:
            assert systemd.recv(100) == b"READY=1"
            assert service.end() == 0
        assert systemd.recv(100) == b"STOPPING=1"


# TLS


def write_pair(folder: Path, issued: certs.Issued, name: str = "own") -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(issued.pem)
    key.write_bytes(issued.key_pem)
    return certificate, key


def serial_of(service: Served, trusted: ssl.SSLContext) -> str:
    to = urlsplit(service.url)
    with (
        socket.create_connection((to.hostname or "", to.port or 0), SECONDS) as plain,
        trusted.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        found = wrapped.getpeercert()
        assert found
        return str(found["serialNumber"])


def test_the_certificate_is_replaced_while_it_runs(tmp_path: Path) -> None:
    root = certs.ca()
    certificate, key = write_pair(tmp_path, certs.leaf(root, ips=["127.0.0.1"]))
    trusted = ssl.create_default_context(cadata=root.pem.decode())
    options = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    with served(tmp_path / "platform.db", *options) as service:
        assert service.url.startswith("https://")
        token = service.token("read")
        assert service.ask("GET", "/v1/gateways", token=token, tls=trusted).status == 200
        first = serial_of(service, trusted)
        # not half of a pair: what was there stays
        second = certs.leaf(root, ips=["127.0.0.1"])
        certificate.write_bytes(second.pem)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("the certificate stays as it was: .* is not the key of")
        assert serial_of(service, trusted) == first
        key.write_bytes(second.key_pem)
        service.process.send_signal(signal.SIGHUP)
        service.wait_for("from now on certificate")
        assert int(serial_of(service, trusted), 16) == second.certificate.serial_number
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.load_verify_locations(cadata=root.pem.decode())
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(ssl.SSLError):
            serial_of(service, old)
        assert service.end() == 0


def _absent(certificate: Path, _key: Path) -> None:
    certificate.unlink()


def _no_certificate(certificate: Path, _key: Path) -> None:
    certificate.write_text("hello\n")


def _swapped(certificate: Path, key: Path) -> None:
    certificate.write_bytes(key.read_bytes())


def _no_key(certificate: Path, key: Path) -> None:
    key.write_bytes(certificate.read_bytes())


def _another_key(_certificate: Path, key: Path) -> None:
    key.write_bytes(certs.leaf(certs.ca(), ips=["127.0.0.1"]).key_pem)


def _locked_key(_certificate: Path, key: Path) -> None:
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"canary"),
        )
    )


def _folder(_certificate: Path, key: Path) -> None:
    key.unlink()
    key.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_absent, r"own\.pem: No such file"),
        (_no_certificate, r"own\.pem: it is no certificate"),
        (_swapped, r"own\.pem: it is no certificate"),
        (_no_key, r"own\.key: it is no private key"),
        (_another_key, r"own\.key: it is not the key of .*own\.pem"),
        (_locked_key, r"own\.key: it is encrypted with a passphrase"),
        (_folder, r"own\.key: Is a directory"),
    ],
)
async def test_certificates_that_cannot_be_used(
    order: Order, tmp_path: Path, damage: Callable[[Path, Path], None], message: str
) -> None:
    certificate, key = write_pair(tmp_path, certs.leaf(certs.ca(), ips=["127.0.0.1"]))
    damage(certificate, key)
    with pytest.raises(WrongUsage, match=message) as caught:
        await serve(replace(order, certificate=certificate, key=key))
    assert caught.value.hint
    assert "canary" not in caught.value.message + caught.value.hint


# ending


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_at_a_signal_with_0(tmp_path: Path, how: signal.Signals) -> None:
    """G35: neither a caller nor a mail server that takes its time is waited for."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        served(tmp_path / "platform.db", "--private-hosts", "allow") as service,
    ):
        token = service.token()
        port = silent.getsockname()[1]
        assert service.create(token, far_away("a", host="127.0.0.1", port=port)).status == 201
        to = urlsplit(service.url)
        with (
            silent.accept()[0],
            closing(http.client.HTTPConnection(to.hostname or "", to.port, timeout=SECONDS)) as c,
        ):
            c.request(
                "GET", "/v1/gateways/a/status?wait=60", headers={"Authorization": f"Bearer {token}"}
            )
            time.sleep(0.2)
            begun = time.monotonic()
            assert service.end(how) == 0
            assert time.monotonic() - begun < 15
            answer = c.getresponse()
            assert answer.status == 200
            assert b"connecting" in answer.read()
        service.wait_for("stopped")


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with served(tmp_path / "platform.db") as service:
        token = service.token()
        to = urlsplit(service.url)
        with closing(http.client.HTTPConnection(to.hostname or "", to.port, timeout=SECONDS)) as c:
            # a request that never comes to an end
            c.putrequest("PUT", "/v1/gateways/a")
            c.putheader("Authorization", f"Bearer {token}")
            c.putheader("Idempotency-Key", "a")
            c.putheader("If-None-Match", "*")
            c.putheader("Content-Type", "application/json")
            c.putheader("Content-Length", "100")
            c.endheaders()
            time.sleep(0.2)
            service.process.send_signal(signal.SIGTERM)
            service.wait_for("a second signal ends it at once")
            assert service.process.poll() is None
            assert service.end() == 130
