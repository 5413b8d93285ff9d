"""Delivered contours: read whole, filled rightly, refused when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from analysis.contracts import OutlineRecord, Point
from analysis.errors import InputRefused
from analysis.geometry import Grid
from analysis.outlines import mask_of, read_outlines
from analysis.volumes import load_series, scan_folder

GRID = Grid((4, 30, 40), np.diag([1.0, 2.0, 5.0, 1.0]))


def square(low: float, high: float, z: float) -> tuple[Point, ...]:
    return ((low, low, z), (high, low, z), (high, high, z), (low, high, z))


def outline(*polygons: tuple[Point, ...]) -> OutlineRecord:
    return OutlineRecord(1, "GTV", "#ff0000", "1.2", "1.3", polygons)


def structure_set(path: Path, *contours: tuple[str, list[float]]) -> str:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = RTStructureSetStorage, "1.2.3.4"
    ds.Modality, ds.FrameOfReferenceUID = "RTSTRUCT", "1.2.9"
    roi, item = Dataset(), Dataset()
    roi.ROINumber, roi.ROIName = 7, "GTV Mass"
    item.ReferencedROINumber, item.ROIDisplayColor = 7, [255, 0, 16]
    item.ContourSequence = Sequence()
    for kind, values in contours:
        contour = Dataset()
        contour.ContourGeometricType, contour.ContourData = kind, values
        contour.NumberOfContourPoints = len(values) // 3
        item.ContourSequence.append(contour)
    ds.StructureSetROISequence, ds.ROIContourSequence = Sequence([roi]), Sequence([item])
    ds.save_as(path, enforce_file_format=True)
    return str(path)


def test_square_is_filled_in_its_slice() -> None:
    mask = mask_of(outline(square(9.5, 20.5, 5)), GRID)
    expected = np.zeros(GRID.shape, bool)
    expected[1, 5:11, 10:21] = True  # rows are 2 mm apart: y = 10 .. 20
    assert np.array_equal(mask, expected)


def test_inner_contour_is_a_hole() -> None:
    whole = mask_of(outline(square(4, 36, 10)), GRID)
    ring = mask_of(outline(square(4, 36, 10), square(12, 24, 10)), GRID)
    hole = mask_of(outline(square(12, 24, 10)), GRID)
    assert np.array_equal(ring, whole & ~hole)
    assert hole.any()


def test_contours_of_other_planes_are_refused() -> None:
    with pytest.raises(InputRefused) as caught:
        mask_of(outline(square(4, 36, 7.5)), GRID)
    assert caught.value.code == "contour_off_plane"


def test_contours_beyond_the_grid_are_left_out() -> None:
    assert not mask_of(outline(square(4, 36, 100)), GRID).any()


def test_read_names_colour_and_frame(tmp_path: Path) -> None:
    flat = [v for point in square(0, 9, 5) for v in point]
    path = structure_set(tmp_path / "a.dcm", ("CLOSED_PLANAR", flat), ("POINT", [1, 2, 3]))
    (found,) = read_outlines([path])
    assert (found.number, found.name, found.color) == (7, "GTV Mass", "#ff0010")
    assert (found.frame_of_reference_uid, found.series_instance_uid) == ("1.2.9", "")
    assert found.polygons == (square(0, 9, 5),)


def test_region_without_closed_contours_is_left_out(tmp_path: Path) -> None:
    assert read_outlines([structure_set(tmp_path / "a.dcm", ("POINT", [1, 2, 3]))]) == ()


def test_damaged_contour_is_refused(tmp_path: Path) -> None:
    path = structure_set(tmp_path / "a.dcm", ("CLOSED_PLANAR", [1, 2, 3, 4, 5, 6, 7, 8]))
    with pytest.raises(InputRefused) as caught:
        read_outlines([path])
    assert caught.value.code == "bad_contour"


def test_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("hello")
    with pytest.raises(InputRefused) as caught:
        read_outlines([str(tmp_path / "a.dcm")])
    assert caught.value.code == "unreadable_file"


@pytest.mark.parametrize(("patient", "volume_ml"), [("STS_001", 365), ("STS_005", 585)])
def test_delivered_tumours_have_their_volume(
    real_data: Path, patient: str, volume_ml: float
) -> None:
    series, _ = scan_folder([real_data / "sarcoma-ct-mr-pet" / patient])
    images = {s.series_instance_uid: load_series(s) for s in series if s.modality != "RTSTRUCT"}
    outlines = [o for s in series if s.modality == "RTSTRUCT" for o in read_outlines(s.paths)]
    names = {dcmread(s.paths[0]).Modality for s in series}
    assert names == {"CT", "MR", "PT", "RTSTRUCT"}
    assert len(outlines) == 3
    for one in outlines:
        image = images[one.series_instance_uid]
        assert image.frame_of_reference_uid == one.frame_of_reference_uid
        ml = mask_of(one, image.volume.grid).sum() * image.volume.grid.voxel_volume_ml
        # PET voxels are 70 times larger: the same contour covers a little more or less.
        assert ml == pytest.approx(volume_ml, rel=0.03 if image.role == "PET" else 0.01)
