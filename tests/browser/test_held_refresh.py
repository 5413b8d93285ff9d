"""A live refresh of the report panel never takes away what somebody is writing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.mock_case import Case
from tests.browser.mock_server import DIST
from tests.browser.viewer_page import until

TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "reporting" / "_panel.html"


def panel(number: int, text: str = "") -> str:
    """What the server renders of a signed report: its tag as in the template, one addendum form."""
    opening = re.search(r'<div id="report-panel-content".*?>\n', TEMPLATE.read_text(), re.S)
    assert opening
    tag = re.sub(r"{% url.*?%}", "/panel/", opening.group()).replace("{{ case.pk }}", "1")
    tag = re.sub(r"{%.*?%}", "", tag)
    return f"""{tag}<p id="version">Version {number}</p>
<details{" open" if text else ""}><summary>Add an addendum</summary>
<form hx-post="/addend/" hx-target="#report-panel" hx-swap="innerHTML">
<textarea name="text" id="addendum-text">{text}</textarea>
<input type="password" name="password" id="addendum-password"><button>Sign addendum</button>
</form></details></div>"""


@pytest.fixture
def signed(context: Any, served: tuple[str, Case]) -> Iterator[Any]:
    """A page with the panel in it; ``page.told`` counts what the server was asked for."""
    page = context.new_page()
    told = {"panel": 1, "refuse": False}
    entry = json.loads((DIST / "manifest.json").read_text())["src/pages.ts"]

    def answer(route: Any) -> None:
        path = route.request.url
        if path.endswith("/signed/"):
            body = (
                '<!doctype html><meta name="csrf-token" content="x">'
                f'<script type="module" src="/static/viewer/{entry["file"]}"></script>'
                f'<body><aside id="report-panel">{panel(1)}</aside></body>'
            )
        else:
            told["panel"] += 1
            body = panel(told["panel"], "typed" if told["refuse"] else "")
        route.fulfill(status=200, content_type="text/html", body=body)

    for path in ("**/signed/", "**/panel/", "**/addend/"):
        page.route(path, answer)
    page.goto(served[0] + "signed/")
    until(page, "document.readyState === 'complete'")
    page.told = told
    yield page
    page.close()


def live(page: Any) -> None:
    page.evaluate(
        "document.body.dispatchEvent(new CustomEvent('radfuse:live-report', {bubbles: true}))"
    )


def version(page: Any, number: int) -> None:
    until(page, f"document.querySelector('#version').textContent === 'Version {number}'", 30)


def test_an_open_addendum_holds_the_refresh_until_it_is_signed(signed: Any) -> None:
    live(signed)
    version(signed, 2)
    signed.click("summary")
    live(signed)  # as a delivery that finishes while the form is open
    signed.wait_for_selector("[data-held]")
    signed.fill("#addendum-text", "Discussed with the clinic.")
    signed.fill("#addendum-password", "secret")
    live(signed)
    until(signed, "Boolean(document.querySelector('[data-held]'))", 30)
    assert signed.input_value("#addendum-text") == "Discussed with the clinic."
    assert signed.is_visible("text=Sign addendum")
    before = signed.told["panel"]
    signed.click("text=Sign addendum")
    version(signed, before + 1)
    assert signed.locator("[data-held]").count() == 0
    assert signed.input_value("#addendum-text") == ""  # the same text cannot be signed twice


def test_what_was_held_appears_when_the_form_is_given_up(signed: Any) -> None:
    signed.click("summary")
    signed.fill("#addendum-text", "No.")
    live(signed)
    signed.wait_for_selector("[data-held]")
    signed.click("summary")  # closed, but the words are still in it
    signed.wait_for_timeout(300)
    assert signed.input_value("#addendum-text") == "No."
    signed.click("summary")
    signed.fill("#addendum-text", "")
    before = signed.told["panel"]
    signed.click("summary")
    version(signed, before + 1)
    assert signed.locator("[data-held]").count() == 0


def test_words_sent_back_after_a_refusal_are_held_too(signed: Any) -> None:
    signed.told["refuse"] = True
    signed.click("summary")
    signed.fill("#addendum-text", "typed")
    signed.click("text=Sign addendum")
    version(signed, 2)
    signed.click("summary")
    signed.told["refuse"] = False
    live(signed)
    signed.wait_for_selector("[data-held]")
    assert signed.input_value("#addendum-text") == "typed"
