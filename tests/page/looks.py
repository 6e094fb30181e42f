"""A browser in front of the page: what it sees, and everything that it must not see."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect

from tests.page.world import Stage

WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 375, "height": 740}

# told by the browser itself, whatever the page's own scripts do
WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""

BEYOND_THE_EDGE = """
() => [...document.querySelectorAll("#rows *, #summary *, #filter *, header *")]
  .filter((one) => one.checkVisibility() && !one.closest(".hidden"))
  .filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width && (box.right > innerWidth + 1 || box.left < -1);
  })
  .map((one) => one.outerHTML.slice(0, 80))
"""

# how many texts and shapes there are, and which of them have less contrast than WCAG AA asks for
LOW_CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const shown = [...document.querySelectorAll("body *")].filter(
    (one) =>
      one.checkVisibility() &&
      !one.closest(".hidden") &&
      (one.matches("svg") || [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())),
  );
  const low = shown.flatMap((one) => {
    const [less, more] = [light(rgba(getComputedStyle(one).color)), light(behind(one))].sort();
    const ratio = (Math.max(less, more) + 0.05) / (Math.min(less, more) + 0.05);
    const enough = ratio >= (one.matches("svg") ? 3 : 4.5);
    return enough ? [] : [`${one.outerHTML.slice(0, 80)}: ${ratio.toFixed(2)}`];
  });
  return [shown.length, low];
}
"""


@dataclass
class Look:
    """One page in one browser. At its end nothing may have gone wrong or left the origin."""

    page: Page
    on: Stage
    url: str
    wrong: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def row(self, name: str) -> Locator:
        return self.page.locator(f'tr[id="gateway-{name}"]')

    async def names(self) -> list[str]:
        found = await self.page.locator("#rows tr").evaluate_all("rows => rows.map(r => r.id)")
        return [str(one).removeprefix("gateway-") for one in found]

    async def sign_in(self, role: str = "operate", path: str = "/", **fields: Any) -> None:
        token = await self.on.running.token(role, **fields)
        await self.page.goto(self.on.running.url + path)
        await self.page.get_by_label("Access token").fill(token.text().reveal())
        await self.page.keyboard.press("Enter")
        await expect(self.page.get_by_role("heading", name="Gateway Monitoring")).to_be_visible()

    async def come(self, role: str = "operate", path: str = "/", **fields: Any) -> str:
        """Come with a cookie, for whom signing in is not the point; gives the token's id."""
        visitor = self.on.visitor()
        token = await visitor.sign_in(role, **fields)
        name, _, value = visitor.cookie.partition("=")
        cookie = {"name": name, "value": value, "url": self.url, "sameSite": "Strict"}
        await self.page.context.add_cookies([cookie])  # type: ignore[list-item] # a literal
        await self.page.goto(self.url + path)
        await expect(self.page.get_by_role("heading", name="Gateway Monitoring")).to_be_visible()
        return token

    async def live(self) -> None:
        await expect(self.page.locator("#live-word")).to_have_text("Live")


@asynccontextmanager
async def look(
    browser: Browser, on: Stage, *, through: str = "", **options: Any
) -> AsyncIterator[Look]:
    """A page that is still empty; `through` is where the service is seen, if not where it is."""
    context: BrowserContext = await browser.new_context(**{"viewport": WIDE, **options})
    context.set_default_timeout(20_000)
    page = await context.new_page()
    looks = Look(page, on, through or on.running.url)
    page.on("pageerror", lambda error: looks.wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: looks.wrong.append(said.text) if said.type in {"error", "warning"} else None,
    )
    page.on("request", lambda asked: looks.hosts.add(urlsplit(asked.url).netloc))
    scripts = options.get("java_script_enabled", True)
    if scripts:
        await page.add_init_script(WATCH)
    try:
        yield looks
        if scripts:
            looks.wrong += await page.evaluate("window.violations")
        assert looks.wrong == []
        assert looks.hosts == {urlsplit(looks.url).netloc}
    finally:
        await context.close()
