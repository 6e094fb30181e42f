"""One mail server for all commands; a fresh project for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mailserver.process import ServerProcess
from tests.cli.world import CANARY, USERS, World

ACCOUNTS = dict(zip(USERS, (CANARY, CANARY + "-2"), strict=True))


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("mail"), ACCOUNTS) as server:
        yield server


@pytest.fixture
def world(mail_server: ServerProcess, tmp_path: Path) -> World:
    mail_server.change_accounts(ACCOUNTS)  # whatever the test before this one left
    return World(tmp_path / "project", mail_server)
