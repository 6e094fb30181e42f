"""The search of the site works in a page opened from a folder, where no Worker may start."""

import shutil
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import expect, sync_playwright

SCRIPT: Final = Path(__file__).resolve().parents[2] / "docs/site/iframe-worker.js"
WORKER: Final = """\
self.count = 0;
addEventListener("message", async ({ data }) => postMessage(await data + ++self.count));
"""
PAGE: Final = """\
<body><p id="said"></p><script src="iframe-worker.js"></script><script>
  const worker = new Worker("worker.js");
  worker.addEventListener("message", ({ data }) => { said.textContent += data + " "; });
  worker.postMessage("a");
  worker.postMessage("b");
  addEventListener("message", () => { said.textContent = "the page was told"; });
</script>"""


@pytest.mark.browser
def test_a_frame_does_the_work_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "iframe-worker.js").write_text(SCRIPT.read_text())
    (tmp_path / "worker.js").write_text(WORKER)
    (tmp_path / "page.html").write_text(PAGE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        expect(page.locator("#said")).to_have_text("a1 b2")
        browser.close()
