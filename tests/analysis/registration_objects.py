"""Registration objects as others write them: built by hand from PS3.3, not by our own writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from analysis.contracts import SeriesInput

SPATIAL = "1.2.840.10008.5.1.4.1.1.66.1"
DEFORMABLE = "1.2.840.10008.5.1.4.1.1.66.3"


def matrix_item(matrix: np.ndarray, kind: str = "RIGID") -> Dataset:
    item = Dataset()
    item.FrameOfReferenceTransformationMatrixType = kind
    item.FrameOfReferenceTransformationMatrix = [f"{value:.10g}" for value in np.ravel(matrix)]
    return item


def spatial_item(
    frame: str, *matrices: np.ndarray, images: tuple[str, ...] = (), kind: str = "RIGID"
) -> Dataset:
    item = Dataset()
    if frame:
        item.FrameOfReferenceUID = frame
    refer(item, images)
    step = Dataset()
    step.RegistrationTypeCodeSequence = []
    step.MatrixSequence = [matrix_item(matrix, kind) for matrix in matrices]
    item.MatrixRegistrationSequence = [step]
    return item


def deformable_item(
    frame: str,
    vectors: np.ndarray | None,
    affine: np.ndarray,
    *,
    before: np.ndarray | None = None,
    after: np.ndarray | None = None,
    images: tuple[str, ...] = (),
) -> Dataset:
    """``vectors`` [z, y, x, 3] mm at the nodes of ``affine`` ((i, j, k) -> registered LPS)."""
    item = Dataset()
    item.SourceFrameOfReferenceUID = frame
    refer(item, images)
    item.RegistrationTypeCodeSequence = []
    if before is not None:
        item.PreDeformationMatrixRegistrationSequence = [matrix_item(before, "AFFINE")]
    if after is not None:
        item.PostDeformationMatrixRegistrationSequence = [matrix_item(after, "AFFINE")]
    if vectors is None:
        return item
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    grid = Dataset()
    grid.ImageOrientationPatient = [
        f"{value:.12g}" for value in (affine[:3, :2] / spacing[:2]).T.ravel()
    ]
    grid.ImagePositionPatient = [f"{value:.12g}" for value in affine[:3, 3]]
    grid.GridDimensions = list(vectors.shape[2::-1])
    grid.GridResolution = [float(value) for value in spacing]
    grid.VectorGridData = np.ascontiguousarray(vectors, "<f4").tobytes()
    item.DeformableRegistrationGridSequence = [grid]
    return item


def refer(item: Dataset, images: tuple[str, ...]) -> None:
    if images:
        item.ReferencedImageSequence = []
        for uid in images:
            image = Dataset()
            image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
            image.ReferencedSOPInstanceUID = uid
            item.ReferencedImageSequence.append(image)


def write_object(
    path: Path, frame: str, *items: Dataset, deformable: bool = False, **tags: Any
) -> SeriesInput:
    """One file, one series of modality REG."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DEFORMABLE if deformable else SPATIAL
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=[path.name, "series"])
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.Modality = "REG"
    ds.Manufacturer, ds.ManufacturerModelName = "Else", "Where 3"
    ds.ContentDate, ds.ContentTime = "20260101", "101500"
    if frame:
        ds.FrameOfReferenceUID = frame
    setattr(ds, "DeformableRegistrationSequence" if deformable else "RegistrationSequence",
            list(items))  # fmt: skip
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    ds.save_as(path, enforce_file_format=True)
    return SeriesInput(ds.SeriesInstanceUID, ds.StudyInstanceUID, "REG", "", (str(path),))
