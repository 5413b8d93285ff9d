"""Which registrations leave with a signed report, and as what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from django.conf import settings

from analysis.registration.claims import DeliveredRegistrations, between
from analysis.registration.spatial_registration import read_registration, read_registrations
from tests.analysis.registration.test_spatial_registration import series
from tests.analyzing.results import FIELD_SHIFT, leave_refinement
from tests.exporting.house import SHIFT, Build, House
from tests.exporting.test_objects import complaints, written
from workstation.analyzing import transforms
from workstation.analyzing.models import Registration
from workstation.analyzing.recording import load_refinement
from workstation.analyzing.refinements import claim_refinement, finish_refinement
from workstation.analyzing.requests import refine_request, series_inputs
from workstation.analyzing.volume_files import record_of
from workstation.exporting.services import start_export
from workstation.exporting.sources import CannotWrite
from workstation.exporting.writing import write_objects
from workstation.reading.aligning import decide_registration, refine_from_here
from workstation.receiving.models import DeidentificationProfile
from workstation.receiving.services import store_instance
from workstation.receiving.services.deidentifying import read_deidentified
from workstation.receiving.services.pseudonyms import substitutes_of

KEPT = (
    "FrameOfReferenceTransformationMatrix", "FrameOfReferenceTransformationMatrixType",
    "VectorGridData", "GridDimensions", "GridResolution", "ImagePositionPatient",
    "ImageOrientationPatient",
)  # fmt: skip
FRAMES = ("FrameOfReferenceUID", "SourceFrameOfReferenceUID", "ReferencedSOPInstanceUID")
BY_HAND = [[1, 0, 0, 4], [0, 1, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1]]


def registration(house: House) -> Registration:
    return house.run.registrations.get(series__modality="PT")


def doubtful(house: House) -> Registration:
    row = registration(house)
    row.verdict, row.reasons = "doubtful", ["the outlines agree badly"]
    row.save()
    return row


def refined(house: House, model: str) -> None:
    """Ask for a refinement, let a worker do it, accept it."""
    row = refine_from_here(registration(house), house.reader, model=model)
    token = claim_refinement(row.pk, "test")
    result = load_refinement(row, leave_refinement(refine_request(row)))
    finish_refinement(row.pk, str(token), result)
    decide_registration(
        registration(house), house.reader, decision="accepted", refinement=row.pk
    )


def decided(decision: str, **more: object) -> Callable[[House], None]:
    def decide(house: House) -> None:
        decide_registration(registration(house), house.reader, decision=decision, **more)

    return decide


def accepted_doubt(house: House) -> None:
    decide_registration(doubtful(house), house.reader, decision="accepted")


def withdrawn(house: House) -> None:
    decided("nudged", matrix=BY_HAND)(house)
    decided("withdrawn")(house)


def same_frame(house: House) -> None:
    row = registration(house)
    row.state, row.matrix = "same_frame", np.eye(4).tolist()
    row.save()


def same_frame_nudged(house: House) -> None:
    same_frame(house)
    decided("nudged", matrix=BY_HAND)(house)


@pytest.mark.parametrize(
    ("act", "matrix", "code"),
    [
        (lambda house: None, SHIFT, "125024"),
        (accepted_doubt, SHIFT, "125024"),
        (withdrawn, SHIFT, "125024"),
        (decided("nudged", matrix=BY_HAND), BY_HAND, "125025"),
        (same_frame_nudged, BY_HAND, "125025"),
        (lambda house: refined(house, "affine"), SHIFT + np.eye(4, k=3), "125024"),
        (doubtful, None, ""),
        (decided("rejected", reason="wrong"), None, ""),
        (same_frame, None, ""),
    ],
    ids=[
        "usable", "doubtful accepted", "withdrawn", "by hand", "by hand in the same frame",
        "refined", "doubtful", "rejected", "same frame",
    ],
)  # fmt: skip
def test_what_the_reader_accepted_leaves_and_nothing_else(
    house: House, act: Callable[[House], object], matrix: object, code: str
) -> None:
    act(house)
    files = written(house)
    assert ("reg1" in files) == (matrix is not None)
    if matrix is None:
        return
    assert complaints(files["reg1"]) == []
    found = pydicom.dcmread(files["reg1"])
    [step] = found.RegistrationSequence[1].MatrixRegistrationSequence
    assert step.RegistrationTypeCodeSequence[0].CodeValue == code
    values = step.MatrixSequence[0].FrameOfReferenceTransformationMatrix
    assert np.allclose(np.array(values, float).reshape(4, 4), np.array(matrix, float), atol=1e-9)
    [equipment] = found.ContributingEquipmentSequence
    assert str(equipment.OperatorsName) == "Läsare^Ada"


def test_an_accepted_deformation_leaves_as_a_deformable_registration(house: House) -> None:
    refined(house, "deformable")
    path = written(house)["reg1"]
    assert complaints(path) == []
    found = pydicom.dcmread(path)
    assert found.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.3"
    [ct] = house.run.layers.filter(is_reference=True)
    pet = house.run.layers.get(kind="series", series__modality="PT")
    claim = between(
        read_registration(str(path)),
        series("pet", pet.record["frame_of_reference_uid"]),
        series("ct", ct.record["frame_of_reference_uid"]),
    )
    assert claim is not None and claim.field is not None
    points = np.array([[10.0, 20.0, 30.0], [-40.0, 5.0, 90.0]])
    there = claim.field.to_moving(points)
    back = there @ np.array(SHIFT)[:3, :3].T + np.array(SHIFT)[:3, 3]
    assert np.abs(back - points - np.array(FIELD_SHIFT)).max() < 1e-3


def test_a_registration_that_comes_back_is_read_by_the_next_run(house: House) -> None:
    """As a PACS would send it: received, listed with the case's series, read as it was meant."""
    decided("nudged", matrix=BY_HAND)(house)
    path = written(house)["reg1"]
    outcome = store_instance(house.site, [path.read_bytes()], source="test")
    study = house.case.studies.get()
    assert outcome.study_id == study.pk
    study.completed_at = study.last_received_at
    study.save()
    objects, notices = read_registrations(series_inputs(house.case))
    assert notices == ()
    [ct] = house.run.layers.filter(is_reference=True)
    pet = house.run.layers.get(kind="series", series__modality="PT")
    claim = DeliveredRegistrations(objects).claim(record_of(pet), record_of(ct))
    assert claim is not None
    assert np.allclose(claim.matrix, np.array(BY_HAND), atol=1e-9)
    assert claim.method == "DICOM Spatial Registration by Radfuse reading workstation"


@pytest.mark.parametrize("model", ["affine", "deformable"])
def test_without_identity_it_still_says_the_same(house: House, model: str) -> None:
    refined(house, model)
    export = start_export(house.export().pk)
    assert export is not None
    [item] = [one for one in write_objects(export) if one.kind == "reg"]
    path = settings.EXPORTS_DIR / item.path
    profile = DeidentificationProfile.objects.create(site=house.site, name="Registry")
    outgoing, _ = read_deidentified(house.site, path, profile)
    original = pydicom.dcmread(path)
    substitutes = substitutes_of(house.site)
    assert outgoing.FrameOfReferenceUID == substitutes.uid(original.FrameOfReferenceUID)
    kept = [
        [str(e.value) for e in ds.iterall() if e.keyword in KEPT] for ds in (original, outgoing)
    ]
    assert kept[0] == kept[1] != []
    frames = [
        [e.value for e in ds.iterall() if e.keyword in FRAMES] for ds in (original, outgoing)
    ]
    assert [substitutes.uid(uid) for uid in frames[0]] == frames[1]
    assert "Läsare" not in str(outgoing) and "Nordklinik" not in str(outgoing)


def test_a_deformation_that_is_gone_is_a_reason_not_a_crash(house: House, tmp_path: Path) -> None:
    refined(house, "deformable")
    export = start_export(house.export().pk)
    assert export is not None
    for path in tmp_path.rglob("field.npz"):
        path.unlink()
    transforms._kept.clear()  # what this process has read of runs of this number
    with pytest.raises(CannotWrite, match="deformation is gone"):
        write_objects(export)


def test_case_without_a_second_series_has_no_registration(make_case: Build) -> None:
    assert "reg1" not in written(make_case(with_pet=False))
