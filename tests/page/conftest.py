"""One Chromium for all tests of the page, and a place for each to look from."""

import shutil
from collections.abc import AsyncIterator

import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

expect.set_options(timeout=20_000)  # how long a test waits for what must happen


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A test that uses it carries the marker `browser`, and shares its loop."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            # root, as in continuous integration, has no sandbox of Chromium's
            args=["--no-sandbox"],
        )
        yield running
        await running.close()
