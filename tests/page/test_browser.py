"""The page in a real browser: what people do with it, and that it stays out of their way."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from playwright.async_api import Browser, Page, expect

from reconciler.clock import now, stamp
from reconciler.model import Actor, Cause, Failure, FailureKind
from reconciler.service.access import Tokens
from reconciler.service.http.page.words import relative
from reconciler.service.store import Store
from reconciler.service.supervisor.facts import Facts
from tests.page.cable import cable
from tests.page.looks import BEYOND_THE_EDGE, LOW_CONTRAST, PHONE, look
from tests.page.world import (
    ABSENT,
    REFUSED,
    Stage,
    gateway,
    put,
    report,
    stage,
    status,
)

HTML = "text/html"

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def with_three(on: Stage) -> None:
    await put(on.service, gateway("billing-in", "POP3"), status("failed", REFUSED))
    await put(on.service, gateway("support-in"), status("succeeded"))
    labels = (("env", "staging"),)
    await put(on.service, gateway("support-out", "SMTP", labels=labels), status("succeeded"))


async def test_signing_in_looking_and_signing_out(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        page = looks.page
        await page.goto(on.running.url + "/?status=failed")
        await expect(page.get_by_label("Access token")).to_be_focused()
        await page.keyboard.type("gwt_wrong")
        async with page.expect_response("**/login?status=failed") as refused:
            await page.keyboard.press("Enter")
        assert (await refused.value).status == 401
        await expect(page.get_by_role("alert")).to_contain_text("not known here")
        await looks.sign_in("read", "/?status=failed")
        assert await looks.names() == ["billing-in"]
        assert page.url == on.running.url + "/?status=failed"
        cookies = await page.context.cookies()
        assert [(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Strict")]
        await looks.live()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Access token")).to_be_visible()
        await page.go_back()
        await expect(page.get_by_label("Access token")).to_be_visible()
        # what the browser says of the wrong token
        looks.wrong = [one for one in looks.wrong if "401" not in one]


async def test_what_changes_is_shown_without_reloading(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come("read")
        await looks.live()
        page = looks.page
        await page.evaluate("window.stays = true")
        await report(on.service, "support-out", status("failed", ABSENT, ago=0))
        row = looks.row("support-out")
        await expect(row).to_contain_text("nothing listens on port 993")
        await expect(row.locator(".badge")).to_have_text("Failed")
        await expect(page.locator("#say")).to_have_text("support-out: Failed.")
        await expect(page.locator("#summary a.failed b")).to_have_text("2")
        await expect(page).to_have_title("2 failed · Gateway Monitoring")
        # what needs a person goes to the top once nobody is about to press something
        await expect(page.locator("#rows tr").nth(1)).to_have_id("gateway-support-out")
        await put(on.service, gateway("new-in"), status("connecting"))
        await expect(looks.row("new-in")).to_contain_text("Connecting")
        assert await looks.names() == ["billing-in", "support-out", "new-in", "support-in"]
        assert await page.evaluate("window.stays")


async def test_rows_stay_where_they_are_while_somebody_is_there(
    browser: Browser, tmp_path: Path
) -> None:
    """Nobody presses the button of another gateway because rows have moved."""
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come()
        await looks.live()
        page = looks.page
        button = looks.row("support-in").get_by_role("button", name="Rebuild")
        await button.focus()
        await report(on.service, "support-out", status("failed", ABSENT))
        await report(on.service, "support-in", status("connecting"))
        await expect(looks.row("support-out")).to_contain_text("Failed")
        await expect(looks.row("support-in")).to_contain_text("Connecting")
        await expect(button).to_be_focused()
        assert await looks.names() == ["billing-in", "support-in", "support-out"]
        await page.locator("#name").focus()
        await expect(page.locator("#rows tr").nth(1)).to_have_id("gateway-support-out")


async def test_filters_take_effect_while_they_are_typed(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come("read")
        await looks.live()
        page = looks.page
        await page.keyboard.press("/")
        await expect(page.locator("#name")).to_be_focused()
        await page.keyboard.type("support")
        await expect(page.locator("#rows tr")).to_have_count(2)
        await expect(page).to_have_url(on.running.url + "/?name=support")
        await expect(page.locator("#name")).to_be_focused()
        await page.get_by_label("Label").fill("env=staging")
        await expect(page.locator("#rows tr")).to_have_count(1)
        await page.get_by_role("link", name="Clear").click()
        await expect(page.locator("#rows tr")).to_have_count(3)
        await page.get_by_role("link", name="1 Failed").click()
        await expect(page.locator("#rows tr")).to_have_count(1)
        await expect(page).to_have_url(on.running.url + "/?status=failed")
        await expect(page.locator("#summary a.failed")).to_have_attribute("aria-current", "true")
        # a filter stays as gateways come to fit it
        await report(on.service, "support-in", status("failed", ABSENT))
        await expect(page.locator("#rows tr")).to_have_count(2)
        await page.go_back()
        await expect(page.locator("#rows tr")).to_have_count(3)
        await page.locator("#name").fill("absent")
        await expect(page.get_by_role("heading", name="No gateway fits")).to_be_visible()
        await expect(page.locator("table")).to_be_hidden()


async def test_rebuilding_with_the_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come(note="Ops on call")
        await looks.live()
        page = looks.page
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the gateways")).to_be_focused()
        await page.keyboard.press("Enter")
        rebuild = page.get_by_role("button", name="Rebuild billing-in")
        for _ in range(4):
            await page.keyboard.press("Tab")
            if await rebuild.evaluate("one => one === document.activeElement"):
                break
        await expect(rebuild).to_be_focused()
        await page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Rebuild billing-in?")
        await expect(dialog).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        await expect(rebuild).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(dialog).to_be_visible()
        yes = dialog.get_by_role("button", name="Rebuild")
        for _ in range(3):
            await page.keyboard.press("Tab")
            if await yes.evaluate("one => one === document.activeElement"):
                break
        await page.keyboard.press("Enter")
        notice = page.get_by_role("status")
        await expect(notice).to_contain_text("billing-in: its session is being made anew.")
        await expect(looks.row("billing-in").locator(".badge")).to_have_text("Connecting")
        await expect(rebuild).to_be_focused()
    # and nothing but that has been done
    async with stage(tmp_path) as on:
        entries = await on.service.look(lambda found: Store(found, "acme").audit("billing-in"))
        assert [(entry.action, entry.actor) for entry in entries[1:]] == [
            ("rebuild", "Ops on call")
        ]


async def test_confirming_cancelling_and_what_is_refused(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await put(on.service, gateway("vip-in", protect=True), status("succeeded"))
        await looks.come()
        await looks.live()
        page = looks.page
        dialog = page.get_by_role("dialog")
        await page.get_by_role("button", name="Disconnect support-in").click()
        await expect(dialog).to_contain_text("nothing connects it again")
        await dialog.get_by_role("link", name="Cancel").click()
        await expect(dialog).to_be_hidden()
        await expect(looks.row("support-in").locator(".badge")).to_have_text("Connection succeeded")
        await page.get_by_role("button", name="Disconnect vip-in").click()
        await expect(dialog).to_contain_text("vip-in is protected")
        await expect(dialog.get_by_role("button")).to_have_count(0)
        await dialog.get_by_role("link", name="Close").click()
        await page.get_by_role("button", name="Disconnect support-in").click()
        await dialog.get_by_role("button", name="Disconnect").click()
        await expect(page.get_by_role("status")).to_contain_text("it is disconnected")
        await expect(looks.row("support-in")).to_contain_text("by hand")
        # somebody else was faster: nothing is done, and that is said
        await page.get_by_role("button", name="Rebuild support-out").click()
        await expect(dialog).to_be_visible()
        other = await on.seen_by("operate")
        await other.press("rebuild", "support-out")
        await dialog.get_by_role("button", name="Rebuild").click()
        await expect(page.get_by_role("status")).to_contain_text("was changed meanwhile")


async def test_a_visit_that_ends_leads_back_to_signing_in(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        token = await looks.come("read", "/?status=succeeded")
        await looks.live()
        await on.service.write(lambda found: Tokens(found, on.service.clock).revoke(token))
        await expect(looks.page.get_by_label("Access token")).to_be_visible()
        assert looks.page.url == on.running.url + "/login?status=succeeded"


async def test_a_link_from_elsewhere_leads_to_the_view(browser: Browser, tmp_path: Path) -> None:
    """The browser keeps the cookie back on the way from another site, and no second sign-in."""
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come("read")
        page = looks.page
        link = f'<a href="{on.running.url}/?status=failed">look at this</a>'
        there = "http://elsewhere.test/"
        await page.route(f"{there}**", lambda asked: asked.fulfill(body=link, content_type=HTML))
        await page.goto(there)
        await page.get_by_role("link", name="look at this").click()
        await expect(page.locator("#rows tr")).to_have_count(1)
        assert page.url == on.running.url + "/?status=failed"
        looks.hosts.discard("elsewhere.test")


async def test_script_and_server_tell_time_in_the_same_words(
    browser: Browser, tmp_path: Path
) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await looks.come("read")
        at = datetime(2026, 11, 22, 12, tzinfo=UTC)
        steps = (0, 4, 5, 59, 60, 3599, 3600, 7200, 86_399, 86_400, 172_800, 10**8)
        moments = [stamp(at + timedelta(seconds=sign * one)) for one in steps for sign in (1, -1)]
        said = await looks.page.evaluate(
            """async ([moments, now]) => {
              const main = document.querySelector("script[type=module]").src;
              const { relative } = await import(main.replace("main.js", "times.js"));
              return moments.map((one) => relative(one, Date.parse(now)));
            }""",
            [moments, stamp(at)],
        )
        assert said == [relative(one, at) for one in moments]


async def test_a_lost_connection_is_told_and_made_up_for(browser: Browser, tmp_path: Path) -> None:
    async with (
        stage(tmp_path) as on,
        cable(on.running.url) as line,
        look(browser, on, through=line.url) as looks,
    ):
        await with_three(on)
        await looks.come("read")
        await looks.live()
        page = looks.page
        await line.cut()
        await expect(page.locator("#live-word")).to_contain_text("Connection lost")
        await report(on.service, "support-in", status("failed", ABSENT))
        await line.mend()
        await expect(looks.row("support-in")).to_contain_text("Failed")
        await looks.live()
        await expect(page.locator("#say")).to_have_text("support-in: Failed.")
        # what the browser says of the time without a connection
        looks.wrong = [one for one in looks.wrong if "ERR_" not in one]


async def test_on_a_phone_nothing_runs_over_the_edge(browser: Browser, tmp_path: Path) -> None:
    async with (
        stage(tmp_path) as on,
        look(browser, on, viewport=PHONE, has_touch=True) as looks,
    ):
        await with_three(on)
        long = "a" + "-very.long_name" * 4 + "-xyz"
        words = "x" * 120 + " " + "كلمة " * 20
        labels = tuple((f"label{number}" * 5, "v" * 63) for number in range(6))
        failure = Failure(FailureKind.PROTOCOL, "encryption_mode", words, words)
        one = gateway(long[:64], host="h" * 60 + ".example.com", labels=labels)
        await put(on.service, one, status("failed", failure), owner="o" * 80)
        page = looks.page
        await looks.come()
        await looks.live()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width == PHONE["width"]
        assert await page.evaluate(BEYOND_THE_EDGE) == []
        sizes = await page.locator("td.press button").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().height)"
        )
        assert min(sizes) >= 44
        await page.get_by_role("button", name="Disconnect support-in").tap()
        await expect(page.get_by_role("dialog")).to_be_visible()
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_everybody_can_read_it(browser: Browser, tmp_path: Path) -> None:
    """Contrast by WCAG AA of all that is shown, in both schemes."""
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await put(on.service, gateway("c"), status("connecting"))
        await put(on.service, gateway("d"), status("disconnected", cause=Cause.BY_HAND))
        await put(on.service, gateway("e", "IMAP", mode="NONE"), status("succeeded"))
        for days in (25, 10, 3, -1):
            await put(on.service, gateway(f"ends{days}"), status("succeeded"))
            ends = now() + timedelta(days=days, hours=1)
            on.supervisor.known[f"ends{days}"] = Facts(certificate_expires=ends)
        page = looks.page
        await page.goto(on.running.url)
        await in_both_schemes(page)
        await looks.come()
        await looks.live()
        assert await in_both_schemes(page) > 100
        await page.get_by_role("button", name="Disconnect support-in").click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await in_both_schemes(page)


async def in_both_schemes(page: Page) -> int:
    """How many texts and shapes were looked at; all of them have contrast enough."""
    seen = 0
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await page.emulate_media(color_scheme=scheme)
        ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128) == (scheme == "light")
        seen, low = await page.evaluate(LOW_CONTRAST)
        assert low == []
    return seen


async def test_everything_has_a_name(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come()
        await looks.live()
        page = looks.page
        assert await page.locator("h1").count() == 1
        assert await page.locator("html").get_attribute("lang") == "en"
        assert await page.locator("main, header").count() == 2
        roles: tuple[Literal["button", "link", "searchbox"], ...] = ("button", "link", "searchbox")
        for role in roles:
            for one in await page.get_by_role(role).all():
                assert await one.evaluate(
                    """one => (one.getAttribute("aria-label") || one.labels?.[0]?.textContent ||
                      one.textContent).trim()"""
                )
        names = await page.get_by_role("button").evaluate_all(
            "all => all.map(one => one.getAttribute('aria-label') ?? one.textContent.trim())"
        )
        assert len(names) == len(set(names)), "no two buttons have one name"
        assert await page.get_by_role("columnheader").all_inner_texts() == [
            "Gateway",
            "Status",
            "Mail today",
            "Certificate",
            "Last change",
            "Buttons",
        ]
        assert await page.get_by_role("rowheader").count() == 3
        ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        await expect(page.locator("#say")).to_have_attribute("aria-live", "polite")


async def test_without_scripts_it_is_complete(browser: Browser, tmp_path: Path) -> None:
    async with stage(tmp_path) as on, look(browser, on, java_script_enabled=False) as looks:
        await with_three(on)
        await looks.come()
        page = looks.page
        await page.get_by_label("Name or host").fill("support")
        await page.get_by_role("button", name="Filter").click()
        assert await looks.names() == ["support-in", "support-out"]
        await page.get_by_role("button", name="Disconnect support-in").click()
        await expect(page.get_by_role("heading", name="Disconnect support-in?")).to_be_visible()
        await page.get_by_role("link", name="Cancel").click()
        await expect(page).to_have_url(on.running.url + "/?name=support")
        await page.get_by_role("button", name="Disconnect support-in").click()
        await page.get_by_role("button", name="Disconnect").click()
        await expect(page).to_have_url(on.running.url + "/?name=support")
        await expect(page.get_by_role("status")).to_contain_text("support-in: it is disconnected.")
        await expect(looks.row("support-in").locator(".badge")).to_have_text("Disconnected")
        await page.get_by_role("link", name="Refresh").click()
        await expect(page.get_by_role("status")).to_be_empty()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("Access token")).to_be_visible()


async def test_hostile_text_is_text_also_when_it_comes_live(
    browser: Browser, tmp_path: Path
) -> None:
    async with stage(tmp_path) as on, look(browser, on) as looks:
        await with_three(on)
        await looks.come()
        await looks.live()
        text = "<img src=x onerror='window.pwned=1'><script>window.pwned=1</script>"
        turned = "safe\u202egnp.exe\x1b[31m"
        labels = (("a", text[:63]), ("b", turned))
        one = gateway("hostile", host=text, labels=labels)
        failure = Failure(FailureKind.PROTOCOL, "port", text + turned, text)
        actor = Actor(text, "<b>commit</b>")
        await put(on.service, one, status("failed", failure), owner=text, actor=actor)
        row = looks.row("hostile")
        await expect(row).to_contain_text("<script>window.pwned=1</script>")
        await expect(row).to_contain_text("safe\\u202egnp.exe\\u001b[31m")
        assert await row.locator("img, script, b:not(.mail b)").count() == 0
        await page_waits()
        assert await looks.page.evaluate("window.pwned") is None


async def page_waits() -> None:
    """Give a script that should not be there the time to run."""
    await asyncio.sleep(0.1)
