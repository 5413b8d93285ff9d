"""Quarantine: what is shown, tried again, discarded, corrected; who may; what is written down."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pydicom
import pytest
from django.test import Client
from django.urls import reverse
from pydicom.uid import JPEG2000Lossless

from tests.factories import SiteFactory, UserFactory
from tests.receiving.objects import NAME, ct, dataset, encode, uid
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving import corrections, services, storage
from workstation.receiving.models import Instance, Quarantined, QuarantineState
from workstation.receiving.refusals import ADVICE, OTHER, advice

pytestmark = pytest.mark.django_db
ROOM = Path(services.__file__).resolve().parents[1]


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


@pytest.fixture
def lead(site: Site) -> Client:
    return signed_in(site, Role.LEAD)



@pytest.fixture
def held(site: Site) -> Quarantined:
    cut = ct()[:-10]
    outcome = services.store_instance(site, [cut], source="dimse:SCANNER", filename="cut.dcm")
    return Quarantined.objects.get(pk=outcome.quarantined_id)


def test_the_page_shows_reason_size_and_source_but_no_content(
    client: Client, held: Quarantined
) -> None:
    page = client.get(reverse("receiving:quarantine")).content.decode()
    assert held.reason in page
    assert "dimse:SCANNER" in page
    assert "cut.dcm" in page
    assert "PHANTOMINE" not in page.upper()
    assert "Try again" not in page
    assert AuditRecord.objects.get(action="list").detail == {"quarantined": [held.pk]}


def test_an_empty_quarantine_says_so(client: Client) -> None:
    page = client.get(reverse("receiving:quarantine")).content.decode()
    assert "Nothing is in quarantine" in page


def test_another_site_sees_nothing(held: Quarantined) -> None:
    stranger = signed_in(SiteFactory(), Role.LEAD)
    page = stranger.get(reverse("receiving:quarantine")).content.decode()
    assert "Nothing is in quarantine" in page
    for name in ("receiving:release", "receiving:discard"):
        answer = stranger.post(reverse(name, args=[held.pk]), {"reason": "mine now"})
        assert answer.status_code == 404
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD


@pytest.mark.parametrize("role", [Role.LEAD, Role.ADMINISTRATOR])
def test_who_manages_discards_with_a_reason(site: Site, held: Quarantined, role: Role) -> None:
    client = signed_in(site, role)
    url = reverse("receiving:discard", args=[held.pk])
    answer = client.post(url, {"reason": " "}, follow=True)
    assert "Say why" in answer.content.decode()
    answer = client.post(url, {"reason": "sent again, whole"}, follow=True)
    assert "Deleted." in answer.content.decode()
    page = client.get(reverse("receiving:quarantine") + "?state=discarded").content.decode()
    assert "sent again, whole" in page


def test_trying_again_says_what_is_still_wrong(site: Site, held: Quarantined) -> None:
    client = signed_in(site, Role.LEAD)
    answer = client.post(reverse("receiving:release", args=[held.pk]), follow=True)
    assert "Still refused: The file ends before its pixel data do" in answer.content.decode()


def test_readers_may_not_manage(client: Client, held: Quarantined) -> None:
    for name in ("receiving:release", "receiving:discard"):
        assert client.post(reverse(name, args=[held.pk]), {"reason": "x"}).status_code == 403


# --- filters, many at once, bytes -----------------------------------------------------------------


def refuse(site: Site, data: bytes, source: str = "dimse:SCANNER") -> Quarantined:
    outcome = services.store_instance(site, [data], source=source)
    assert outcome.quarantined_id, outcome
    return Quarantined.objects.get(pk=outcome.quarantined_id)


def listed(client: Client, **query: str) -> set[int]:
    page = client.get(reverse("receiving:quarantine"), query).content.decode()
    return {int(pk) for pk in re.findall(r'name="pk" value="(\d+)"', page)}


def test_the_list_can_be_narrowed(site: Site, lead: Client) -> None:
    cut = refuse(site, ct(1)[:-10], "dimse:SCANNER")
    nameless = refuse(site, ct(2, PatientID=""), "dimse:PACS")
    assert listed(lead) == {cut.pk, nameless.pk}
    assert listed(lead, code="truncated") == {cut.pk}
    assert listed(lead, sender="pacs") == {nameless.pk}
    today = str(cut.received_at.date())
    assert listed(lead, first=today, last=today) == {cut.pk, nameless.pk}
    assert listed(lead, last="2020-01-01") == set()
    page = lead.get(reverse("receiving:quarantine"), {"sender": "nobody"}).content.decode()
    assert "Nothing matches" in page
    assert listed(lead, first="no date", code="\x00' OR 1=1") == set()


def test_many_are_tried_again_or_discarded(site: Site, lead: Client) -> None:
    rows = [refuse(site, ct(number, PatientID="")) for number in range(1, 4)]
    cut = refuse(site, ct(9)[:-10])
    url = reverse("receiving:quarantine-many")
    page = lead.post(url, {"do": "release", "pk": [rows[0].pk]}, follow=True).content.decode()
    assert "1 still refused." in page
    page = lead.post(url, {"do": "discard", "all": "1", "reason": " "}, follow=True)
    assert "Say why" in page.content.decode()
    page = lead.post(
        f"{url}?code=no_patient_id", {"do": "discard", "all": "1", "reason": "sent anew"},
        follow=True,
    )  # fmt: skip
    assert "3 deleted." in page.content.decode()
    assert list(Quarantined.objects.filter(state="held")) == [cut]
    page = lead.post(url, {"do": "release"}, follow=True).content.decode()
    assert "Tick the entries first" in page


def test_many_are_only_those_of_ones_own_sites(site: Site) -> None:
    held = refuse(site, ct(1)[:-10])
    stranger = signed_in(SiteFactory(), Role.LEAD)
    for data in ({"pk": [held.pk]}, {"all": "1"}):
        answer = stranger.post(
            reverse("receiving:quarantine-many"), {"do": "discard", "reason": "x", **data},
            follow=True,
        )  # fmt: skip
        assert "Tick the entries first" in answer.content.decode()
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD


def test_administrators_get_the_bytes_and_it_is_written_down(site: Site, lead: Client) -> None:
    data = ct(1)[:-10]
    held = refuse(site, data)
    url = reverse("receiving:quarantine-bytes", args=[held.pk])
    assert lead.get(url).status_code == 403
    answer = signed_in(site, Role.ADMINISTRATOR).get(url)
    assert b"".join(answer.streaming_content) == data
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == f'attachment; filename="quarantined-{held.pk}.bin"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert AuditRecord.objects.get(action="download").object_id == str(held.pk)
    stranger = signed_in(SiteFactory(), Role.ADMINISTRATOR)
    assert stranger.get(url).status_code == 404


def test_each_refusal_is_explained() -> None:
    """Every code that the room's sources raise has its advice."""
    pattern = re.compile(
        r"""(?:NotAccepted|Broken)\(\s*"([a-z_]+)\"""", re.MULTILINE
    )
    raised = {
        code for path in ROOM.rglob("*.py") for code in pattern.findall(path.read_text())
    }
    assert len(raised) > 20
    assert sorted(raised - ADVICE.keys()) == []
    assert advice("something new") == OTHER
    assert corrections.CAUSES.keys() <= ADVICE.keys()


# --- accept after correction ----------------------------------------------------------------------


def correct(client: Client, held: Quarantined, **changes: str) -> Any:
    url = reverse("receiving:correct", args=[held.pk])
    page = client.get(url)
    values = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.content.decode()))
    fields = {key: values.get(key, "") for key in corrections.FIELDS}
    return client.post(url, {**fields, "reason": "told by phone", **changes}, follow=True)


def stored(outcome_row: Quarantined) -> pydicom.Dataset:
    outcome_row.refresh_from_db()
    instance = Instance.objects.get(pk=outcome_row.correction["instance"])
    return pydicom.dcmread(storage.path_of(instance.sha256))


def test_a_missing_patient_id_is_filled_in(site: Site, lead: Client) -> None:
    data = ct(1, PatientID="", IssuerOfPatientID="OLD")
    held = refuse(site, data)
    page = lead.get(reverse("receiving:correct", args=[held.pk])).content.decode()
    assert "At fault." in page
    assert NAME.split("^")[0] in page
    view = AuditRecord.objects.get(action="view")
    assert (view.object_type, view.object_id) == ("quarantined", str(held.pk))
    answer = correct(lead, held, PatientID="P-1", IssuerOfPatientID="NORTH")
    assert "Accepted." in answer.content.decode()
    result = stored(held)
    assert (result.PatientID, result.IssuerOfPatientID) == ("P-1", "NORTH")
    [change] = result.OriginalAttributesSequence
    assert change.ReasonForTheAttributeModification == "CORRECT"
    assert change.ModifyingSystem == "RADFUSE"
    assert change.SourceOfPreviousValues == "dimse:SCANNER"
    [before] = change.ModifiedAttributesSequence
    assert before.PatientID is None or before.PatientID == ""
    assert before.IssuerOfPatientID == "OLD"
    original = pydicom.dcmread(io.BytesIO(data))
    assert result.PixelData == original.PixelData
    assert (result.PatientName, result.StudyDate) == (original.PatientName, original.StudyDate)
    assert held.state == QuarantineState.CORRECTED
    assert held.correction["changed"]["PatientID"] == {"from": "", "to": "P-1"}
    assert storage.quarantine_opened(held.sha256).read() == data
    audit = AuditRecord.objects.get(action="quarantine")
    assert audit.detail["changed"] == ["IssuerOfPatientID", "PatientID"]
    assert "P-1" not in str(audit.detail)
    assert Instance.objects.get().source == "dimse:SCANNER"


def test_a_conflicting_object_gets_a_uid_of_its_own(site: Site, lead: Client) -> None:
    services.store_instance(site, [ct(1)], source="dimse:SCANNER")
    held = refuse(site, ct(1, InstanceNumber=77))
    assert held.code == "conflicting"
    page = lead.get(reverse("receiving:correct", args=[held.pk])).content.decode()
    assert "The first object came" in page
    correct(lead, held)
    result = stored(held)
    assert result.SOPInstanceUID != dataset(1).SOPInstanceUID
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    before = result.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert before.SOPInstanceUID == dataset(1).SOPInstanceUID
    assert Instance.objects.count() == 2


def test_a_study_under_another_patient(site: Site, lead: Client) -> None:
    services.store_instance(site, [ct(1)], source="dimse:SCANNER")
    held = refuse(site, ct(2, PatientID="TYPO"))
    page = lead.get(reverse("receiving:correct", args=[held.pk])).content.decode()
    assert "stored under patient ID PHANTOMINE-7" in page
    correct(lead, held, PatientID="PHANTOMINE-7")
    assert stored(held).PatientID == "PHANTOMINE-7"


def test_a_value_that_dicom_forbids_is_kept_as_nonconforming(site: Site, lead: Client) -> None:
    data = ct(1).replace(uid("series").encode(), b"not.a.uid".ljust(len(uid("series")), b"x"))
    held = refuse(site, data)
    assert held.code == "invalid_series_uid"
    correct(lead, held, SeriesInstanceUID=uid("right"))
    result = stored(held)
    [change] = result.OriginalAttributesSequence
    [broken] = change.NonconformingModifiedAttributesSequence
    assert broken.SelectorAttribute == pydicom.tag.Tag("SeriesInstanceUID")
    assert broken.NonconformingDataElementValue.startswith(b"not.a.uid")


def test_compressed_pixels_are_written_as_they_came(
    site: Site, lead: Client, real_data: Path
) -> None:
    folder = real_data / "dicom-variety" / "transfer_syntaxes_identical_pixels"
    path = next(
        p for p in sorted(folder.rglob("*"))
        if p.is_file() and _syntax(p) == JPEG2000Lossless
    )  # fmt: skip
    data = pydicom.dcmread(path)
    data.PatientID = ""
    buffer = io.BytesIO()
    data.save_as(buffer)
    held = refuse(site, buffer.getvalue())
    answer = correct(lead, held, PatientID="P-2")
    assert "Accepted." in answer.content.decode()
    result = stored(held)
    assert result.PixelData == data.PixelData
    assert result.file_meta.TransferSyntaxUID == JPEG2000Lossless


def _syntax(path: Path) -> str:
    try:
        return str(pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    except (pydicom.errors.InvalidDicomError, AttributeError):
        return ""


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"PatientID": ""}, "This field is required"),
        ({"PatientID": "x" * 65}, "at most 64"),
        ({"PatientID": "a\\b"}, "without a backslash"),
        ({"PatientID": "P", "StudyInstanceUID": "1.2.x"}, "Digits and dots"),
        ({"PatientID": "P", "Modality": "c t!"}, "Capital letters"),
        ({"PatientID": "P", "reason": " "}, "This field is required"),
    ],
)
def test_what_cannot_be_written_comes_back_with_the_reason(
    site: Site, lead: Client, changes: dict[str, str], told: str
) -> None:
    held = refuse(site, ct(1, PatientID=""))
    answer = correct(lead, held, **changes)
    assert answer.status_code == 422
    assert told in answer.content.decode()
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD
    assert not Instance.objects.exists()


def test_a_correction_that_does_not_help_is_told(site: Site, lead: Client) -> None:
    services.store_instance(site, [ct(1)], source="dimse:SCANNER")
    held = refuse(site, ct(2, PatientID="TYPO"))
    answer = correct(lead, held, PatientID="STILL-WRONG")
    assert answer.status_code == 422
    assert "stays with the first" in answer.content.decode()
    held.refresh_from_db()
    assert held.state == QuarantineState.HELD


def test_only_a_readable_header_can_be_corrected(site: Site, lead: Client) -> None:
    held = refuse(site, ct(1)[:-10])
    answer = lead.get(reverse("receiving:correct", args=[held.pk]), follow=True)
    assert "cannot be accepted by a correction" in answer.content.decode()
    assert not AuditRecord.objects.filter(action="view").exists()


def test_the_same_bytes_held_twice_stay_for_the_other(site: Site, lead: Client) -> None:
    data = ct(1, PatientID="")
    one, two = refuse(site, data, "dimse:A"), refuse(site, data, "dimse:B")
    correct(lead, one, PatientID="P-1")
    services.discard(two, UserFactory(), "twice")
    assert storage.quarantine_opened(two.sha256).read() == data


def test_an_object_in_another_encoding_keeps_it(site: Site, lead: Client) -> None:
    data = dataset(1, PatientID="", SpecificCharacterSet="GB18030", PatientName="王^小东")
    held = refuse(site, encode(data))
    correct(lead, held, PatientID="P-9")
    result = stored(held)
    assert str(result.PatientName) == "王^小东"
    assert result.SpecificCharacterSet == "GB18030"


def test_a_whole_series_is_corrected_at_once(site: Site, lead: Client) -> None:
    rows = [refuse(site, ct(number, PatientID="")) for number in range(1, 6)]
    other_study = refuse(site, ct(7, PatientID="", StudyInstanceUID=uid("another")))
    other_sender = refuse(site, ct(8, PatientID=""), "dimse:OTHER")
    page = lead.get(reverse("receiving:correct", args=[rows[0].pk])).content.decode()
    assert "Also for the 4 other objects of this study" in page
    answer = correct(lead, rows[0], PatientID="P-1", likewise="on")
    assert "Of the others 4 were accepted, 0 stay." in answer.content.decode()
    assert {stored(row).PatientID for row in rows} == {"P-1"}
    assert len({stored(row).SOPInstanceUID for row in rows}) == 5
    assert set(Quarantined.objects.filter(state="held")) == {other_study, other_sender}
    assert AuditRecord.objects.filter(action="quarantine").count() == 5
