"""One mail server and one machine for all; a fresh project on a forge for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.mailserver.process import ServerProcess
from tests.cli.conftest import ACCOUNTS
from tests.cli.world import World
from tests.examples.machine import SYSTEM_PATH, Machine
from tests.examples.repository import Repository


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("mail"), ACCOUNTS) as server:
        yield server


PROGRAMS = ("bash", "curl", "git", "jq", "openssl", "unzip")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    missing = [program for program in PROGRAMS if not shutil.which(program, path=SYSTEM_PATH)]
    if missing and os.environ.get("CI") != "true":
        pytest.skip("missing here: " + ", ".join(missing))
    assert not missing
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture
def repository(mail_server: ServerProcess, machine: Machine, tmp_path: Path) -> Repository:
    mail_server.change_accounts(ACCOUNTS)
    world = World(tmp_path / "project", mail_server)
    world.declare({"a": world.gateway(), "b": world.gateway(2)})
    return Repository(world, machine, tmp_path / "origin")
