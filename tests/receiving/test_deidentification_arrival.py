"""Objects that are de-identified on their way in: what is archived, held, repeated, remembered."""

from __future__ import annotations

import base64
import errno
import io
import secrets
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import RemoteNodeFactory, SiteFactory, UserFactory
from tests.receiving.conftest import files_below
from tests.receiving.deidentified import leaks
from tests.receiving.objects import NAME, ct, dataset, encode, packed
from workstation.accounts.models import AuditRecord, Role, Site
from workstation.receiving import services, storage
from workstation.receiving.files import Receiver
from workstation.receiving.models import (
    DeidentificationProfile,
    Instance,
    Quarantined,
    RemoteNode,
    Retrieval,
    StepKind,
    Study,
    VaultEntry,
    VaultOpening,
)
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services import pseudonyms
from workstation.receiving.services.committing import check, take_commitment
from workstation.receiving.services.correcting import accept_corrected
from workstation.receiving.services.performed_steps import StepReport, begin_step
from workstation.receiving.services.pseudonyms import (
    CannotOpen,
    VaultLocked,
    open_vault,
    substitutes_of,
)
from workstation.receiving.services.retrieving import finish_retrieval

pytestmark = pytest.mark.django_db
REASON = "The research nurse asks whose scan this is"


@pytest.fixture
def site() -> Site:
    return SiteFactory()


@pytest.fixture
def profile(site: Site) -> DeidentificationProfile:
    return DeidentificationProfile.objects.create(site=site, name="Research", applies_to_site=True)


def store(site: Site, data: bytes, source: str = "upload:1", **more: Any) -> Outcome:
    return services.store_instance(site, [data], source=source, **more)


def archived(instance: Instance) -> pydicom.Dataset:
    return pydicom.dcmread(storage.path_of(instance.sha256))


def test_only_the_deidentified_form_is_archived(
    site: Site, profile: DeidentificationProfile
) -> None:
    outcome = store(site, ct(1))
    assert outcome.result is Result.STORED
    instance = Instance.objects.get()
    study = instance.series.study
    assert study.deidentified
    pseudonym = substitutes_of(site).pseudonym("", "PHANTOMINE-7")
    assert (study.patient.patient_id, study.patient.name) == (pseudonym, pseudonym)
    assert study.patient.birth_date is None
    assert study.study_date is not None
    assert study.study_date != dataset(1).StudyDate
    assert leaks({"SYNTHETIC", "Phantomine", "PHANTOMINE-7"}, set(), archived(instance)) == []
    assert NAME not in str(study.header)
    everything = b"".join(path.read_bytes() for path in files_below(storage._incoming().parent))
    assert b"PHANTOMINE-7" not in everything
    assert b"SYNTHETIC" not in everything


def test_a_full_disk_is_not_the_objects_fault(
    site: Site, profile: DeidentificationProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    data = ct(1)
    with monkeypatch.context() as patch:
        patch.setattr(pydicom, "dcmwrite", full)
        with pytest.raises(storage.StorageFull):
            store(site, data)
    assert not Quarantined.objects.exists()
    assert store(site, data).result is Result.STORED


def test_sent_again_is_a_repetition(site: Site, profile: DeidentificationProfile) -> None:
    assert store(site, ct(1)).result is Result.STORED
    assert store(site, ct(1)).result is Result.REPEATED
    assert Instance.objects.count() == 1
    assert VaultEntry.objects.count() == 2  # the patient and the study


def test_a_study_stays_together(site: Site, profile: DeidentificationProfile) -> None:
    for number in (1, 2, 3):
        store(site, ct(number))
    assert Study.objects.count() == 1
    assert Study.objects.get().series.count() == 1


def test_a_senders_profile_counts_for_that_sender_only(site: Site) -> None:
    profile = DeidentificationProfile.objects.create(site=site, name="Outside")
    RemoteNodeFactory(site=site, ae_title="OUTSIDE", deidentification=profile)
    RemoteNodeFactory(site=site, ae_title="INSIDE")
    store(site, ct(1), "dimse:OUTSIDE")
    store(site, ct(2, PatientID="OTHER", StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4"),
          "dimse:INSIDE")  # fmt: skip
    ids = {study.patient.patient_id: study.deidentified for study in Study.objects.all()}
    assert ids == {substitutes_of(site).pseudonym("", "PHANTOMINE-7"): True, "OTHER": False}


def test_what_a_node_sent_before_it_was_switched_off_is_deidentified(site: Site) -> None:
    profile = DeidentificationProfile.objects.create(site=site, name="Outside")
    node = RemoteNodeFactory(site=site, ae_title="OUTSIDE", deidentification=profile)
    retrieval = Retrieval.objects.create(site=site, node=node, study_instance_uid="1.2")
    RemoteNode.objects.update(active=False)
    store(site, ct(1), "dimse:OUTSIDE")
    store(site, ct(2), f"retrieve:{retrieval.pk}")
    assert Instance.objects.count() == 2
    assert [study.deidentified for study in Study.objects.all()] == [True]


def test_what_was_held_for_its_pixels_never_leaves_the_quarantine_as_it_came(site: Site) -> None:
    profile = DeidentificationProfile.objects.create(site=site, name="Outside")
    RemoteNodeFactory(site=site, ae_title="OUTSIDE", deidentification=profile)
    store(site, encode(dataset(1, BurnedInAnnotation="YES")), "dimse:OUTSIDE")
    RemoteNode.objects.update(ae_title="RENAMED")
    administrator = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    outcome = services.release(Quarantined.objects.get(), administrator)
    assert (outcome.result, outcome.code) == (Result.QUARANTINED, "burned_in")
    assert "profile" in outcome.reason
    assert not Instance.objects.exists()


def test_refused_entries_of_a_zip_are_kept_without_their_names(
    site: Site, profile: DeidentificationProfile
) -> None:
    receiver = Receiver(site, services.start_upload(site, None))
    data = packed({"Phantomine/1.zip": packed({"a": b"1"}), "Phantomine/2": b"text"})
    codes = [item.outcome.code for item in receiver.take(io.BytesIO(data), "Phantomine.zip")]
    assert codes == ["zip_nested", "not_dicom"]
    assert {row.filename for row in Quarantined.objects.all()} == {""}


def test_what_was_corrected_here_can_be_deidentified(
    site: Site, profile: DeidentificationProfile
) -> None:
    store(site, ct(1, PatientID=""))
    lead = UserFactory(role=Role.LEAD, sites=[site])
    accept_corrected(Quarantined.objects.get(), lead, {"PatientID": "FOUND-1"}, "asked the ward")
    patient = Study.objects.get().patient
    assert patient.patient_id == substitutes_of(site).pseudonym("", "FOUND-1")


def test_a_profile_that_is_switched_off_or_of_another_site_does_nothing(site: Site) -> None:
    DeidentificationProfile.objects.create(
        site=site, name="Off", applies_to_site=True, active=False
    )
    DeidentificationProfile.objects.create(
        site=SiteFactory(), name="Elsewhere", applies_to_site=True
    )
    store(site, ct(1))
    assert Study.objects.get().patient.patient_id == "PHANTOMINE-7"


def test_pixels_that_may_show_names_are_held_until_somebody_looked(
    site: Site, profile: DeidentificationProfile
) -> None:
    data = encode(dataset(1, BurnedInAnnotation="YES"))
    outcome = store(site, data, filename="SYNTHETIC Phantomine.dcm")
    assert (outcome.result, outcome.code) == (Result.QUARANTINED, "burned_in")
    held = Quarantined.objects.get()
    assert held.filename == ""
    assert not Instance.objects.exists()
    released = services.release(held, UserFactory(role=Role.ADMINISTRATOR, sites=[site]))
    assert released.result is Result.STORED
    assert archived(Instance.objects.get()).PatientIdentityRemoved == "YES"
    assert Study.objects.get().notices.filter(code="burned_in", level="warn").exists()


def test_a_profile_may_pass_them(site: Site, profile: DeidentificationProfile) -> None:
    profile.allow_burned_in = True
    profile.save()
    assert store(site, encode(dataset(1, BurnedInAnnotation="YES"))).result is Result.STORED
    assert Study.objects.get().notices.filter(code="burned_in").count() == 1


def test_an_identity_that_cannot_be_removed_is_held(
    site: Site, profile: DeidentificationProfile
) -> None:
    outcome = store(site, encode(dataset(1, ContentLabel="PHANTOMINE")))
    assert (outcome.result, outcome.code) == (Result.QUARANTINED, "identity_remains")
    assert "PHANTOMINE" not in outcome.reason


def test_without_a_key_nothing_passes(
    site: Site, profile: DeidentificationProfile, settings: Any
) -> None:
    settings.VAULT_KEY = ""
    assert store(site, ct(1)).code == "vault_locked"
    settings.VAULT_KEY = "too short"
    assert store(site, ct(2)).code == "vault_locked"
    assert not Instance.objects.exists()


def test_files_that_are_no_objects_end_as_ever(
    site: Site, profile: DeidentificationProfile
) -> None:
    assert store(site, b"not DICOM at all").code == "not_dicom"
    assert store(site, encode(dataset(1, PatientID=""))).code == "no_patient_id"


# --- what senders say and ask about such objects ------------------------------------------------


@pytest.fixture
def outside(site: Site) -> RemoteNode:
    """A node whose objects are de-identified."""
    profile = DeidentificationProfile.objects.create(site=site, name="Outside")
    return RemoteNodeFactory(site=site, ae_title="OUTSIDE", deidentification=profile)


def test_what_is_fetched_from_a_node_follows_its_profile(site: Site, outside: RemoteNode) -> None:
    row = Retrieval.objects.create(
        site=site, node=outside, study_instance_uid=dataset(1).StudyInstanceUID, state="running"
    )
    store(site, ct(1), f"retrieve:{row.pk}")
    assert Study.objects.get().deidentified
    finish_retrieval(row, frozenset({dataset(1).SOPInstanceUID}))
    row.refresh_from_db()
    assert (row.state, row.error) == ("done", "")


def test_announced_objects_are_counted_under_their_new_uids(
    site: Site, outside: RemoteNode
) -> None:
    report = StepReport(
        status="IN PROGRESS",
        study_instance_uid=dataset(1).StudyInstanceUID,
        references=frozenset({dataset(1).SOPInstanceUID}),
    )
    step = begin_step(site, "1.2.3", report, kind=StepKind.MPPS, sent_by="OUTSIDE")
    store(site, ct(1), "dimse:OUTSIDE")
    instance = Instance.objects.get()
    assert step.study_instance_uid == instance.series.study.study_instance_uid
    assert step.references == [instance.sop_instance_uid]


def test_originals_are_not_promised_to_be_safe(site: Site, outside: RemoteNode) -> None:
    """The sender would delete them, and nobody else has them."""
    outside.deidentification.keep_uids = True
    outside.deidentification.save()
    store(site, ct(1), "dimse:OUTSIDE")
    instance = Instance.objects.get()
    asked = [(instance.sop_class_uid, instance.sop_instance_uid)]
    row = take_commitment(site, outside, "OUTSIDE", "1.2.3", asked)
    checked = check(row)
    assert checked.safe == []
    assert len(checked.missing) == 1


# --- the vault -----------------------------------------------------------------------------------


def test_the_vault_holds_no_plain_text(site: Site, profile: DeidentificationProfile) -> None:
    store(site, ct(1))
    for entry in VaultEntry.objects.all():
        row = f"{entry.lookup} {entry.pseudonym} {bytes(entry.sealed)!r}"
        assert "PHANTOMINE" not in row
        assert "Phantomine" not in row
        assert dataset(1).StudyInstanceUID not in row


def test_opening_needs_a_reason_and_is_kept(site: Site, profile: DeidentificationProfile) -> None:
    store(site, ct(1))
    user = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    with pytest.raises(CannotOpen):
        open_vault(user, site, "because")
    assert not VaultOpening.objects.exists()
    pseudonym = substitutes_of(site).pseudonym("", "PHANTOMINE-7")
    found = open_vault(user, site, REASON, search=pseudonym.lower())
    assert [item.original["patient_id"] for item in found] == ["PHANTOMINE-7"]
    assert found[0].original["name"] == NAME
    assert VaultOpening.objects.get().entries == 1
    audit = AuditRecord.objects.get(action="open_vault")
    assert (audit.user, audit.site) == (user, site)
    assert "PHANTOMINE" not in str(audit.detail)


def test_another_sites_administrator_sees_nothing(
    site: Site, profile: DeidentificationProfile
) -> None:
    store(site, ct(1))
    stranger = UserFactory(role=Role.ADMINISTRATOR, sites=[SiteFactory()])
    assert open_vault(stranger, site, REASON) == []


def test_another_key_opens_nothing(
    site: Site, profile: DeidentificationProfile, settings: Any
) -> None:
    store(site, ct(1))
    settings.VAULT_KEY = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    with pytest.raises(VaultLocked):
        open_vault(UserFactory(role=Role.ADMINISTRATOR, sites=[site]), site, REASON)


def test_too_much_is_not_shown_on_a_page(
    site: Site, profile: DeidentificationProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(site, ct(1))
    monkeypatch.setattr(pseudonyms, "SHOWN", 1)
    user = UserFactory(role=Role.ADMINISTRATOR, sites=[site])
    with pytest.raises(CannotOpen):
        open_vault(user, site, REASON)
    assert len(open_vault(user, site, REASON, as_file=True)) == 2


# --- broken files --------------------------------------------------------------------------------


def test_malformed_files_end_stored_or_quarantined(
    site: Site, profile: DeidentificationProfile, real_data: Path
) -> None:
    folder = real_data / "dicom-variety/malformed"
    results = {
        path.name: store(site, path.read_bytes()).result
        for path in sorted(folder.iterdir())
        if path.is_file()
    }
    assert set(results.values()) == {Result.STORED, Result.QUARANTINED}
    for instance in Instance.objects.all():
        assert archived(instance).PatientIdentityRemoved == "YES"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_end_deidentified_or_quarantined(
    site: Site, profile: DeidentificationProfile, place: float, byte: int, cut: bool
) -> None:
    data = bytearray(ct(1))
    at = int(place * len(data))
    if cut:
        del data[at:]
    else:
        data[at] = byte
    outcome = store(site, bytes(data))
    if outcome.result in (Result.STORED, Result.REPEATED):
        result = archived(Instance.objects.get(pk=outcome.instance_id))
        assert result.PatientIdentityRemoved == "YES"
        assert result.PatientID == result.PatientName
        assert "PHANTOMINE-7" not in str(result)
    else:
        assert outcome.result is Result.QUARANTINED
