"""Access tokens: made once, kept as a digest, seen and revoked by administrators of the site."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories import SiteFactory, UserFactory
from workstation.accounts.models import AccessToken, AuditRecord, Role, Site, TokenScope, User
from workstation.accounts.tokens import create_token, revoke_token, token_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return UserFactory(role=Role.ADMINISTRATOR, sites=[SiteFactory(code="north")])


@pytest.fixture
def page(owner: User) -> Client:
    client = Client()
    client.force_login(owner)
    return client


def a_token(owner: User, days: int = 30) -> tuple[AccessToken, str]:
    site = owner.sites.first()
    assert site is not None
    return create_token(owner, site, "OHIF", TokenScope.READ, days)


def test_only_a_digest_of_the_secret_is_kept(owner: User) -> None:
    token, secret = a_token(owner)
    assert len(secret) > 40 and secret.startswith("rf_")
    row = AccessToken.objects.values().get()
    assert not any(secret in str(value) for value in row.values())
    assert row["prefix"] == secret[:8]
    assert token_of(secret) == token
    for wrong in (secret[:-1], secret.upper(), "", row["digest"], row["prefix"]):
        assert token_of(wrong) is None
    assert a_token(owner)[1] != secret


def test_its_life_has_an_end(owner: User) -> None:
    token, secret = a_token(owner, days=1)
    assert timedelta(hours=23) < token.expires_at - timezone.now() < timedelta(hours=25)
    for days in (0, -1, 731):
        with pytest.raises(ValueError, match="730"):
            a_token(owner, days)
    revoke_token(token, owner)
    revoke_token(token, owner)
    assert token_of(secret) is None
    actions = [r.detail["token"] for r in AuditRecord.objects.filter(action="manage")]
    assert sorted(actions) == ["created", "revoked"]


def test_its_use_is_written_once_a_minute(owner: User) -> None:
    _, secret = a_token(owner)
    assert token_of(secret) is not None
    first = AccessToken.objects.get().last_used_at
    assert first is not None
    assert token_of(secret) is not None
    assert AccessToken.objects.get().last_used_at == first
    AccessToken.objects.update(last_used_at=first - timedelta(seconds=61))
    assert token_of(secret) is not None
    assert AccessToken.objects.get().last_used_at != first - timedelta(seconds=61)


def test_the_page_shows_the_secret_once(page: Client, owner: User) -> None:
    assert "No tokens yet" in page.get("/accounts/tokens/").content.decode()
    site = Site.objects.get()
    given = {"name": "OHIF", "site": site.pk, "scope": "read", "days": 90}
    answer = page.post("/accounts/tokens/", given)
    [secret] = re.findall(r'value="(rf_[^"]+)"', answer.content.decode())
    assert "no-store" in answer["Cache-Control"]
    token = token_of(secret)
    assert token is not None
    assert (token.site, token.user, token.scope) == (site, owner, TokenScope.READ)
    again = page.get("/accounts/tokens/").content.decode()
    assert secret not in again and secret[:8] in again
    page.post(f"/accounts/tokens/{token.pk}/revoke/")
    assert token_of(secret) is None
    assert "Revoked" in page.get("/accounts/tokens/").content.decode()


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"scope": "everything"}, {"days": 0}, {"days": 9999}, {"site": 0}]
)
def test_the_form_refuses_nonsense(page: Client, wrong: dict[str, object]) -> None:
    given = {"name": "OHIF", "site": Site.objects.get().pk, "scope": "read", "days": 90, **wrong}
    answer = page.post("/accounts/tokens/", given)
    assert answer.status_code == 400 and "errorlist" in answer.content.decode()
    assert not AccessToken.objects.exists()


def test_tokens_of_other_sites_are_not_there(page: Client) -> None:
    south = SiteFactory(code="south")
    stranger = UserFactory(role=Role.ADMINISTRATOR, sites=[south])
    token, secret = create_token(stranger, south, "Foreign", TokenScope.BOTH, 30)
    assert "Foreign" not in page.get("/accounts/tokens/").content.decode()
    assert page.post(f"/accounts/tokens/{token.pk}/revoke/").status_code == 404
    given = {"name": "OHIF", "site": south.pk, "scope": "read", "days": 90}
    assert page.post("/accounts/tokens/", given).status_code == 400
    assert token_of(secret) is not None


@pytest.mark.parametrize("role", [Role.RADIOLOGIST, Role.LEAD])
def test_only_administrators_manage_tokens(owner: User, role: Role) -> None:
    client = Client()
    client.force_login(UserFactory(role=role, sites=list(owner.sites.all())))
    assert client.get("/accounts/tokens/").status_code == 403
