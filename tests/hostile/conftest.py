"""One mail server for the commands."""

from collections.abc import Iterator

import pytest

from demo.mailserver.process import ServerProcess
from tests.cli.conftest import ACCOUNTS


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("mail"), ACCOUNTS) as server:
        yield server
