"""Results on their way to a destination that must not know who the patient is."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import Client
from django.urls import reverse

from tests.exporting.house import PERSON, House
from tests.factories import PatientFactory, SiteFactory, UserFactory
from tests.receiving.deidentified import elements, leaks, texts
from tests.receiving.objects import ct
from workstation.accounts.models import AuditRecord, Role
from workstation.exporting import actors, sending
from workstation.exporting.models import Delivery, Destination
from workstation.exporting.services import finish_export, start_export
from workstation.exporting.writing import write_objects
from workstation.receiving.models import DeidentificationProfile, Instance, Study, VaultEntry
from workstation.receiving.services import move_study, store_instance
from workstation.receiving.services.pseudonyms import substitutes_of

STRINGS = {"SYNTHETIC", "EX-1", "HOSP", "ACC-7", "Refer", "Rita"}


def profile_of(house: House, **more: object) -> DeidentificationProfile:
    return DeidentificationProfile.objects.create(site=house.site, name="Registry", **more)


@pytest.fixture
def deliveries(house: House) -> dict[str, Delivery]:
    """A signed PET/CT, written, to be sent to a destination with a profile."""
    Destination.objects.create(
        site=house.site, name="Registry", ae_title="REG", host="127.0.0.1", port=104,
        deidentification=profile_of(house),
    )  # fmt: skip
    export = start_export(house.export().pk)
    assert export is not None
    finish_export(export.pk, write_objects(export))
    return {row.object.kind: row for row in Delivery.objects.select_related("object")}


def test_results_leave_without_identity_and_point_at_the_same_images(
    house: House, deliveries: dict[str, Delivery]
) -> None:
    substitutes = substitutes_of(house.site)
    images = {
        substitutes.uid(uid) for uid in Instance.objects.values_list("sop_instance_uid", flat=True)
    }
    pseudonym = substitutes.pseudonym("HOSP", "EX-1")
    for kind in ("sr", "seg", "reg"):
        dataset = sending._outgoing(deliveries[kind])
        assert dataset.PatientID == pseudonym
        assert dataset.StudyDate not in ("", PERSON["StudyDate"])
        assert leaks(STRINGS | {house.reader.last_name}, set(), dataset) == [], kind
        named = {
            uid
            for element in elements(dataset)
            if element.keyword == "ReferencedSOPInstanceUID"
            for uid in texts(element)
        }
        assert named & images, kind
        original = pydicom.dcmread(settings.EXPORTS_DIR / deliveries[kind].object.path)
        assert original.PatientID == "EX-1"
    assert VaultEntry.objects.filter(pseudonym=pseudonym).exists()


def test_the_report_keeps_its_findings(deliveries: dict[str, Delivery]) -> None:
    item = deliveries["sr"]
    original = pydicom.dcmread(settings.EXPORTS_DIR / item.object.path)
    numbers = [str(e.value) for e in elements(original) if e.keyword == "NumericValue"]
    outgoing = sending._outgoing(item)
    assert numbers
    assert [str(e.value) for e in elements(outgoing) if e.keyword == "NumericValue"] == numbers


def test_the_pdf_is_held_back_at_once(deliveries: dict[str, Delivery]) -> None:
    actors.send_actor.fn(deliveries["pdf"].pk)
    row = Delivery.objects.get(pk=deliveries["pdf"].pk)
    assert (row.state, row.attempts) == ("failed", 1)
    assert "PDF names the patient" in row.error


def test_a_profile_that_is_off_lets_nothing_out(deliveries: dict[str, Delivery]) -> None:
    DeidentificationProfile.objects.update(active=False)
    row = Delivery.objects.get(pk=deliveries["sr"].pk)
    with pytest.raises(sending.HeldBack, match="switched off"):
        sending._outgoing(row)


@pytest.mark.django_db
def test_a_destination_takes_profiles_of_its_site_only() -> None:
    site, other = SiteFactory(), SiteFactory()
    client = Client()
    client.force_login(UserFactory(role=Role.ADMINISTRATOR, sites=[site, other]))
    foreign = DeidentificationProfile.objects.create(site=other, name="Elsewhere")
    own = DeidentificationProfile.objects.create(site=site, name="Here")
    fields = {"site": site.pk, "name": "PACS", "ae_title": "A", "host": "h", "port": 104}
    url = reverse("exporting:destination-new")
    answer = client.post(url, {**fields, "deidentification": foreign.pk})
    assert answer.status_code == 422
    assert "another site" in answer.content.decode()
    client.post(url, {**fields, "deidentification": own.pk})
    assert Destination.objects.get().deidentification == own


# --- original images, for research ---------------------------------------------------------------


def test_a_study_is_written_for_research(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile_of(house)
    study = Study.objects.filter(site=house.site).first()
    assert study is not None
    out = tmp_path / "out"
    call_command("export_deidentified", study=[study.pk], profile="Registry", out=out)
    count = Instance.objects.filter(series__study=study).count()
    assert capsys.readouterr().out.strip() == f"{count} written, 0 held back"
    files = list(out.rglob("*.dcm"))
    assert len(files) == count
    for path in files:
        assert not any(string in str(path.relative_to(out)) for string in STRINGS)
        assert leaks(STRINGS, set(), pydicom.dcmread(path)) == []
    audit = AuditRecord.objects.get(action="export")
    assert audit.detail["objects"] == count


@pytest.mark.django_db
def test_a_moved_study_is_written_under_the_pseudonym_of_its_patient_of_today(
    tmp_path: Path,
) -> None:
    site = SiteFactory()
    DeidentificationProfile.objects.create(site=site, name="Registry")
    store_instance(site, [ct(1)], source="import")
    right = PatientFactory(site=site, patient_id="RIGHT-1", issuer="")
    user = UserFactory(role=Role.LEAD, sites=[site])
    study = Study.objects.get()
    move_study(study, right, user, "scanned under the wrong name")
    call_command("export_deidentified", study=[study.pk], profile="Registry", out=tmp_path)
    [path] = tmp_path.rglob("*.dcm")
    written = pydicom.dcmread(path)
    assert written.PatientID == substitutes_of(site).pseudonym("", "RIGHT-1")
    assert "OriginalAttributesSequence" not in written
    assert leaks({"PHANTOMINE-7", "RIGHT-1", "Phantomine"}, set(), written) == []


def test_what_is_held_back_is_said(
    house: House, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    profile_of(house)
    study = Study.objects.filter(site=house.site).first()
    assert study is not None

    def risky(dataset: pydicom.Dataset) -> str:
        return "Names are burned in."

    monkeypatch.setattr(
        "workstation.receiving.deidentification.engine.burned_in_risk", risky
    )
    with pytest.raises(CommandError):
        call_command("export_deidentified", study=[study.pk], profile="Registry", out=tmp_path)
    assert "Names are burned in." in capsys.readouterr().err
    assert not list(tmp_path.rglob("2.25.*"))


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [{"study": [0]}, {"study": [1]}])
def test_mistakes_are_named(tmp_path: Path, arguments: dict[str, list[int]]) -> None:
    with pytest.raises(CommandError, match="There is no study"):
        call_command("export_deidentified", profile="x", out=tmp_path, **arguments)
