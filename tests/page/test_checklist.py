"""The checklist of a runbook in a real browser: a file from a disk, without a network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from reconciler.report.checklist import checklist_html
from reconciler.report.runbook import Checklist, ticked_by
from tests.engine.cases_on_disk import plan_of
from tests.engine.test_runbook_steps import load, steps_of
from tests.page.looks import LOW_CONTRAST, PHONE

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DONE = "gateways apply -t aicc --done"


def write(folder: Path, name: str) -> str:
    case = load(name)
    page = checklist_html(
        Checklist(plan_of(case), steps_of(case), ticked_by([]), "aicc.json", DONE)
    )
    path = folder / f"{name}.html"
    path.write_text(page, "utf-8")
    return path.as_uri()


@asynccontextmanager
async def offline(browser: Browser, **looks: object) -> AsyncIterator[BrowserContext]:
    """A visitor without a network; whatever the page asks for, or complains of, is a failure."""
    context = await browser.new_context(offline=True, **looks)  # type: ignore[arg-type]
    asked: list[str] = []
    said: list[str] = []

    def watch(page: Page) -> None:
        page.on("request", lambda one: asked.append(one.url))
        page.on("console", lambda one: said.append(one.text))
        page.on("pageerror", lambda one: said.append(str(one)))
        page.on("dialog", lambda one: said.append(one.message))

    context.on("page", watch)
    yield context
    await context.close()
    assert {one.partition(":")[0] for one in asked} == {"file"}
    assert said == []


async def test_ticks_survive_a_reload(browser: Browser, tmp_path: Path) -> None:
    async with offline(browser) as visitor:
        page = await visitor.new_page()
        await page.goto(write(tmp_path, "create"))
        boxes = page.get_by_role("checkbox")
        progress = page.get_by_role("status")
        await expect(progress).to_have_text("0 of 7 steps done")
        await page.get_by_label("Import the certificate").check()
        await boxes.nth(1).focus()
        await page.keyboard.press("Space")
        await expect(progress).to_have_text("2 of 7 steps done")
        await page.reload()
        await expect(progress).to_have_text("2 of 7 steps done")
        await boxes.nth(0).uncheck()
        await page.reload()
        assert [await one.is_checked() for one in await boxes.all()] == [False, True] + [False] * 5
        await page.goto(write(tmp_path, "edit"))
        await expect(progress).to_contain_text("0 of")  # another plan, another list
        await expect(page.locator("pre")).to_contain_text(f"{DONE} connection\n")


async def test_hostile_strings_are_inert(browser: Browser, tmp_path: Path) -> None:
    """A20: what a pull request writes into a declaration is text and nothing else."""
    async with offline(browser) as visitor:
        page = await visitor.new_page()
        await page.goto(write(tmp_path, "hostile"))
        await expect(page.get_by_role("status")).to_have_text("0 of 4 steps done")
        await expect(page.get_by_text("<script>alert(2)</script>")).to_be_visible()
        assert await page.locator("img, a, iframe, form").count() == 0
        assert await page.locator("script").count() == 1
        assert "\u202e" not in await page.content()


async def test_the_policy_lets_nothing_else_run(browser: Browser, tmp_path: Path) -> None:
    """Even if something were slipped into the page."""
    write(tmp_path, "create")
    path = tmp_path / "create.html"
    slipped = "<main><script>document.title = 'run'</script><b onclick='x()'>x</b>"
    path.write_text(path.read_text().replace("<main>", slipped))
    context = await browser.new_context(offline=True)
    page = await context.new_page()
    await page.goto(path.as_uri())
    await expect(page.get_by_role("status")).to_have_text("0 of 7 steps done")
    assert (await page.title()).startswith("Console steps")
    await context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read_everywhere(browser: Browser, tmp_path: Path, scheme: str) -> None:
    async with offline(browser, color_scheme=scheme, viewport=PHONE) as visitor:
        page = await visitor.new_page()
        await page.goto(write(tmp_path, "edit"))
        await page.get_by_role("checkbox").first.check()
        for media in ("screen", "print"):
            await page.emulate_media(media=media)
            texts, low = await page.evaluate(LOW_CONTRAST)
            assert (texts > 100, low) == (True, []), media
        await expect(page.get_by_role("button", name="copy")).to_have_count(0)
        await page.emulate_media(media="screen")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_value_is_copied_or_selected(browser: Browser, tmp_path: Path) -> None:
    async with offline(browser) as visitor:
        page = await visitor.new_page()
        await page.goto(write(tmp_path, "edit"))
        value = page.locator("ins", has_text="imap.example.com")
        await value.locator("+ button").click()
        await expect(value.locator("+ button")).not_to_have_text("copy")
