"""Profiles and the vault in the browser."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import RemoteNodeFactory, SiteFactory, UserFactory
from tests.receiving.objects import NAME, ct
from workstation.accounts.models import AuditRecord, Role, Site, User
from workstation.receiving import services
from workstation.receiving.models import DeidentificationProfile, VaultOpening
from workstation.receiving.services.pseudonyms import substitutes_of
from workstation.receiving.views.privacy import CONSEQUENCES

pytestmark = pytest.mark.django_db
REASON = "Incidental finding, the patient must be told"
ID = "PHANTOMINE-7"


@pytest.fixture
def site() -> Site:
    return SiteFactory()


@pytest.fixture
def administrator(site: Site) -> User:
    return UserFactory(role=Role.ADMINISTRATOR, sites=[site])


@pytest.fixture
def client(administrator: User) -> Client:
    client = Client()
    client.force_login(administrator)
    return client


@pytest.fixture
def arrived(site: Site) -> str:
    """The pseudonym of a patient whose image was de-identified."""
    DeidentificationProfile.objects.create(site=site, name="Research", applies_to_site=True)
    services.store_instance(site, [ct(1)], source="test")
    return substitutes_of(site).pseudonym("", ID)


def profile_data(site: Site, **values: object) -> dict[str, object]:
    return {"site": site.pk, "name": "Outside", "dates": "shift", "active": "on", **values}


def test_a_profile_is_made_and_changed(client: Client, site: Site) -> None:
    page = client.get(reverse("receiving:privacy-profile-new")).content.decode()
    assert "no SUV can be computed" in page
    client.post(reverse("receiving:privacy-profile-new"), profile_data(site))
    made = DeidentificationProfile.objects.get()
    assert (made.dates, made.keep_patient_characteristics, made.active) == ("shift", False, True)
    listed = client.get(reverse("receiving:privacy")).content.decode()
    assert "not computable" in listed
    client.post(
        reverse("receiving:privacy-profile", args=[made.pk]),
        profile_data(site, keep_patient_characteristics="on"),
    )
    listed = client.get(reverse("receiving:privacy")).content.decode()
    assert "not computable" not in listed
    assert AuditRecord.objects.filter(action="manage", object_id=str(made.pk)).count() == 2


def test_senders_are_chosen_with_the_profile(client: Client, site: Site) -> None:
    first, second = RemoteNodeFactory(site=site), RemoteNodeFactory(site=site)
    url = reverse("receiving:privacy-profile-new")
    client.post(url, profile_data(site, senders=[first.pk]))
    made = DeidentificationProfile.objects.get()
    assert list(made.remotenode_set.all()) == [first]
    url = reverse("receiving:privacy-profile", args=[made.pk])
    assert f'value="{first.pk}" id="id_senders_0" checked' in client.get(url).content.decode()
    client.post(url, profile_data(site, senders=[second.pk]))
    assert list(made.remotenode_set.all()) == [second]


def test_a_sender_of_another_site_is_refused(
    client: Client, site: Site, administrator: User
) -> None:
    other = SiteFactory()
    administrator.sites.add(other)
    for node in (RemoteNodeFactory(site=other), RemoteNodeFactory()):
        answer = client.post(
            reverse("receiving:privacy-profile-new"), profile_data(site, senders=[node.pk])
        )
        assert answer.status_code == 422
    assert not DeidentificationProfile.objects.exists()


def test_every_choice_says_what_it_means(client: Client) -> None:
    page = client.get(reverse("receiving:privacy-profile-new")).content.decode()
    for field, text in CONSEQUENCES.items():
        assert f'name="{field}"' in page
        assert text.split(".")[0].replace("'", "&#x27;") in page


def test_a_site_has_one_profile_for_everything(client: Client, site: Site, arrived: str) -> None:
    answer = client.post(
        reverse("receiving:privacy-profile-new"), profile_data(site, applies_to_site="on")
    )
    assert answer.status_code == 422
    assert "applies to the whole site already" in answer.content.decode()


def test_a_profile_of_another_site_cannot_be_made(client: Client) -> None:
    answer = client.post(reverse("receiving:privacy-profile-new"), profile_data(SiteFactory()))
    assert answer.status_code == 422
    assert not DeidentificationProfile.objects.exists()


def test_the_vault_shows_nothing_before_a_reason(
    client: Client, site: Site, arrived: str
) -> None:
    page = client.get(reverse("receiving:vault"))
    assert ID not in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    answer = client.post(reverse("receiving:vault"), {"site": site.pk, "reason": "why"})
    assert answer.status_code == 422
    assert ID not in answer.content.decode()
    assert not VaultOpening.objects.exists()


def test_the_vault_opened(client: Client, site: Site, arrived: str) -> None:
    asked = {"site": site.pk, "reason": REASON, "pseudonym": arrived}
    answer = client.post(reverse("receiving:vault"), asked)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert ID in page
    assert NAME in page
    assert REASON in page  # the opening just made is listed
    assert "no-store" in answer["Cache-Control"]
    assert AuditRecord.objects.get(action="open_vault").detail["entries"] == 1


def test_the_vault_as_a_file(client: Client, site: Site, arrived: str) -> None:
    answer = client.post(
        reverse("receiving:vault"), {"site": site.pk, "reason": REASON, "as_file": "on"}
    )
    assert answer["Content-Type"].startswith("text/csv")
    lines = answer.content.decode("utf-8-sig").splitlines()
    assert lines[0].startswith("kind,pseudonym,patient_id")
    assert any(line.startswith(f"patient,{arrived},{ID}") for line in lines)
    assert AuditRecord.objects.get(action="open_vault").detail["as_file"] is True


def test_a_name_is_no_formula(client: Client, site: Site) -> None:
    DeidentificationProfile.objects.create(site=site, name="Research", applies_to_site=True)
    services.store_instance(site, [ct(1, PatientID="=cmd()")], source="test")
    answer = client.post(
        reverse("receiving:vault"), {"site": site.pk, "reason": REASON, "as_file": "on"}
    )
    assert ",'=cmd()," in answer.content.decode()


def test_another_sites_vault_is_not_offered(client: Client, arrived: str) -> None:
    answer = client.post(
        reverse("receiving:vault"), {"site": SiteFactory().pk, "reason": REASON}
    )
    assert answer.status_code == 422
    assert not VaultOpening.objects.exists()


@pytest.mark.parametrize("role", [Role.LEAD, Role.RADIOLOGIST])
def test_only_administrators(site: Site, arrived: str, role: Role) -> None:
    client = Client()
    client.force_login(UserFactory(role=role, sites=[site]))
    assert client.get(reverse("receiving:privacy")).status_code == 403
    for name in ("receiving:vault", "receiving:privacy-profile-new"):
        assert client.get(reverse(name)).status_code == 403
        assert client.post(reverse(name), {"site": site.pk, "reason": REASON}).status_code == 403
    assert not VaultOpening.objects.exists()
