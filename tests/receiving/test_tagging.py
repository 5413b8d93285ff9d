"""Series roles in the archive: by rule when a study has arrived, by hand for good."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from tests.factories import PASSWORD, SiteFactory, UserFactory
from tests.receiving.objects import ct, dataset, encode, structure_set, uid
from tests.receiving.sweeping import tag_quiet_studies
from workstation import flow
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.analyzing.models import Run
from workstation.analyzing.requests import inputs_digest, series_inputs
from workstation.receiving import storage
from workstation.receiving.models import RoleSource, Series, Study
from workstation.receiving.services import store_instance
from workstation.receiving.services.tagging import (
    CannotTag,
    clear_role,
    role_choices,
    role_label,
    set_role,
    tag_series,
    untagged_studies,
)
from workstation.worklist.models import Case, CaseState

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return SiteFactory()


def send(site: Site, *files: bytes) -> None:
    for file in files:
        assert store_instance(site, [file], source="test").result == "stored"


def pet(number: int = 1, **values: Any) -> bytes:
    more = {
        "Modality": "PT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.128",
        "SOPInstanceUID": uid("pet", number), "SeriesInstanceUID": uid("pet"),
        "SeriesDescription": "WB", "CorrectedImage": ["DECY", "ATTN"],
    }  # fmt: skip
    return encode(dataset(number, **(more | values)))


def diffusion(number: int, b: float) -> bytes:
    return encode(dataset(
        number, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4", DiffusionBValue=b,
        SOPInstanceUID=uid("mr", number), SeriesInstanceUID=uid("mr"),
    ))  # fmt: skip


def series(modality: str = "CT") -> Series:
    return Series.objects.get(modality=modality)


def later() -> Any:
    return timezone.now() + timedelta(hours=1)


# --- by rule ----------------------------------------------------------------------------------


def test_a_quiet_study_gets_its_roles_with_reasons(site: Site) -> None:
    send(site, ct(1, SeriesDescription="Thorax nativ"), pet(), encode(structure_set()))
    assert tag_quiet_studies(timezone.now()) == 0  # more may still arrive
    assert tag_quiet_studies(later()) == 1
    assert series().role == "CT_NATIVE"
    assert series().role_source == RoleSource.RULE
    assert series().role_reason == (
        "SeriesDescription says 'nativ' (German: without contrast)."
    )
    assert series().role_details["by"] == "text"
    assert (series("PT").role, series("RTSTRUCT").role) == ("PET_AC", "STRUCTURE_SET")
    assert tag_quiet_studies(later()) == 0  # nothing new


def test_the_sweep_tags_before_the_study_is_complete(site: Site) -> None:
    send(site, ct(1, SeriesDescription="胸部平扫"))
    Study.objects.update(last_received_at=timezone.now() - timedelta(hours=1))
    flow.sweep()
    assert Study.objects.get().completed_at is not None
    assert series().role == "CT_NATIVE"
    (item,) = series_inputs(Case.objects.get())
    assert item.role == "CT_NATIVE"


def test_b_values_of_the_whole_series_are_found(site: Site) -> None:
    send(site, *(diffusion(n, b) for n, b in enumerate((0, 0, 0, 500, 500, 500, 1000, 1000, 1000))))
    tag_series(Study.objects.get())
    assert series("MR").role == "MR_DWI"
    assert series("MR").role_details["b_values"] == [0, 500, 1000]
    assert role_label(series("MR")) == "DWI (b 0, 500, 1000)"


def test_late_images_are_looked_at_again_and_the_neighbours_too(site: Site) -> None:
    """A low-dose CT is one for attenuation correction only once the PET is there."""
    send(site, ct(1, SeriesDescription="low dose"))
    study = Study.objects.get()
    tag_series(study)
    assert series().role == "CT"
    assert not untagged_studies().exists()
    send(site, pet())
    assert list(untagged_studies()) == [study]
    tag_quiet_studies(later())
    assert series().role == "CT_AC"
    send(site, ct(2, SeriesDescription="low dose"))
    assert list(untagged_studies()) == [study]


def test_unreadable_bytes_leave_the_role_open(site: Site) -> None:
    send(site, ct(1))
    storage.path_of(series().instances.get().sha256).unlink()
    assert tag_series(Study.objects.get()) == 0
    assert series().role == ""


def test_one_unreadable_image_of_many_does_not_matter(site: Site) -> None:
    send(site, *(ct(n, SeriesDescription="nativ") for n in range(1, 6)))
    first = series().instances.order_by("instance_number").first()
    assert first is not None
    storage.path_of(first.sha256).unlink()
    tag_series(Study.objects.get())
    assert series().role == "CT_NATIVE"


def test_the_command_tags_what_is_left_and_again_on_demand(site: Site) -> None:
    send(site, ct(1, SeriesDescription="nativ"), pet())
    out = StringIO()
    call_command("tag_series", stdout=out)
    assert out.getvalue() == "1 studies looked at, 2 roles changed.\n"
    Series.objects.filter(modality="CT").update(role="CT_VENOUS")
    user = UserFactory(sites=[site])
    set_role(series("PT"), user, "PET_NAC", "the AC map was wrong")
    for arguments, told in (((), "0 studies looked at, 0"), (("--all",), "1 studies looked at, 1")):
        out = StringIO()
        call_command("tag_series", *arguments, stdout=out)
        assert out.getvalue().startswith(told)
    assert (series().role, series("PT").role) == ("CT_NATIVE", "PET_NAC")


# --- by hand ----------------------------------------------------------------------------------


def test_a_role_set_by_hand_stays_and_is_audited(site: Site) -> None:
    send(site, ct(1, SeriesDescription="nativ"))
    study = Study.objects.get()
    tag_series(study)
    user = UserFactory(sites=[site])
    set_role(series(), user, "CT_ARTERIAL", "  bright  aorta ", address="10.0.0.9")
    row = series()
    assert (row.role, row.role_reason, row.role_source) == (
        "CT_ARTERIAL", "bright aorta", RoleSource.MANUAL
    )  # fmt: skip
    assert row.role_set_by == user
    assert role_label(row) == "CT, arterial phase"
    audit = AuditRecord.objects.get(action="set_role")
    assert (audit.user, audit.object_id, audit.remote_address) == (user, str(row.pk), "10.0.0.9")
    assert audit.detail == {"from": "CT_NATIVE", "to": "CT_ARTERIAL", "was": "rule"}
    send(site, ct(2, SeriesDescription="nativ"))
    tag_quiet_studies(later())
    tag_series(study)
    assert series().role == "CT_ARTERIAL"


def test_taking_it_back_lets_the_rules_decide(site: Site) -> None:
    send(site, ct(1, SeriesDescription="nativ"))
    user = UserFactory(sites=[site])
    set_role(series(), user, "CTA", "an angiography")
    clear_role(series(), user)
    row = series()
    assert (row.role, row.role_source, row.role_set_by) == ("CT_NATIVE", RoleSource.RULE, None)
    assert AuditRecord.objects.filter(action="set_role").count() == 2
    with pytest.raises(CannotTag):
        clear_role(series(), user)


@pytest.mark.parametrize(
    ("code", "reason"), [("MR_T1", "looks so"), ("CT_WRONG", "looks so"), ("", "x"), ("CTA", "  ")]
)
def test_what_cannot_be_is_refused(site: Site, code: str, reason: str) -> None:
    send(site, ct(1))
    with pytest.raises(CannotTag):
        set_role(series(), UserFactory(sites=[site]), code, reason)
    assert series().role == ""
    assert not AuditRecord.objects.filter(action="set_role").exists()


def test_choices_fit_the_modality(site: Site) -> None:
    send(site, ct(1), pet())
    codes = {code for code, _ in role_choices(series("PT"))}
    assert {"PET_AC", "PET_NAC", "DERIVED", "LOCALISER"} <= codes
    assert not codes & {"CT", "CTA", "MR_T1"}


# --- what follows -----------------------------------------------------------------------------


@pytest.fixture
def case(site: Site) -> Case:
    send(site, ct(1, SeriesDescription="nativ"))
    Study.objects.update(last_received_at=timezone.now() - timedelta(hours=1))
    flow.sweep()
    return Case.objects.get()


def test_another_role_is_another_input_of_the_analysis(case: Case) -> None:
    user = UserFactory(sites=[case.site])
    before = inputs_digest(case)
    tag_series(Study.objects.get())
    assert inputs_digest(case) == before  # a rule's role is no person's word
    set_role(series(), user, "CT_VENOUS", "portal vein bright")
    assert inputs_digest(case) != before
    assert series_inputs(case)[0].role == "CT_VENOUS"
    clear_role(series(), user)
    assert inputs_digest(case) == before


def test_a_changed_role_starts_a_run_and_is_no_new_image(case: Case) -> None:
    assert Run.objects.count() == 1
    Case.objects.update(state=CaseState.READING)
    set_role(series(), UserFactory(sites=[case.site]), "CT_VENOUS", "portal vein bright")
    flow.advance(case.pk)
    run = Run.objects.order_by("-number").first()
    assert run is not None
    assert (run.number, run.reason) == (2, "another role of a series")
    case.refresh_from_db()
    assert not case.new_images
    flow.advance(case.pk)
    assert Run.objects.count() == 2


def test_a_signed_case_hears_of_images_only(case: Case) -> None:
    Case.objects.update(state=CaseState.SIGNED)
    set_role(series(), UserFactory(sites=[case.site]), "CT_VENOUS", "portal vein bright")
    flow.advance(case.pk)
    case.refresh_from_db()
    assert (case.state, case.new_images, Run.objects.count()) == (CaseState.SIGNED, False, 1)


# --- the page ---------------------------------------------------------------------------------


def signed_in(user: Any) -> Client:
    client = Client(headers={"HX-Request": "true"})
    assert client.login(username=user.username, password=PASSWORD)
    return client


def test_a_reader_corrects_a_role_on_the_page(site: Site) -> None:
    send(site, ct(1, SeriesDescription="Kopf nativ"))
    study = Study.objects.get()
    tag_series(study)
    client = signed_in(UserFactory(sites=[site], last_name="Corrector"))
    page = client.get(f"/receiving/studies/{study.pk}/roles/").content.decode()
    assert "CT without contrast" in page
    assert "&#x27;nativ&#x27; (German: without contrast)" in page
    answer = client.post(
        f"/receiving/series/{series().pk}/role/", {"role": "CTA", "reason": "vessels"}
    ).content.decode()
    assert "CT angiography" in answer
    assert "Set by hand" in answer
    assert "Corrector" in answer
    answer = client.post(
        f"/receiving/series/{series().pk}/role/", {"role": "CTA", "reason": " "}
    ).content.decode()
    assert "few words why" in answer
    answer = client.post(f"/receiving/series/{series().pk}/role/clear/").content.decode()
    assert "Set by hand" not in answer
    assert series().role == "CT_NATIVE"


def test_the_study_page_shows_the_roles(case: Case) -> None:
    client = signed_in(UserFactory(sites=[case.site]))
    page = client.get(f"/receiving/archive/studies/{Study.objects.get().pk}/").content.decode()
    assert "CT without contrast" in page
    assert 'id="series-roles"' in page


def test_who_may_not_correct_sees_no_form(site: Site) -> None:
    send(site, ct(1))
    client = signed_in(UserFactory(sites=[site], role=Role.ADMINISTRATOR))
    page = client.get(f"/receiving/studies/{Study.objects.get().pk}/roles/").content.decode()
    assert "<form" not in page
    assert client.post(
        f"/receiving/series/{series().pk}/role/", {"role": "CTA", "reason": "x"}
    ).status_code == 403  # fmt: skip


def test_a_study_of_another_site_is_not_there(site: Site) -> None:
    send(site, ct(1))
    client = signed_in(UserFactory(sites=[SiteFactory()]))
    assert client.get(f"/receiving/studies/{Study.objects.get().pk}/roles/").status_code == 404
    for path in ("role", "role/clear"):
        assert client.post(f"/receiving/series/{series().pk}/{path}/").status_code == 404
