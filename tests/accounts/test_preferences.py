"""What a person keeps about how they like to work, and the language that follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import PASSWORD, UserFactory
from workstation.accounts.models import Preference
from workstation.accounts.preferences import LARGEST, preferences_of

pytestmark = pytest.mark.django_db


def put(client: Client, key: str, value: Any) -> Any:
    url = reverse("preference", kwargs={"key": key})
    return client.put(url, {"value": value}, content_type="application/json")


@pytest.fixture
def me(client: Client) -> Any:
    user = UserFactory()
    client.force_login(user)
    return user


def test_a_value_is_kept_for_its_owner_alone_until_taken_back(client: Client, me: Any) -> None:
    assert put(client, "viewer.layouts", {"pet": "3x3"}).status_code == 204
    assert put(client, "viewer.layouts", {"pet": "2x2"}).status_code == 204
    assert client.get(reverse("preferences")).json() == {"viewer.layouts": {"pet": "2x2"}}
    other = Client()
    other.force_login(UserFactory())
    assert other.get(reverse("preferences")).json() == {}
    assert put(client, "viewer.layouts", None).status_code == 204
    assert client.get(reverse("preferences")).json() == {}


FILTER = {"name": "My PET", "query": "modality=PT", "default": False}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("viewer.keys", ["a"]),
        ("viewer.display", "dark"),
        ("viewer.mouse", {"words": "x" * LARGEST}),
        ("worklist.columns", []),
        ("worklist.columns", ["patient", "patient"]),
        ("worklist.columns", ["patient", 7]),
        ("worklist.filters", {"name": "x"}),
        ("worklist.filters", [{**FILTER, "shared": True}]),
        ("worklist.filters", [FILTER, FILTER]),
        ("worklist.filters", [{**FILTER, "name": " "}]),
        ("worklist.filters", [{**FILTER, "default": True}, {**FILTER, "name": "b", "default": 1}]),
        ("worklist.filters", [{**FILTER, "name": n, "default": True} for n in "ab"]),
        ("language", "xx"),
        ("language", ["en"]),
    ],
)
def test_unfit_values_are_refused_with_a_reason(
    client: Client, me: Any, key: str, value: Any
) -> None:
    answer = put(client, key, value)
    assert answer.status_code == 400
    assert answer.json()["detail"]
    assert not Preference.objects.exists()


def test_a_deep_value_is_refused(client: Client, me: Any) -> None:
    value: Any = {}
    for _ in range(40):
        value = {"in": value}
    assert put(client, "viewer.layouts", value).status_code == 400


def test_unknown_keys_do_not_exist(client: Client, me: Any) -> None:
    assert put(client, "viewer.theme", {}).status_code == 404


def test_a_kept_value_that_no_longer_fits_counts_as_none(me: Any) -> None:
    Preference.objects.create(user=me, key="worklist.columns", value={"old": "shape"})
    Preference.objects.create(user=me, key="gone", value=1)
    assert preferences_of(me) == {}


def page(client: Client, accept: str = "en") -> str:
    answer = client.get(reverse("worklist:list"), headers={"Accept-Language": accept})
    return str(answer.headers["Content-Language"])


def test_the_browser_decides_until_the_person_does(client: Client, me: Any) -> None:
    assert page(client, "zh-CN,zh;q=0.9") == "zh-hans"
    assert page(client, "fr") == "en"
    answer = client.post(
        reverse("accounts:language"), {"language": "zh-hans", "next": "/accounts/manage/"}
    )
    assert answer.headers["Location"] == "/accounts/manage/"
    assert page(client, "en") == "zh-hans"
    put(client, "language", "en")
    assert page(client, "zh-CN") == "en"
    put(client, "language", None)
    assert page(client, "zh-CN") == "zh-hans"


def test_the_choice_comes_along_to_another_computer(client: Client, me: Any) -> None:
    put(client, "language", "zh-hans")
    other = Client()
    other.post(reverse("accounts:sign-in"), {"username": me.username, "password": PASSWORD})
    assert page(other, "en") == "zh-hans"
    other.post(reverse("accounts:sign-out"))
    sign_in = other.get(reverse("accounts:sign-in"), headers={"Accept-Language": "en"})
    assert sign_in.headers["Content-Language"] == "en"


def test_the_menu_sends_nobody_to_another_house(client: Client, me: Any) -> None:
    url = reverse("accounts:language")
    answer = client.post(url, {"language": "en", "next": "https://elsewhere.example/"})
    assert answer.headers["Location"] == reverse("worklist:list")
    assert client.post(url, {"language": "xx"}).status_code == 400


def test_the_page_speaks_the_language_and_carries_the_words_of_the_browser(
    client: Client, me: Any
) -> None:
    url = reverse("worklist:list")
    english = client.get(url).content.decode()
    assert '<html lang="en">' in english and 'id="catalogue"' not in english
    chinese = client.get(url, headers={"Accept-Language": "zh-CN"}).content.decode()
    assert '<html lang="zh-Hans">' in chinese and 'id="catalogue"' in chinese
    assert "工作列表" in chinese and "科研软件，不得用于诊断。" in chinese
    assert "Not for diagnostic use" in english


def test_what_the_database_could_not_keep_is_refused(client: Client, me: Any) -> None:
    """An answer of 500 would be tried again for ever."""
    deep: Any = "end"
    for _ in range(200):
        deep = [deep]
    for value in ({"name": "a\x00b"}, {"name": "\ud800"}, {"name": deep}):
        assert put(client, "viewer.display", value).status_code == 400
