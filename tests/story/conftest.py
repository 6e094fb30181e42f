"""One mail server for the stories."""

from collections.abc import Iterator

import pytest

from demo.mailserver.process import ServerProcess
from tests.story.team import ACCOUNTS


@pytest.fixture(scope="session")
def mail_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("mail"), ACCOUNTS) as server:
        yield server
