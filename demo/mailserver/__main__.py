"""The server as a process: `python -m demo.mailserver --directory D --accounts FILE`.

When it is ready it writes `D/ports.json` (protocol to encryption to port), then its process id to
`D/mailserver.pid`. A server that is started again on the same directory has the same ports and
certificates. SIGHUP reads the accounts and the faults again, then writes the SHA-256 of the
accounts to `D/loaded.sha256` and the process id again; SIGUSR1 writes `D/counters.json`; SIGTERM
stops it, and so do the end of its parent and the time limit.
"""

import argparse
import asyncio
import json
import os
import resource
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demo.certificates import Variant
from demo.mailserver.process import (
    COUNTERS_FILE,
    LOADED_FILE,
    PID_FILE,
    PORTS_FILE,
    digest_of,
    format_ports,
    parse_ports,
)
from demo.mailserver.server import MailServer
from demo.mailserver.state import Faults

_PARENT_POLL_SECONDS = 0.25


def main() -> int:
    arguments = _parser().parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # thousands of sessions
    try:
        asyncio.run(_run(arguments))
    except (OSError, ValueError, TypeError) as error:
        print(f"mail server: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.mailserver", description=__doc__)
    add = parser.add_argument
    add("--directory", type=Path, required=True, help="for ports.json, ca.pem and certificates")
    add("--accounts", type=Path, required=True, help="JSON: user to password")
    add("--faults", type=Path, help="JSON: the fields of Faults")
    add("--host", action="append", help="a loopback address; may be repeated [127.0.0.1]")
    add("--seconds", type=float, default=3600, help="time limit [3600]")
    return parser


async def _run(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.directory
    parent = os.getppid()
    ports_file, pid_file = directory / PORTS_FILE, directory / PID_FILE
    server = MailServer(
        _accounts(arguments.accounts.read_bytes()),
        faults=_faults(arguments.faults),
        hosts=arguments.host or ["127.0.0.1"],
        ports=parse_ports(_read_json(ports_file)) if ports_file.exists() else None,
        directory=directory,
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def reload() -> None:
        try:
            text = arguments.accounts.read_bytes()
            accounts, faults = _accounts(text), _faults(arguments.faults)
        except (OSError, ValueError, TypeError) as error:
            print(f"mail server: not reloaded: {error}", file=sys.stderr)
            return
        server.state.accounts = accounts
        server.faults = faults
        _write(directory / LOADED_FILE, digest_of(text))
        _write(pid_file, str(os.getpid()))

    def count() -> None:
        _write(directory / COUNTERS_FILE, json.dumps(asdict(server.counters), indent=2) + "\n")

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload)
    loop.add_signal_handler(signal.SIGUSR1, count)
    async with server:
        _write(ports_file, json.dumps(format_ports(server.ports), indent=2) + "\n")
        _write(pid_file, str(os.getpid()))
        until = loop.time() + arguments.seconds
        while not stop.is_set() and os.getppid() == parent and loop.time() < until:
            try:
                async with asyncio.timeout(_PARENT_POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
    pid_file.unlink(missing_ok=True)
    count()


def _accounts(text: bytes) -> dict[str, str]:
    accounts = json.loads(text)
    if not isinstance(accounts, dict):
        raise TypeError("the accounts are not a map of user to password")
    return accounts


def _faults(path: Path | None) -> Faults:
    if path is None or not path.exists():
        return Faults()
    fields = _read_json(path)
    return Faults(**fields | {"certificate": Variant(fields.get("certificate", Variant.GOOD))})


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def _write(path: Path, text: str) -> None:
    """Write and rename, so that a reader never finds half a file."""
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main())
