"""Headers, cookies, markup: what keeps a hostile name or page from doing harm."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from tests.factories import PASSWORD, UserFactory
from tests.security.house import HOSTILE, House, build
from tests.security.test_matrix import ALL, GUARDED, permissions_of, url_of
from workstation.accounts.models import AuditRecord, User
from workstation.accounts.permissions import allowed
from workstation.reporting.services import MEANINGS, obstacles, seal


@pytest.fixture
def house(db: None, settings: Any, tmp_path: Path) -> House:
    for name in ("EXPORTS", "RUNS", "QUARANTINE"):
        setattr(settings, f"{name}_DIR", tmp_path / name.lower())
    return build()


class Markup(HTMLParser):
    """Collects what a policy without inline script would block, and what escaping should stop."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.images: list[str] = []
        self._script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        # Data that no browser runs: Django's json_script, with <, > and & escaped.
        data = values.get("type") == "application/json"
        self._script = tag == "script" and "src" not in values and not data
        self.inline += [f"{tag} {key}" for key in values if key.startswith("on")]
        self.inline += [
            f"{tag} {key}"
            for key, value in values.items()
            if (value or "").lower().startswith("javascript:")
        ]
        if tag == "img":
            self.images.append(str(values.get("src")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = False

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)


def pages(house: House) -> dict[str, tuple[str, Any]]:
    """Every page and part a GET can render, as its first permitted reader sees it."""
    found = {}
    for name in [*GUARDED, "accounts:sign-in"]:
        users: list[User | None] = [house.own, house.lead, house.administrator]
        names = permissions_of(ALL[name])
        user = next((u for u in users if any(allowed(u, n) for n in names)), None)
        for htmx in (False, True):
            client = Client(headers={"HX-Request": "true"} if htmx else {})
            if user is not None:
                client.force_login(user)
            answer = client.get(url_of(name, house))
            if answer.get("Content-Type", "").startswith("text/html") and not answer.streaming:
                found[f"{name}{' (part)' if htmx else ''}"] = (answer.content.decode(), answer)
    return found


def test_hostile_words_stay_words_on_every_page(house: House) -> None:
    rendered = pages(house)
    assert {"worklist:list", "reading:case", "reporting:panel", "reporting:sign"} <= rendered.keys()
    shown = 0
    for name, (html, _) in rendered.items():
        markup = Markup()
        markup.feed(html)
        assert markup.inline == [], name
        assert markup.images == [], name
        for words in HOSTILE:
            assert words not in html, name
            shown += html.count(words.replace("<", "&lt;").split(">")[0].replace("'", "&#x27;"))
    assert shown > 10, "the pages do not show the hostile words at all"


def test_every_page_says_what_it_is_not(house: House) -> None:
    for name, (html, answer) in pages(house).items():
        if answer.status_code == 200 and "<html" in html:
            assert "Not for diagnostic use" in html, name
    for name in ("reporting:panel", "reporting:sign"):
        assert "Not for diagnostic use" in pages(house)[name][0]


def test_every_page_carries_a_strict_policy(house: House) -> None:
    for name, (_, answer) in pages(house).items():
        policy = dict(
            part.strip().split(" ", 1) for part in answer["Content-Security-Policy"].split(";")
        )
        assert "'unsafe-inline'" not in policy["script-src"], name
        assert "'unsafe-eval'" not in policy["script-src"].replace("'wasm-unsafe-eval'", ""), name
        assert policy["default-src"] == "'self'"
        assert policy["object-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert answer["X-Frame-Options"] == "DENY"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert answer["Referrer-Policy"] == "same-origin"
        assert answer["Cross-Origin-Opener-Policy"] == "same-origin"


def test_errors_do_not_talk(house: House) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(house.own)
    answer = client.get("/cases/999999999/")
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "Traceback" not in page and "workstation" not in page.replace("Reading workstation", "")


def test_cookies_are_out_of_reach_of_scripts(house: House, settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    client = Client()
    client.get("/accounts/sign-in/")
    answer = client.post(
        "/accounts/sign-in/", {"username": house.own.username, "password": PASSWORD}
    )
    assert answer.status_code == 302
    session = answer.cookies["sessionid"]
    assert session["httponly"] and session["secure"] and session["samesite"] == "Lax"
    assert client.cookies["csrftoken"]["secure"]


def test_production_settings_insist_on_https() -> None:
    text = (Path(__file__).parents[2] / "workstation" / "settings" / "base.py").read_text()
    assert 'HTTPS = env.bool("RADFUSE_HTTPS", default=True)' in text
    for line in (
        "SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS",
        "SECURE_SSL_REDIRECT = HTTPS",
        "DEBUG = False",
    ):
        assert line in text
    assert re.search(r"RADFUSE_SECRET_KEY\"\)", text), "the key has no default"


# --- guessing passwords -------------------------------------------------------------------------


@pytest.fixture
def _locks(settings: Any) -> int:
    settings.AXES_ENABLED = True
    settings.AXES_FAILURE_LIMIT = 3
    return 3


@pytest.mark.django_db(transaction=True)
def test_a_guesser_is_locked_out_and_audited(_locks: int, settings: Any) -> None:
    user = UserFactory()
    client = Client()
    form = {"username": user.username, "password": "wrong"}
    for _ in range(_locks):
        answer = client.post("/accounts/sign-in/", form)
    answer = client.post("/accounts/sign-in/", {**form, "password": PASSWORD})
    assert answer.status_code == 429, "even the right password waits"
    page = answer.content.decode()
    assert "Too many wrong passwords" in page
    assert "a quarter of an hour" in page and settings.AXES_COOLOFF_TIME == 0.25
    assert "_auth_user_id" not in client.session
    assert AuditRecord.objects.filter(action="sign_in_failed", username=user.username).exists()
    # Somebody else at another desk is not locked out.
    other = Client(REMOTE_ADDR="10.9.9.9")
    assert other.post("/accounts/sign-in/", {**form, "password": PASSWORD}).status_code == 302


@pytest.mark.django_db(transaction=True)
def test_guessing_at_sign_off_counts_too(_locks: int, settings: Any, tmp_path: Path) -> None:
    settings.EXPORTS_DIR = tmp_path
    house = build()
    client = Client()
    client.force_login(house.own)
    report = house.report
    url = f"/reports/{report.case_id}/sign/"
    form = {"meaning": MEANINGS[0], "seen": seal(report), "password": "wrong"}
    first = client.post(url, form)
    assert first.status_code == 422
    assert "The password is not right. Nothing was signed." in first.content.decode()
    for _ in range(_locks):
        client.post(url, form)
    locked = client.post(url, {**form, "password": PASSWORD})
    assert locked.status_code == 429
    assert not report.versions.exists()
    failed = AuditRecord.objects.filter(action="sign_in_failed", detail={"at": "signature"})
    assert failed.count() >= _locks
    assert obstacles(report), "it would have been refused for its open finding anyway"


@pytest.mark.django_db(transaction=True)
def test_the_words_of_a_refused_addendum_are_kept_nowhere(_locks: int) -> None:
    house = build()
    client = Client()
    client.force_login(house.own)
    house.report.case.state = "signed"
    house.report.case.save()
    client.post(
        f"/reports/{house.report.case_id}/addend/",
        {"text": "Biopsy of Mrs X", "meaning": MEANINGS[0], "password": "wrong"},
    )
    attempt = AccessAttempt.objects.get()
    assert "Biopsy" not in attempt.post_data and "wrong" not in attempt.post_data
