"""The http platform: the contract, on a service that keeps sessions, and what a network adds."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reconciler.platforms import Platform
from reconciler.platforms.http import HttpPlatform
from reconciler.platforms.http_access import Access
from reconciler.service.supervisor.supervisor import Supervisor
from tests.platforms.contract import PlatformContract, Platforms, server
from tests.service.running import Running, running

__all__ = ["server"]  # a fixture is found by its name in this module


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, supervise=Supervisor) as service:
        yield service


@pytest.fixture
async def platforms(service: Running) -> AsyncIterator[Platforms]:
    token = await service.token("apply")
    opened: list[HttpPlatform] = []

    def open_one(owner: str = "ours") -> Platform:
        platform = HttpPlatform(Access(service.url, token, "acme"), owner)
        opened.append(platform)
        return platform

    yield open_one
    for platform in opened:
        await platform.close()


class TestContract(PlatformContract):
    pass
