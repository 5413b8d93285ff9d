"""Every URL and socket of the product against who may use it. A new route that is not covered here
by construction fails the test: the routes are read from the resolver, not from a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from tests.security.house import House, build
from workstation.accounts.models import User
from workstation.accounts.permissions import PERMISSIONS, allowed
from workstation.sockets import websocket_urlpatterns

PUBLIC = {"accounts:sign-in", "health"}
"""What an anonymous visitor may see."""
SESSION_ONLY = {"accounts:sign-out"}
"""What needs a session but no permission."""
OWN = {"preference"}
"""Whose argument names something of the caller, not of a site: everybody has their own."""
METHODS = ("get", "post", "put", "patch", "delete")
STORES = {"dicomweb:study"}
"""Whose POST may name what is not there yet: it says nothing about other sites."""


def routes(
    resolver: URLResolver | None = None, prefix: str = ""
) -> Iterator[tuple[str, URLPattern]]:
    """(name with namespace, pattern) of every URL."""
    for pattern in (resolver or get_resolver()).url_patterns:
        if isinstance(pattern, URLResolver):
            space = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from routes(pattern, space)
        else:
            assert pattern.name, f"{pattern} has no name"
            yield f"{prefix}{pattern.name}", pattern


ALL = dict(routes())
GUARDED = sorted(ALL.keys() - PUBLIC - SESSION_ONLY)


def permissions_of(pattern: URLPattern) -> set[str]:
    """The permissions a view names: by decorator, or on the API view's class."""
    view = pattern.callback
    found = {getattr(view, "permission", "")}
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if view_class is not None:
        found.add(getattr(view_class, "permission", ""))
        found |= set(getattr(view_class, "permissions", {}).values())
    return found - {""}


@pytest.fixture
def house(db: None, settings: Any, tmp_path: Path) -> House:
    settings.EXPORTS_DIR = tmp_path / "exports"
    settings.RUNS_DIR = tmp_path / "runs"
    settings.QUARANTINE_DIR = tmp_path / "quarantine"
    return build()


def url_of(name: str, house: House) -> str:
    names = list(ALL[name].pattern.converters)
    known = {**house.arguments, **house.routes.get(name, {})}
    missing = [argument for argument in names if argument not in known]
    assert not missing, f"{name}: tests/security/house.py has no object for {missing}"
    return reverse(name, kwargs={argument: known[argument] for argument in names})


def client_of(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def statuses(name: str, house: House, user: User | None) -> dict[str, int]:
    client, url = client_of(user), url_of(name, house)
    return {method: getattr(client, method)(url).status_code for method in METHODS}


def test_every_route_names_a_permission_of_the_table() -> None:
    for name in GUARDED:
        named = permissions_of(ALL[name])
        assert named, f"{name} names no permission"
        assert named <= PERMISSIONS.keys(), name


def test_the_public_list_is_what_it_says() -> None:
    assert ALL.keys() >= PUBLIC | SESSION_ONLY
    for name in PUBLIC:
        assert not permissions_of(ALL[name])


@pytest.mark.parametrize("name", GUARDED)
def test_anonymous_visitors_get_nothing(house: House, name: str) -> None:
    for method, status in statuses(name, house, None).items():
        assert status in (302, 401, 403, 405), f"{method} {name}: {status}"
    answer = client_of(None).get(url_of(name, house))
    assert answer.status_code != 302 or answer["Location"].startswith("/accounts/sign-in/")


@pytest.mark.parametrize("name", GUARDED)
def test_a_role_without_the_permission_is_refused(house: House, name: str) -> None:
    permissions = permissions_of(ALL[name])
    for user in (house.own, house.lead, house.administrator):
        if any(allowed(user, permission) for permission in permissions):
            continue
        found = statuses(name, house, user)
        assert set(found.values()) <= {403, 405}, f"{user.role} {name}: {found}"
        assert 403 in found.values(), name


@pytest.mark.parametrize("name", [n for n in GUARDED if ALL[n].pattern.converters and n not in OWN])
def test_another_site_does_not_exist(house: House, name: str) -> None:
    """404, not 403: not even whether the number is taken."""
    foreign = house.foreign
    if not any(allowed(foreign, permission) for permission in permissions_of(ALL[name])):
        foreign = house.administrator
        foreign.sites.set(house.foreign.sites.all())
    if not any(allowed(foreign, permission) for permission in permissions_of(ALL[name])):
        foreign = house.lead
        foreign.sites.set(house.foreign.sites.all())
    found = statuses(name, house, foreign)
    if name in STORES:
        assert found.pop("post") == 403
    assert set(found.values()) <= {404, 405}, found
    assert 404 in found.values(), name


@pytest.mark.parametrize("name", GUARDED)
def test_the_right_reader_of_the_site_gets_an_answer(house: House, name: str) -> None:
    """Without this the tests above would pass on a product that refuses everybody."""
    permissions = permissions_of(ALL[name])
    user = max(
        (house.own, house.lead, house.administrator),
        key=lambda u: sum(allowed(u, permission) for permission in permissions),
    )
    found = statuses(name, house, user)
    assert not {401, 403, 500} & set(found.values()), found
    assert min(found.values()) < 500


@pytest.mark.parametrize("name", [n for n in GUARDED if ALL[n].pattern.converters])
def test_numbers_that_nobody_has_are_not_found(house: House, name: str) -> None:
    arguments = dict.fromkeys(ALL[name].pattern.converters, 10 ** 9)
    user = next(
        u
        for u in (house.own, house.lead, house.administrator)
        if any(allowed(u, p) for p in permissions_of(ALL[name]))
    )
    client, url = client_of(user), reverse(name, kwargs=arguments)
    methods = [method for method in METHODS if name not in STORES or method != "post"]
    found = {getattr(client, method)(url).status_code for method in methods}
    assert found <= {404, 405}


def test_posts_need_the_token(house: House) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.own)
    for name in GUARDED:
        status = client.post(url_of(name, house)).status_code
        assert status in (403, 405), f"{name}: {status}"


def test_every_socket_is_guarded_by_name() -> None:
    """Who gets which close code is tested with the sockets (tests/reading, tests/worklist)."""
    assert {pattern.name for pattern in websocket_urlpatterns} == {"live", "slices"}


@pytest.mark.parametrize("headers", [{"Accept": "application/json"}, {"HX-Request": "true"}])
def test_a_script_is_told_that_it_is_signed_out(house: House, headers: dict[str, str]) -> None:
    """A redirect would look like success to an autosave: the sign-in page answers 200."""
    url = reverse("reporting:save", kwargs={"case_id": house.arguments["case_id"]})
    answer = Client(headers=headers).post(url, {"revision": 1})
    assert answer.status_code == 401
    assert "signed out" in answer.json()["detail"]
    view = reverse("reading:view", kwargs={"case_id": house.arguments["case_id"]})
    answer = Client(headers=headers).get(view)
    assert answer.status_code in (401, 403) and "signed out" in answer.json()["detail"]
    page = Client(headers={"Accept": "text/html,*/*"}).get("/")
    assert page.status_code == 302 and page["Location"].startswith("/accounts/sign-in/")
