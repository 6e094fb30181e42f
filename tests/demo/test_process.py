"""The demo's mail server as a process: ready, reloaded, restarted, and never left behind."""

import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mailserver import process
from demo.mailserver.process import CHECKOUT, COUNTERS_FILE, PID_FILE, ServerProcess
from reconciler.model import EncryptionMode, ProtocolType

USER = "agent@example.com"
SECONDS = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "mail", {USER: "first"}, seconds=60) as running:
        yield running


def log_in(server: ServerProcess, password: str) -> None:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    port = server.ports[ProtocolType.SMTP, EncryptionMode.TLS]
    with smtplib.SMTP_SSL("localhost", port, context=context, timeout=SECONDS) as client:
        client.login(USER, password)


def is_running(process_id: int) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def gone(process_id: int) -> bool:
    until = time.monotonic() + SECONDS
    while is_running(process_id) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(process_id)


def test_accounts_change_while_it_runs(server: ServerProcess) -> None:
    log_in(server, "first")
    server.change_accounts({USER: "second"})
    log_in(server, "second")
    with pytest.raises(smtplib.SMTPAuthenticationError):
        log_in(server, "first")


def test_accounts_that_were_not_taken_are_told(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGSTOP)
    monkeypatch.setattr(process, "_START_SECONDS", 0.2)
    with pytest.raises(RuntimeError, match="did not take the accounts"):
        server.change_accounts({USER: "second"})
    os.kill(server.process_id, signal.SIGCONT)
    monkeypatch.undo()
    server.change_accounts({USER: "third"})
    log_in(server, "third")


def test_a_late_answer_to_an_earlier_change_is_none_to_this_one(server: ServerProcess) -> None:
    """As two changes in quick succession could give it, if the first was not waited for."""
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGSTOP)
    changing = threading.Thread(target=server.change_accounts, args=({USER: "second"},))
    changing.start()
    for _ in range(20):
        (server.directory / PID_FILE).write_text(str(server.process_id))
        time.sleep(0.01)
    assert changing.is_alive()
    os.kill(server.process_id, signal.SIGCONT)
    changing.join(SECONDS)
    log_in(server, "second")


def test_a_restart_keeps_ports_and_certificates(server: ServerProcess) -> None:
    ports, anchor = server.ports, server.ca_file.read_bytes()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        log_in(server, "first")
    server.start()
    assert (server.ports, server.ca_file.read_bytes()) == (ports, anchor)
    log_in(server, "first")


def test_it_counts_and_stops_when_told(server: ServerProcess) -> None:
    assert server.counters()["connections"] == 0
    log_in(server, "first")
    process_id = server.process_id
    assert process_id is not None
    server.stop()
    assert gone(process_id)
    counters = json.loads((server.directory / COUNTERS_FILE).read_text())
    assert (counters["connections"], counters["logins_ok"]) == (1, 1)


def test_private_keys_and_passwords_are_for_the_owner_alone(server: ServerProcess) -> None:
    for name in ("good.pem", "accounts.json"):
        assert (server.directory / name).stat().st_mode & 0o077 == 0


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    parent = (
        "import os, sys, pathlib; from demo.mailserver.process import ServerProcess;"
        "server = ServerProcess(pathlib.Path(sys.argv[1]), {}); server.start();"
        "print(server.process_id, flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", parent, str(tmp_path)]
    started = subprocess.run(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True
    )
    assert gone(int(started.stdout))


def test_it_ends_after_its_time(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {}, seconds=0.1)
    server.start()
    process_id = server.process_id
    assert process_id is not None
    assert gone(process_id)
    server.stop()


@pytest.mark.parametrize("text", ["{", "[]"])
def test_bad_accounts_are_not_taken_over(server: ServerProcess, text: str) -> None:
    (server.directory / "accounts.json").write_text(text)
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGHUP)
    server.counters()  # a second signal, so that the first has been obeyed
    log_in(server, "first")
