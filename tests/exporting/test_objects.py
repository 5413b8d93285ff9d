"""What is written of a signed version, read back and checked by others' software."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from django.conf import settings

from tests.conftest import need
from tests.exporting.house import SHIFT, Build, House
from tests.factories import uid
from workstation.exporting.models import ExportObject
from workstation.exporting.services import finish_export, request_exports, start_export
from workstation.exporting.sources import CannotWrite
from workstation.exporting.writing import write_objects
from workstation.receiving.models import Series
from workstation.receiving.storage import path_of
from workstation.reporting.content import registrations_of

FALSE_ALARMS = (
    # dicom3tools asks for Laterality where no paired body part is named (PS3.3 C.7.3.1: 2C).
    "Missing attribute Type 2C Conditional Element=<Laterality>",
)


def written(house: House) -> dict[str, Path]:
    """Judge, sign, write: name of the file -> the file."""
    export = start_export(house.export().pk)
    assert export is not None
    finish_export(export.pk, write_objects(export))
    rows = ExportObject.objects.filter(export=export)
    for row in rows:
        data = (settings.EXPORTS_DIR / row.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.sha256
    return {Path(row.path).stem: settings.EXPORTS_DIR / row.path for row in rows}


def complaints(path: Path) -> list[str]:
    """Errors that dciodvfy finds, without its known false alarms."""
    told = subprocess.run([need("dciodvfy"), path], capture_output=True, text=True, check=False)
    return [
        line
        for line in told.stderr.splitlines()
        if line.startswith("Error") and not any(known in line for known in FALSE_ALARMS)
    ]


def lps_of(segmentation: hd.seg.Segmentation, segment: int) -> set[tuple[float, ...]]:
    """Voxel centres of a segment, from the file's own geometry."""
    volume = segmentation.get_volume(segment_numbers=[segment])
    index = np.argwhere(np.squeeze(volume.array, axis=-1))
    return {tuple(np.round(point, 3) + 0.0) for point in volume.map_indices_to_reference(index)}


def stored_lps(house: House, finding: int) -> set[tuple[float, ...]]:
    """The same from what the analysis stored."""
    k, j, i = np.nonzero(house.labels.array == finding)
    points = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ house.labels.grid.affine.T
    return {tuple(np.round(point[:3], 3) + 0.0) for point in points}


def code_of(item: pydicom.Dataset) -> tuple[str, str]:
    return item.CodeValue, item.CodingSchemeDesignator


def test_every_object_of_a_signed_report(house: House) -> None:
    house.judge(f1="edited", f2="accepted")
    files = written(house)
    assert set(files) == {"seg", "sr", "reg1", "pdf"}
    source = house.ct_headers[0]
    for name, path in files.items():
        assert complaints(path) == [], name
        data = pydicom.dcmread(path)
        for keyword in (
            "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex",
            "StudyInstanceUID", "StudyID", "AccessionNumber", "StudyDate", "StudyTime",
            "ReferringPhysicianName",
        ):  # fmt: skip
            assert str(data[keyword].value) == str(source[keyword].value), (name, keyword)
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
        assert "Not for diagnostic use" in data.SeriesDescription
        assert data.SpecificCharacterSet in ("ISO_IR 192", "ISO_IR 100")
    assert len({pydicom.dcmread(p).SeriesInstanceUID for p in files.values()}) == len(files)
    check_segmentation(house, hd.seg.segread(files["seg"]))
    check_report(house, files)
    check_registration(house, pydicom.dcmread(files["reg1"]))
    check_pdf(house, pydicom.dcmread(files["pdf"]))


def check_segmentation(house: House, found: hd.seg.Segmentation) -> None:
    assert list(found.segment_numbers) == [1, 2]
    for segment in (1, 2):
        assert lps_of(found, segment) == stored_lps(house, segment)
        description = found.get_segment_description(segment)
        assert description.tracking_uid == uid("finding", segment)
        assert description.algorithm_type == hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    assert found.FrameOfReferenceUID == house.ct_headers[0].FrameOfReferenceUID
    named = {
        item.ReferencedSOPInstanceUID
        for item in found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    assert named == {header.SOPInstanceUID for header in house.ct_headers}


def check_report(house: House, files: dict[str, Path]) -> None:
    found = hd.sr.srread(files["sr"])
    assert (found.CompletionFlag, found.VerificationFlag) == ("COMPLETE", "VERIFIED")
    assert found.PreliminaryFlag == "FINAL"
    observer = found.VerifyingObserverSequence[0]
    assert str(observer.VerifyingObserverName) == "Läsare^Ada"
    assert observer.VerifyingOrganization == "Nordklinik"
    groups = found.content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_uid for group in groups] == [uid("finding", 1), uid("finding", 2)]
    segmentation = pydicom.dcmread(files["seg"])
    for number, group in enumerate(groups, start=1):
        row = house.run.findings.get(number=number)
        values = {
            (*code_of(one.name), *(code_of(one.derivation) if one.derivation else ())): (
                one.value, one.unit.CodeValue,
            )
            for one in group.get_measurements()
        }  # fmt: skip
        assert values[("118565006", "SCT")] == (pytest.approx(row.volume_ml, abs=1e-4), "ml")
        assert values[("103339001", "SCT")] == (row.long_axis_mm, "mm")
        assert values[("103340004", "SCT")] == (row.short_axis_mm, "mm")
        assert values[("122157", "DCM")] == (row.probability, "1")
        suv = {key[2]: value for key, value in values.items() if key[0] == "126401"}
        unit = "g/ml{SUVbw}"
        assert suv == (
            {"56851009": (5.25, unit), "126031": (4.5, unit), "373098007": (3.125, unit)}
            if number == 1
            else {}
        )
        segment = group.referenced_segment
        assert segment.referenced_sop_instance_uid == segmentation.SOPInstanceUID
        assert list(segment.referenced_segment_numbers) == [number]
        site = group.finding_sites[0]
        assert (site.value.value, site.laterality.value) == ("39607008", "24028007")
        [judged] = [
            one.value.value
            for one in group.get_qualitative_evaluations()
            if code_of(one.name)[0] == "READER_JUDGEMENT"
        ]
        assert judged == ("EDITED" if number == 1 else "ACCEPTED")
    evidence = {
        item.ReferencedSOPInstanceUID
        for study in found.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert segmentation.SOPInstanceUID in evidence
    assert evidence >= {header.SOPInstanceUID for header in house.ct_headers}


def check_registration(house: House, found: pydicom.Dataset) -> None:
    pet = Series.objects.get(modality="PT", study__site=house.site)
    fixed, moving = found.RegistrationSequence
    assert fixed.FrameOfReferenceUID == found.FrameOfReferenceUID
    assert found.FrameOfReferenceUID == house.ct_headers[0].FrameOfReferenceUID
    assert moving.FrameOfReferenceUID == pet.frame_of_reference_uid
    step = moving.MatrixRegistrationSequence[0]
    matrix = step.MatrixSequence[0].FrameOfReferenceTransformationMatrix
    assert np.allclose(np.array(matrix, float).reshape(4, 4), SHIFT)
    assert code_of(step.RegistrationTypeCodeSequence[0]) == ("125024", "DCM")
    listed = {item.ReferencedSOPInstanceUID for item in moving.ReferencedImageSequence}
    assert listed == set(pet.instances.values_list("sop_instance_uid", flat=True))


def text_of(document: pydicom.Dataset) -> str:
    """The pages of an encapsulated PDF, each ended by a form feed."""
    data = document.EncapsulatedDocument[: document.EncapsulatedDocumentLength]
    assert data.startswith(b"%PDF") and data.rstrip().endswith(b"%%EOF")
    told = subprocess.run(
        [need("pdftotext"), "-layout", "-", "-"], input=data, capture_output=True, check=True
    )
    return told.stdout.decode()


def check_pdf(house: House, found: pydicom.Dataset) -> None:
    text = text_of(found)
    assert "Nodule 1." in text and "Läsare" in text and "EX-1" in text
    for page in text.split("\f")[:-1]:
        assert "Not for diagnostic use" in page


def test_writing_again_gives_the_same_objects(house: House) -> None:
    export = start_export(house.export().pk)
    assert export is not None
    first = write_objects(export)
    house.addend("Compared with the outside CT.")
    assert write_objects(export) == first


def test_a_rejected_finding_leaves_no_trace_but_the_judgement(house: House) -> None:
    house.judge(f1="rejected", f2="accepted")
    files = written(house)
    segmentation = hd.seg.segread(files["seg"])
    # Segment numbers have no gaps; the tracking UID tells which finding it is.
    assert list(segmentation.segment_numbers) == [1]
    assert segmentation.get_segment_description(1).tracking_uid == uid("finding", 2)
    assert lps_of(segmentation, 1) == stored_lps(house, 2)
    groups = hd.sr.srread(files["sr"]).content.get_volumetric_roi_measurement_groups()
    assert [group.tracking_uid for group in groups] == [uid("finding", 2)]
    for name in ("seg", "sr"):
        assert uid("finding", 1).encode() not in files[name].read_bytes()


@pytest.mark.parametrize("found", [0, 2])
def test_nothing_accepted_is_said_outright(make_case: Build, found: int) -> None:
    house = make_case(findings=found, with_pet=False)
    house.judge(**{f"f{n}": "rejected" for n in range(1, found + 1)})
    files = written(house)
    assert set(files) == {"sr", "pdf"}
    assert complaints(files["sr"]) == []
    report = hd.sr.srread(files["sr"])
    assert report.content.get_volumetric_roi_measurement_groups() == []
    [group] = [
        item
        for item in report.content[0].ContentSequence
        if item.ConceptNameCodeSequence[0].CodeValue == "126010"
    ]
    assert "No finding accepted by the reader" in str(group)


def test_a_chinese_name_in_gb18030_comes_out_as_utf_8(make_case: Build) -> None:
    name = "Wang^XiaoDong=王^小东"
    house = make_case(
        charset="GB18030", person={"PatientName": name, "StudyDescription": "胸部 PET/CT"}
    )
    for key, path in written(house).items():
        data = pydicom.dcmread(path)
        assert data.SpecificCharacterSet == "ISO_IR 192", key
        assert str(data.PatientName) == name, key
        assert name.encode() in path.read_bytes(), key
        assert complaints(path) == [], key


def test_a_tilted_gantry_keeps_the_stored_geometry(make_case: Build) -> None:
    house = make_case(tilt_degrees=12.0, with_pet=False)
    rows = house.labels.array.shape[1]
    assert rows > house.ct_headers[0].Rows, "the analysis enlarged the field"
    segmentation = hd.seg.segread(written(house)["seg"])
    assert segmentation.Rows == rows
    for finding in (1, 2):
        assert lps_of(segmentation, finding) == stored_lps(house, finding)


def test_slices_that_are_frames_are_named_with_their_frame_number(make_case: Build) -> None:
    """The reference is one phase of a two-phase multi-frame CT whose frames lie in no order."""
    house = make_case(enhanced=True)
    files = written(house)
    assert {path: complaints(files[path]) for path in files} == {path: [] for path in files}
    (source_path,) = house.ct_folder.glob("*.dcm")
    source = pydicom.dcmread(source_path)
    found = hd.seg.segread(files["seg"])
    for segment in (1, 2):
        assert lps_of(found, segment) == stored_lps(house, segment)
    (item,) = found.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert item.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert item.ReferencedSOPClassUID == source.SOPClassUID
    named = 0
    for group in found.PerFrameFunctionalGroupsSequence:
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        frame = source.PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
        assert frame.FrameContentSequence[0].TemporalPositionIndex == 1
        assert [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient] == [
            float(v) for v in group.PlanePositionSequence[0].ImagePositionPatient
        ]
        named += 1
    assert named == 3  # two slices of finding 1, one of finding 2
    report = pydicom.dcmread(files["sr"])
    text = str(report)
    assert source.SOPInstanceUID in text
    assert "2.25.1\n" not in text
    registration = pydicom.dcmread(files["reg1"])
    assert registration.RegistrationSequence[0].ReferencedImageSequence[
        0
    ].ReferencedSOPInstanceUID == source.SOPInstanceUID
    layers = list(house.run.layers.filter(kind="series", series__modality="CT"))
    assert [layer.is_sibling for layer in layers] == [False, True]
    assert [row["series_instance_uid"] for row in registrations_of(house.case.report)] == [
        layers[0].key, house.run.layers.get(role="PET").key,
    ]  # fmt: skip


def test_images_gone_from_the_archive_are_a_reason_not_a_crash(house: House) -> None:
    export = start_export(house.export().pk)
    assert export is not None
    ct = Series.objects.get(modality="CT", study__site=house.site)
    path_of(ct.instances.first().sha256).unlink()
    with pytest.raises(CannotWrite, match="no longer in the archive"):
        write_objects(export)


def test_an_addendum_is_a_document_with_every_version_in_it(house: House) -> None:
    house.export()
    version = house.addend("Biopsy advised.")
    request_exports(house.case)
    export = start_export(version.export.pk)
    assert export is not None
    [item] = write_objects(export)
    assert item.kind == "pdf"
    text = text_of(pydicom.dcmread(settings.EXPORTS_DIR / item.path))
    assert "Nodule 1." in text and "Biopsy advised." in text
