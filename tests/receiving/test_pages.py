"""The upload and quarantine pages: what they do, who may, and who sees nothing."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import SiteFactory, UserFactory
from workstation.accounts.models import Role, Site

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory(name="North")


def signed_in(site: Site, role: Role = Role.RADIOLOGIST) -> Client:
    client = Client()
    client.force_login(UserFactory(role=role, sites=[site]))
    return client


@pytest.fixture
def client(site: Site) -> Client:
    return signed_in(site)


def test_a_user_without_a_site_is_told_what_to_do() -> None:
    client = Client()
    client.force_login(UserFactory())
    page = client.get(reverse("receiving:upload")).content.decode()
    assert "You belong to no site yet" in page


@pytest.mark.parametrize("name", ["receiving:upload", "receiving:quarantine"])
def test_nobody_is_sent_to_sign_in(name: str) -> None:
    answer = Client().get(reverse(name))
    assert answer.status_code == 302
    assert "sign-in" in answer["Location"]
