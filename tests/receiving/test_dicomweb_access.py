"""Who may use DICOMweb: tokens and sessions, sites, scopes and roles, on every route."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tests.factories import SiteFactory, UserFactory
from tests.receiving.dicomweb import (
    MULTIPART,
    SERIES,
    STUDY,
    body_of,
    client_with_token,
    stow,
)
from tests.receiving.objects import ct, uid
from workstation.accounts.models import AccessToken, AuditRecord, Role, Site, TokenScope, User
from workstation.receiving.dicomweb.urls import urlpatterns
from workstation.receiving.models import Instance
from workstation.receiving.services import store_instance

pytestmark = pytest.mark.django_db
ROUTES = [pattern.name for pattern in urlpatterns]
NAMED = {
    "study_uid": STUDY,
    "series_uid": SERIES,
    "instance_uid": uid("instance", 1),
    "frame_list": "1",
    "element_path": "7FE00010",
}


def url_of(name: str) -> str:
    pattern = next(one.pattern for one in urlpatterns if one.name == name)
    return reverse(f"dicomweb:{name}", kwargs={key: NAMED[key] for key in pattern.converters})


@pytest.fixture
def north() -> Site:
    site = SiteFactory(code="north")
    store_instance(site, [ct(1)], source="test")
    return site


@pytest.fixture
def owner(north: Site) -> User:
    return UserFactory(role=Role.ADMINISTRATOR, sites=[north])


def assert_refused(client: Client, status: int) -> None:
    for name in ROUTES:
        answer = client.get(url_of(name))
        assert answer.status_code == status, name
        assert answer.json()["detail"]
        if status == 401:
            assert answer["WWW-Authenticate"].startswith("Bearer")
    posted = stow(client, ct(2))
    assert posted.status_code == status
    assert stow(client, ct(2), study=STUDY).status_code == status
    assert Instance.objects.count() == 1


@pytest.mark.parametrize("name", ROUTES)
def test_a_valid_token_opens_every_route(owner: User, north: Site, name: str) -> None:
    assert client_with_token(owner, north).get(url_of(name)).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Bearer rf_x y", "Basic eDp5", "Bearer \xe9", "Token x"]
)
def test_nobody_without_a_valid_token(north: Site, header: str) -> None:
    assert_refused(Client(headers={"Authorization": header} if header else {}), 401)
    assert not AuditRecord.objects.exists()


@pytest.mark.parametrize(
    "change", ["expired", "revoked", "owner gone"]
)
def test_a_token_that_ended_is_no_token(owner: User, north: Site, change: str) -> None:
    client = client_with_token(owner, north)
    now = timezone.now()
    if change == "expired":
        AccessToken.objects.update(expires_at=now - timedelta(seconds=1))
    elif change == "revoked":
        AccessToken.objects.update(revoked_at=now)
    else:
        User.objects.filter(pk=owner.pk).update(is_active=False)
    assert_refused(client, 401)


def test_a_token_to_store_reads_nothing(owner: User, north: Site) -> None:
    client = client_with_token(owner, north, TokenScope.WRITE)
    for name in ROUTES:
        assert client.get(url_of(name)).status_code == 403, name
    assert stow(client, ct(2)).status_code == 200


def test_a_token_to_read_stores_nothing(owner: User, north: Site) -> None:
    client = client_with_token(owner, north, TokenScope.READ)
    assert stow(client, ct(2)).status_code == 403
    assert stow(client, ct(2), study=STUDY).status_code == 403
    assert client.get("/dicomweb/studies").status_code == 200
    assert Instance.objects.count() == 1


def test_a_token_gives_no_more_than_the_role_of_its_owner(north: Site) -> None:
    client = client_with_token(UserFactory(sites=[north]), north)
    assert stow(client, ct(2)).status_code == 403
    assert client.get("/dicomweb/studies").status_code == 200


def test_a_token_sees_its_site_only(north: Site) -> None:
    """Also when its owner belongs to both sites."""
    south = SiteFactory(code="south")
    both = UserFactory(role=Role.ADMINISTRATOR, sites=[north, south])
    client = client_with_token(both, south)
    for name in ROUTES:
        status = client.get(url_of(name)).status_code
        assert status == (204 if name in ("studies", "all-series", "all-instances") else 404), name
    assert client.get("/dicomweb/studies?site=north").status_code == 204
    assert stow(client, ct(1)).status_code == 200
    assert Instance.objects.filter(site=south).count() == 1
    # Whose sites have changed since cannot go on with the old token.
    both.sites.remove(south)
    assert client.get("/dicomweb/studies").status_code == 401
    assert stow(client, ct(2)).status_code == 401
    assert Instance.objects.filter(site=south).count() == 1


def test_a_token_opens_nothing_else(owner: User, north: Site) -> None:
    client = client_with_token(owner, north)
    for path in ("/", "/audit/", "/accounts/tokens/", "/receiving/", "/api/schema/"):
        assert client.get(path).status_code in (302, 401, 403), path


def test_two_sites_of_a_user_with_the_same_study(web: Client) -> None:
    stow(web, ct(1))
    site, other = Site.objects.get(code="north"), SiteFactory(code="south")
    store_instance(other, [ct(1)], source="test")
    both = Client()
    both.force_login(UserFactory(sites=[site, other]))
    assert len(both.get("/dicomweb/studies").json()) == 2
    address = url_of("instance-metadata")
    answer = both.get(address)
    assert answer.status_code == 409 and "?site=" in answer.json()["detail"]
    assert both.get(f"{address}?site=south").status_code == 200


def test_a_session_can_search_and_store_by_role() -> None:
    site = SiteFactory(code="north")
    reader, lead = UserFactory(sites=[site]), UserFactory(role=Role.LEAD, sites=[site])
    client = Client()
    client.force_login(reader)
    assert client.get("/dicomweb/studies").status_code == 204
    assert stow(client, ct(1)).status_code == 403
    client.force_login(lead)
    assert stow(client, ct(1)).status_code == 200
    lead.sites.add(SiteFactory(code="south"))
    assert stow(client, ct(2)).status_code == 400
    assert client.post(
        "/dicomweb/studies?site=south", body_of(ct(2)), content_type=MULTIPART
    ).status_code == 200  # fmt: skip
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(lead)
    assert stow(strict, ct(3)).status_code == 403
