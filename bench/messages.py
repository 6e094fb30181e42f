"""The row about sending: messages through one gateway, stored before they are answered."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.accounts import accounts, user
from bench.measure import Side, Spread, compare_printed
from bench.peers import AIOSMTPLIB, CHECKOUT, HERE, ours, program
from bench.projects import run_python
from bench.service import TOKEN_VARIABLE, ServiceProcess, new_token
from bench.table import Row
from demo.mailserver.process import ServerProcess
from reconciler.model import EncryptionMode, ProtocolType
from reconciler.platforms.embedded import TENANT
from reconciler.service.mail.settings import OutboxSettings

if TYPE_CHECKING:
    from bench.rows import Setup

CONNECTIONS: Final = (1, 16)
SENT: Final = 6_000
AT_ONCE: Final = 64


def send_messages(setup: "Setup") -> Iterator[Row]:
    """G2: ours makes each message, has it on disk before it answers, and stores its outcome.

    The peer hands over bytes that are there already, and stores nothing.
    """
    count = setup.size(SENT)
    folder = setup.projects.folder / "messages"
    with ServerProcess(folder / "mail", accounts(1)) as server:
        port = server.ports[ProtocolType.SMTP, EncryptionMode.NONE]
        database = folder / "filled" / "platform.db"
        run_python("bench.send_ours", "--fill", database, port, environ={})
        for connections in CONNECTIONS:
            mine, theirs = compare_printed(
                [
                    _called(database, folder / "called", count, connections),
                    _peer(port, count, connections),
                ],
                setup.runs,
            )
            what = f"messages through one gateway, connections: {connections}"
            yield _row(what, mine, theirs, connections, 0.7)
        yield _over_http(setup, folder, database, port)


def _over_http(setup: "Setup", folder: Path, database: Path, port: int) -> Row:
    """As other programs send: `gateways serve` as it is, with a client beside it."""
    count, connections = setup.size(SENT), OutboxSettings().sessions
    token = new_token(database, TENANT, "send")
    with ServiceProcess(database, folder / "served") as service:
        words = ("-m", "bench.send_http", service.origin, str(count), str(AT_ONCE))
        mine, theirs = compare_printed(
            [
                Side([ours("python"), *words], CHECKOUT, {TOKEN_VARIABLE: token}, service.start),
                _peer(port, count, connections),
            ],
            setup.runs,
        )
    return _row("the same over HTTP, its client beside it", mine, theirs, connections, None)


def _called(database: Path, folder: Path, count: int, connections: int) -> Side:
    def anew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(database.parent, folder)

    words = ("-m", "bench.send_ours", folder / database.name, str(count), str(connections))
    return Side([ours("python"), *words], CHECKOUT, before=anew)


def _peer(port: int, count: int, connections: int) -> Side:
    python = program(AIOSMTPLIB, "python")
    words = (HERE / "send_peer.py", user(0), str(port), str(count), str(connections))
    return Side([python, *words], CHECKOUT)


def _row(what: str, mine: Spread, theirs: Spread, connections: int, target: float | None) -> Row:
    peer = f"aiosmtplib, connections: {connections}"
    return Row("G2", what, mine, "a second", peer, theirs, target, at_least=True)
