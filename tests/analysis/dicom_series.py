"""Small DICOM series written to disk for tests: right by default, wrong on request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.uid import PositronEmissionTomographyImageStorage as PETImageStorage

from analysis.contracts import SeriesInput

SOP_CLASS = {"CT": CTImageStorage, "MR": MRImageStorage, "PT": PETImageStorage}

Change = Callable[[int, Dataset], None]


def make_series(
    folder: Path,
    array: np.ndarray,
    *,
    modality: str = "CT",
    affine: np.ndarray | None = None,
    change: Change | None = None,
    skip: tuple[int, ...] = (),
    order: list[int] | None = None,
    seed: str = "series",
    **tags: Any,
) -> SeriesInput:
    """Write ``array`` [z, y, x] of stored int16/uint16 values as one series.

    ``affine`` maps (i, j, k) to LPS; ``change(k, dataset)`` edits a slice before it is written;
    ``order`` is the file (and InstanceNumber) order of the slices.
    """
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
    folder.mkdir(parents=True, exist_ok=True)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    series = generate_uid(entropy_srcs=[seed])
    paths = []
    for number, k in enumerate(order or range(len(array))):
        if k in skip:
            continue
        ds = _image(modality, array[k], f"{seed}{k}")
        ds.SeriesInstanceUID = series
        ds.InstanceNumber = number + 1
        ds.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        ds.ImageOrientationPatient = [
            *map(_ds, affine[:3, 0] / spacing[0]),
            *map(_ds, affine[:3, 1] / spacing[1]),
        ]
        ds.ImagePositionPatient = [*map(_ds, affine[:3, 3] + k * affine[:3, 2])]
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        if change:
            change(k, ds)
        path = folder / f"{number:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(str(path))
    return SeriesInput(series, generate_uid(entropy_srcs=["study"]), modality, "test", tuple(paths))


def _ds(value: float) -> str:
    return f"{value:.10f}"[:16]


def _image(modality: str, pixels: np.ndarray, seed: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SOP_CLASS[modality]
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[seed, "instance"])
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
    ds.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
    ds.Modality = modality
    ds.PatientID = "T1"
    ds.PatientName = "Test^SYNTHETIC"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 1 if pixels.dtype == np.int16 else 0
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    if modality != "MR":
        ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    if modality == "PT":
        _pet_tags(ds)
    return ds


def _pet_tags(ds: Dataset) -> None:
    """370 MBq F-18, 70 kg, scan one hour after the injection: the example of clinical.md 1.5."""
    drug = Dataset()
    drug.RadionuclideTotalDose = 370e6
    drug.RadionuclideHalfLife = 6586.2
    drug.RadiopharmaceuticalStartTime = "100000"
    drug.Radiopharmaceutical = "Fluorodeoxyglucose"
    ds.RadiopharmaceuticalInformationSequence = Sequence([drug])
    ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN"]
    ds.PatientWeight = 70
    ds.SeriesDate = ds.AcquisitionDate = "20260101"
    ds.SeriesTime = ds.AcquisitionTime = "110000"


def drug(ds: Dataset) -> Dataset:
    """The radiopharmaceutical item of a PET slice."""
    return ds.RadiopharmaceuticalInformationSequence[0]
