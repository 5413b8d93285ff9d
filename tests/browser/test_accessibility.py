"""Every page of the product, in the browser: no serious finding of axe, no error in the console."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import CHROMIUM, DIST, FLAGS, need

sync_api = pytest.importorskip("playwright.sync_api")
ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")
ALSO_CHINESE = (
    "worklist:list", "reading:case", "receiving:archive", "receiving:upload", "receiving:nodes",
)  # fmt: skip
# Swagger UI is a library's own page inside one of ours; what is around it is looked at.
RUN = """async () => {
  const found = await axe.run({ exclude: ['#swagger-ui'] }, { resultTypes: ['violations'] });
  return found.violations.map((one) => ({
    rule: one.id, impact: one.impact,
    where: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160)),
  }));
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


class Pages:
    """The server's pages, and a browser context for each role."""

    def __init__(self, origin: str, told: dict[str, Any], browser: Any) -> None:
        self.origin, self.told, self.browser = origin, told, browser
        self.axe = AXE.read_text()

    def context(self, role: str, language: str) -> Any:
        context = self.browser.new_context(locale=language, viewport={"width": 1440, "height": 900})
        if role:
            context.add_cookies(
                [{"name": "sessionid", "value": self.told["sessions"][role], "url": self.origin}]
            )
        return context

    def look(self, context: Any, url: str) -> list[str]:
        """What is wrong with a page: serious findings, and what the console complained about."""
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda m: m.type == "error" and wrong.append(f"console: {m.text[:200]}"))
        page.on("pageerror", lambda error: wrong.append(f"error: {str(error)[:200]}"))
        page.goto(self.origin + url)
        if page.locator("[hx-trigger*=load], #viewer, #swagger-ui").count():
            page.wait_for_load_state("networkidle")
        else:
            page.wait_for_timeout(100)
        page.evaluate(self.axe)
        wrong += [str(one) for one in page.evaluate(RUN) if one["impact"] in SERIOUS]
        page.close()
        return wrong


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    need(CHROMIUM is not None, "Chromium")
    need((DIST / "manifest.json").is_file(), "frontend/dist (npm run build)")
    need(AXE.is_file(), "axe-core (npm ci)")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RADFUSE_", "DJANGO_"))}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.pages_server"],
        cwd=ROOT, env=clean, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line, "the server of the pages did not start"
        told = json.loads(line)
        with sync_api.sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield Pages(told["origin"], told, browser)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)


def test_axe_finds_what_it_should(pages: Pages) -> None:
    """A page with a picture without words fails: the tests below can."""
    page = pages.context("", "en").new_page()
    page.set_content("<html lang=en><title>x</title><main><img src='data:,'></main></html>")
    page.evaluate(pages.axe)
    assert "image-alt" in [one["rule"] for one in page.evaluate(RUN)]


def test_no_page_has_a_serious_finding_or_a_console_error(pages: Pages) -> None:
    found = pages.told["pages"]
    assert len(found) > 25, sorted(found)
    wrong = {}
    for role in pages.told["sessions"]:
        context = pages.context(role, "en")
        for name, (of_role, url) in found.items():
            if of_role == role and (problems := pages.look(context, url)):
                wrong[name] = problems
        context.close()
    visitor = pages.context("", "en")
    if problems := pages.look(visitor, "/accounts/sign-in/"):
        wrong["sign-in"] = problems
    assert not wrong, json.dumps(wrong, indent=1)


def test_chinese_pages_are_chinese_and_as_accessible(pages: Pages) -> None:
    wrong = {}
    context = pages.context("reader", "zh-CN")
    for name in ALSO_CHINESE:
        if problems := pages.look(context, pages.told["pages"][name][1]):
            wrong[name] = problems
    page = context.new_page()
    page.goto(pages.origin + pages.told["pages"]["worklist:list"][1])
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.locator("h1").inner_text() == "工作列表"
    page.locator("[data-live-state]", has_text="实时").wait_for()
    visitor = pages.context("", "zh-CN").new_page()
    visitor.goto(pages.origin + "/accounts/sign-in/")
    assert "登录" in visitor.locator("main").inner_text()
    assert not wrong, json.dumps(wrong, indent=1)
