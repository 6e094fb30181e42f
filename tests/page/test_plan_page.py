"""A plan as a page of its own, opened from a file: it needs nothing, and nothing in it acts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.async_api import Browser, Page, expect

from reconciler.model import Plan
from reconciler.report import safe
from reconciler.report.html import plan_html
from tests.hostile import everywhere
from tests.hostile.corpus import SHORT
from tests.page.looks import LOW_CONTRAST, PHONE, WATCH
from tests.report.test_comment import edit, plan

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ACTIVE: Final = "script, img, iframe, object, embed, link, a, form, input, svg, base, audio, video"
WIDER: Final = "document.scrollingElement.scrollWidth > innerWidth"


@asynccontextmanager
async def opened(browser: Browser, folder: Path, made: Plan, **options: Any) -> AsyncIterator[Page]:
    """The page, from a file, in a browser that notes whatever it does."""
    file = folder / "plan.html"
    file.write_text(plan_html(made), encoding="utf-8")
    context = await browser.new_context(offline=True, **options)
    page = await context.new_page()
    wrong: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    await page.add_init_script(WATCH)
    await page.goto(file.as_uri())
    yield page
    if options.get("java_script_enabled", True):
        assert await page.evaluate("window.violations") == []
    assert wrong == []
    assert asked == [file.as_uri()]
    await context.close()


def whole() -> Plan:
    changes = [edit(f"gateway-{number}") for number in range(3)]
    return plan(*changes, edit("b", blocked_by="it is protected"), drift=(edit("c"),))


async def test_it_opens_from_a_file_and_says_what_will_happen(
    browser: Browser, tmp_path: Path
) -> None:
    async with opened(browser, tmp_path, whole()) as page:
        await expect(page).to_have_title("Plan for production: 3 to edit, 2 unchanged, 1 blocked")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Plan for production")
        await expect(page.get_by_text("blocked: it is protected")).to_be_visible()
        assert await page.locator(ACTIVE).count() == 0


@pytest.mark.parametrize("scripts", [True, False])
async def test_folding_works_by_keyboard_and_without_scripts(
    browser: Browser, tmp_path: Path, *, scripts: bool
) -> None:
    async with opened(browser, tmp_path, whole(), java_script_enabled=scripts) as page:
        first = page.locator("details").first
        inside = first.locator("table")
        await expect(inside).to_be_visible()
        await page.keyboard.press("Tab")
        await expect(first.locator("summary")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(inside).to_be_hidden()
        await page.keyboard.press("Space")
        await expect(inside).to_be_visible()


async def test_a_long_plan_is_folded_and_printed_whole(browser: Browser, tmp_path: Path) -> None:
    long = plan(*(edit(f"gateway-{number:02}") for number in range(30)))
    async with opened(browser, tmp_path, long) as page:
        table = page.locator("details table").first
        shown = "one => one.checkVisibility({contentVisibilityAuto: true}) && one.clientHeight > 0"
        assert not await table.evaluate(shown)
        await page.emulate_media(media="print")
        assert await table.evaluate(shown)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_can_be_read(
    browser: Browser, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    async with opened(browser, tmp_path, whole(), color_scheme=scheme) as page:
        shown, low = await page.evaluate(LOW_CONTRAST)
        assert shown > 20
        assert low == []


@pytest.mark.parametrize("width", [320, PHONE["width"], 1280])
async def test_no_scrolling_sideways(browser: Browser, tmp_path: Path, width: int) -> None:
    long = edit("a" * 64, reason="x" * 300, blocked_by="y" * 300)
    viewport = {"width": width, "height": 700}
    async with opened(browser, tmp_path, plan(long, edit()), viewport=viewport) as page:
        assert not await page.evaluate(WIDER)


async def test_hostile_strings_are_text(browser: Browser, tmp_path: Path) -> None:
    """A20: every string of the corpus in every place, and the browser does nothing."""
    changes = [everywhere.change(text) for text in SHORT.values()]
    foreign = tuple(SHORT.values())
    made = plan(*changes, foreign=foreign, blocked=foreign, drift=tuple(changes))
    async with opened(browser, tmp_path, made, viewport=PHONE) as page:
        assert await page.locator(ACTIVE).count() == 0
        handlers = "all => all.flatMap(one => one.getAttributeNames()).filter(n => /^on/.test(n))"
        assert await page.locator("*").evaluate_all(handlers) == []
        text = await page.evaluate("document.body.textContent")
        assert all(safe.line(one) in text for one in SHORT.values())
        assert await page.locator("details").count() == len(SHORT)
        assert not await page.evaluate(WIDER)
        title = await page.title()
        assert title.startswith("Plan for production: ")
