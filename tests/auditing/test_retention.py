"""Retention: the dry run changes nothing, rules never take what is needed, bytes follow rows."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from tests.factories import CaseFactory, PatientFactory, RunFactory, SiteFactory, UserFactory
from tests.receiving.objects import ct
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.analyzing.requests import run_folder
from workstation.auditing.retention import apply_all, apply_rule, delete_study, due, plan
from workstation.flow import advance
from workstation.receiving import storage
from workstation.receiving.models import (
    Deletion,
    Instance,
    PriorRule,
    RemoteNode,
    RetentionRule,
    Retrieval,
    Study,
    UnreferencedBytes,
)
from workstation.receiving.services import orphans, store_instance
from workstation.receiving.services.keeping import (
    SET_ASIDE,
    CannotDelete,
    delete_images,
    let_go,
    remove_unreferenced,
)

pytestmark = pytest.mark.django_db
NOW = timezone.now()
OLD = NOW - timedelta(days=400)


@pytest.fixture(autouse=True)
def folders(settings: Any, tmp_path: Path) -> None:
    settings.RADFUSE_HOME = tmp_path
    settings.ARCHIVE_DIR, settings.QUARANTINE_DIR = tmp_path / "a", tmp_path / "q"
    settings.RUNS_DIR = tmp_path / "r"


@pytest.fixture
def site() -> Site:
    return SiteFactory(code="north")


def old_study(site: Site, number: int = 1, at: datetime = OLD) -> Study:
    outcome = store_instance(
        site,
        [ct(number, StudyInstanceUID=f"1.2.{number}", SeriesInstanceUID=f"1.3.{number}",
            SOPInstanceUID=f"1.4.{number}")],
        source="import",
    )  # fmt: skip
    Study.objects.filter(pk=outcome.study_id).update(last_received_at=at, completed_at=at)
    return Study.objects.get(pk=outcome.study_id)


def signed_case(study: Study, state: str = "signed") -> Any:
    return CaseFactory(patient=study.patient, site=study.site, studies=[study], state=state)


def rule(site: Site, **values: Any) -> RetentionRule:
    return RetentionRule.objects.create(
        **{"site": site, "name": "year", "days": 365, "active": True, **values}
    )


def test_an_old_signed_study_is_due_and_deleted_with_a_trace(
    site: Site, django_capture_on_commit_callbacks: Any
) -> None:
    study = old_study(site)
    case = signed_case(study)
    run = RunFactory(case=case)
    volume = run_folder(run) / "assemble" / "volume"
    volume.parent.mkdir(parents=True)
    volume.write_bytes(b"x")
    a_rule = rule(site)
    assert plan(a_rule, NOW).count == 1
    assert Instance.objects.count() == 1
    with django_capture_on_commit_callbacks(execute=True):
        (deletion,) = apply_rule(a_rule, NOW)
    assert (deletion.instances, deletion.size) == (1, len(ct(1, StudyInstanceUID="1.2.1",
            SeriesInstanceUID="1.3.1", SOPInstanceUID="1.4.1")))  # fmt: skip
    assert not Instance.objects.exists()
    assert Study.objects.get().deleted_at is not None
    assert not volume.exists()
    assert AuditRecord.objects.get(action="delete").object_id == str(study.pk)
    assert apply_rule(a_rule, NOW) == []


def test_images_that_come_again_after_a_deletion_are_seen_again(site: Site) -> None:
    study = old_study(site)
    delete_images(study, reason="asked for by the patient")
    assert old_study(site).deleted_at is None
    assert Instance.objects.count() == 1


def test_bytes_that_are_deleted_come_and_are_deleted_again_leave_nothing(site: Site) -> None:
    study = old_study(site)
    delete_images(study, reason="first")
    assert remove_unreferenced(NOW) == 0
    delete_images(old_study(site), reason="second")
    for step in range(3):
        remove_unreferenced(NOW + step * SET_ASIDE)
    assert not UnreferencedBytes.objects.exists()
    assert [name for name, _, _ in storage.archive_store().names()] == []


def test_an_orphan_that_is_sent_again_while_it_is_held_keeps_its_bytes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = old_study(site)
    sha256 = Instance.objects.get().sha256
    Instance.objects.all().delete()
    monkeypatch.setattr(orphans, "let_go", lambda *args: (old_study(site), let_go(*args)))
    orphans.hold_orphan(site, sha256)
    remove_unreferenced(NOW + 2 * SET_ASIDE)
    assert storage.path_of(Instance.objects.get(series__study=study).sha256).exists()


@pytest.mark.parametrize(
    "keep",
    ["young", "arriving", "being read", "unread", "other modality", "not a prior", "other site"],
)
def test_a_rule_never_takes_what_is_needed(site: Site, keep: str) -> None:
    study = old_study(site, at=NOW - timedelta(days=300) if keep == "young" else OLD)
    values: dict[str, Any] = {}
    if keep == "being read":
        signed_case(study, "draft")
    elif keep != "unread":
        signed_case(study)
    if keep == "arriving":
        Study.objects.update(completed_at=None)
    if keep == "other modality":
        values["modalities"] = "MR PT"
    if keep == "not a prior":
        values["priors_only"] = True
    a_rule = rule(SiteFactory() if keep == "other site" else site, **values)
    assert not due(a_rule, NOW).exists()
    assert apply_rule(a_rule, NOW) == []
    assert Instance.objects.count() == 1


def test_fetched_priors_can_go_while_nothing_else_does(site: Site) -> None:
    prior, own = old_study(site, 1), old_study(site, 2)
    node = RemoteNode.objects.create(site=site, name="PACS", ae_title="PACS")
    fetching = PriorRule.objects.create(site=site, name="chest", node=node)
    Retrieval.objects.create(
        site=site, node=node, rule=fetching, study_instance_uid=prior.study_instance_uid
    )
    a_rule = rule(site, priors_only=True, only_reported=False)
    assert list(due(a_rule, NOW)) == [prior]
    assert own.deleted_at is None


def test_an_inactive_rule_only_shows(site: Site) -> None:
    signed_case(old_study(site))
    a_rule = rule(site, active=False)
    assert plan(a_rule, NOW).instances == 1
    assert apply_rule(a_rule, NOW) == []
    assert apply_all(NOW) == 0
    out = io.StringIO()
    call_command("retention", "--apply", stdout=out)
    assert "not active, 365 days): 1 studies, 1 images" in out.getvalue()
    assert Instance.objects.count() == 1


def test_the_clock_applies_active_rules(site: Site) -> None:
    signed_case(old_study(site))
    rule(site)
    assert apply_all(NOW) == 1


def test_bytes_go_in_two_steps_and_the_archive_stays_sound(site: Site) -> None:
    study = old_study(site)
    sha256 = Instance.objects.get().sha256
    delete_images(study, reason="asked by the patient")
    assert remove_unreferenced(NOW) == 0
    assert not storage.path_of(sha256).exists()
    call_command("verify_archive", "--grace", "0", stdout=io.StringIO())
    assert remove_unreferenced(NOW + SET_ASIDE) == 1
    assert not list(storage.path_of(sha256).parent.iterdir())
    assert not UnreferencedBytes.objects.exists()
    call_command("verify_archive", "--grace", "0", stdout=io.StringIO())


def test_bytes_that_arrive_again_meanwhile_are_kept(site: Site) -> None:
    study = old_study(site)
    sha256 = Instance.objects.get().sha256
    delete_images(study, reason="by mistake")
    remove_unreferenced(NOW)
    # A process that had looked before they were set aside commits its row now, without bytes.
    other = SiteFactory()
    twin = old_study(other)
    storage.remove_from_archive(sha256)
    assert twin.pk != study.pk
    assert remove_unreferenced(NOW + SET_ASIDE) == 0
    assert storage.path_of(sha256).exists()
    call_command("verify_archive", "--grace", "0", stdout=io.StringIO())


def test_bytes_that_another_row_names_stay(site: Site) -> None:
    study = old_study(site)
    old_study(SiteFactory())
    delete_images(study, reason="duplicate")
    assert not UnreferencedBytes.objects.exists()
    remove_unreferenced(NOW)
    call_command("verify_archive", "--grace", "0", stdout=io.StringIO())


def test_an_arriving_or_unsigned_study_cannot_be_deleted_by_hand(site: Site) -> None:
    study = old_study(site)
    case = signed_case(study, "ready")
    with pytest.raises(CannotDelete, match=f"Case {case.pk}"):
        delete_study(study, reason="no longer needed")
    case.delete()
    with pytest.raises(CannotDelete, match="Say why"):
        delete_study(study, reason=" ")
    Study.objects.update(completed_at=None)
    with pytest.raises(CannotDelete, match="still arriving"):
        delete_study(study, reason="no longer needed")


def test_a_signed_case_does_not_call_deleted_images_new(site: Site) -> None:
    study = old_study(site)
    case = signed_case(study)
    RunFactory(case=case)
    delete_study(study, reason="old")
    advance(case.pk)
    case.refresh_from_db()
    assert case.new_images is False


def test_a_lead_plans_changes_and_runs_a_rule_on_the_page(site: Site) -> None:
    study = old_study(site)
    signed_case(study)
    lead = UserFactory(role=Role.LEAD, sites=[site])
    client = Client()
    client.force_login(lead)
    values = {"site": site.pk, "name": "One year", "days": 365, "only_reported": "on"}
    page = client.post("/audit/retention/new/", values, follow=True)
    assert "would delete <strong>1 images</strong>" in page.content.decode()
    a_rule = RetentionRule.objects.get()
    page = client.post(f"/audit/retention/{a_rule.pk}/run/", follow=True)
    assert "nothing was deleted" in page.content.decode()
    client.post(f"/audit/retention/{a_rule.pk}/edit/", {**values, "active": "on"})
    page = client.post(f"/audit/retention/{a_rule.pk}/run/", follow=True)
    assert "Tick the box first; nothing was deleted" in page.content.decode()
    page = client.post(f"/audit/retention/{a_rule.pk}/run/", {"sure": "on"}, follow=True)
    assert "Deleted the images of 1 studies" in page.content.decode()
    assert Deletion.objects.get().rule == a_rule


def test_a_rule_of_another_site_cannot_be_made(site: Site) -> None:
    lead = UserFactory(role=Role.LEAD, sites=[site])
    client = Client()
    client.force_login(lead)
    foreign = SiteFactory()
    client.post("/audit/retention/new/", {"site": foreign.pk, "name": "x", "days": 1})
    assert not RetentionRule.objects.exists()
    assert PatientFactory().site != site
