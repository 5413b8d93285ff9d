"""The same frames written in every way that scanners write them: single files, one enhanced
object, several enhanced objects, mosaics. Tests compare what comes out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    ExplicitVRLittleEndian,
    generate_uid,
)

from analysis.contracts import SeriesInput
from tests.analysis.dicom_series import SOP_CLASS

ENHANCED = {
    "CT": EnhancedCTImageStorage, "MR": EnhancedMRImageStorage, "PT": EnhancedPETImageStorage,
}  # fmt: skip


@dataclass
class Plane:
    """One frame to write: its pixels, place and what sets it apart, in classic keywords."""

    pixels: np.ndarray
    position: Sequence[float]
    tags: dict[str, Any] = field(default_factory=dict)
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0)
    spacing: Sequence[float] = (2.0, 1.5)


def volume(
    array: np.ndarray,
    *,
    origin: Sequence[float] = (0, 0, 0),
    step: float = 3.0,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    each: Callable[[int], dict[str, Any]] | None = None,
    **tags: Any,
) -> list[Plane]:
    """The planes of one volume [z, y, x]; ``each(k)`` gives tags of plane k."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [
        Plane(
            pixels,
            [float(v) for v in np.array(origin) + normal * step * k],
            tags | (each(k) if each else {}),
            orientation,
        )
        for k, pixels in enumerate(array)
    ]


def write_classic(
    folder: Path, planes: Sequence[Plane], modality: str = "MR", **common: Any
) -> SeriesInput:
    """One file per plane, in the given order."""
    paths = []
    for n, plane in enumerate(planes):
        ds = _object(SOP_CLASS[modality], modality, f"classic{plane.position}{plane.tags}", common)
        ds.InstanceNumber = n + 1
        ds.Rows, ds.Columns = plane.pixels.shape
        ds.PixelData = plane.pixels.astype("<u2").tobytes()
        ds.ImagePositionPatient = list(plane.position)
        ds.ImageOrientationPatient = list(plane.orientation)
        ds.PixelSpacing = list(plane.spacing)
        for keyword, value in plane.tags.items():
            setattr(ds, keyword, value)
        paths.append(_save(ds, folder / f"{n:04d}.dcm"))
    return _input(modality, paths)


MACROS: dict[str, tuple[str, str]] = {
    "DiffusionBValue": ("MRDiffusionSequence", "DiffusionBValue"),
    "DiffusionDirectionality": ("MRDiffusionSequence", "DiffusionDirectionality"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "InversionTime": ("MRModifierSequence", "InversionTimes"),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "TriggerTime": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "StackID": ("FrameContentSequence", "StackID"),
    "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex"),
    "AcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "AcquisitionDateTime": ("FrameContentSequence", "FrameAcquisitionDateTime"),
    "DimensionIndexValues": ("FrameContentSequence", "DimensionIndexValues"),
    "RescaleSlope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "RescaleType": ("PixelValueTransformationSequence", "RescaleType"),
}
"""Where an enhanced object puts what a classic instance says."""


def write_enhanced(
    folder: Path,
    planes: Sequence[Plane],
    modality: str = "MR",
    *,
    shared: bool = True,
    name: str = "enhanced",
    pointers: Sequence[str] = (),
    **common: Any,
) -> SeriesInput:
    """All planes in one multi-frame object, in the given order. ``shared`` puts orientation and
    spacing into the shared functional groups if all planes agree."""
    ds = _object(ENHANCED[modality], modality, f"{name}{[p.position for p in planes]}", common)
    ds.NumberOfFrames = len(planes)
    ds.Rows, ds.Columns = planes[0].pixels.shape
    ds.PixelData = b"".join(p.pixels.astype("<u2").tobytes() for p in planes)
    group = Dataset()
    same = len({(tuple(p.orientation), tuple(p.spacing)) for p in planes}) == 1 and shared
    if same:
        _geometry(group, planes[0])
    ds.SharedFunctionalGroupsSequence = [group]
    ds.PerFrameFunctionalGroupsSequence = [_frame(plane, not same, modality) for plane in planes]
    if pointers:
        ds.DimensionIndexSequence = [_pointer(keyword) for keyword in pointers]
    return _input(modality, [_save(ds, folder / f"{name}.dcm")])


def _pointer(keyword: str) -> Dataset:
    item = Dataset()
    item.DimensionIndexPointer = Tag(keyword)
    item.FunctionalGroupPointer = Tag("FrameContentSequence")
    return item


def _geometry(group: Dataset, plane: Plane) -> None:
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = list(plane.orientation)
    measures.PixelSpacing = list(plane.spacing)
    group.PlaneOrientationSequence, group.PixelMeasuresSequence = [orientation], [measures]


def _frame(plane: Plane, geometry: bool, modality: str) -> Dataset:
    group, position = Dataset(), Dataset()
    position.ImagePositionPatient = list(plane.position)
    group.PlanePositionSequence = [position]
    group.FrameContentSequence = [Dataset()]
    if geometry:
        _geometry(group, plane)
    for keyword, value in plane.tags.items():
        if keyword in ("ImageType", "ComplexImageComponent"):
            kind = {"CT": "CTImage", "MR": "MRImage", "PT": "PET"}[modality]
            macro = f"{kind}FrameTypeSequence"
            keyword = {"ImageType": "FrameType"}.get(keyword, keyword)
        elif keyword == "DiffusionGradientOrientation":
            direction = Dataset()
            direction.DiffusionGradientOrientation = value
            macro, keyword, value = (
                "MRDiffusionSequence", "DiffusionGradientDirectionSequence", [direction],
            )  # fmt: skip
        else:
            macro, keyword = MACROS[keyword]
        if macro not in group:
            setattr(group, macro, [Dataset()])
        setattr(group[macro][0], keyword, value)
    return group


def write_mosaic(
    folder: Path,
    volumes: Sequence[tuple[np.ndarray, dict[str, Any]]],
    *,
    origin: Sequence[float] = (0, 0, 0),
    step: float = 3.0,
    normal: Sequence[float] | None = (0, 0, 1),
    spacing: Sequence[float] = (2.0, 1.5),
) -> SeriesInput:
    """One picture per volume, its slices tiled; ``normal`` is the CSA header's SliceNormalVector
    (None: no CSA header)."""
    paths = []
    for n, (array, tags) in enumerate(volumes):
        count, rows, columns = array.shape
        across = int(np.ceil(np.sqrt(count)))
        picture = np.zeros((rows * across, columns * across), dtype=np.uint16)
        for k, pixels in enumerate(array):
            r, c = k // across * rows, k % across * columns
            picture[r : r + rows, c : c + columns] = pixels
        ds = _object(SOP_CLASS["MR"], "MR", f"mosaic{n}{tags}", {})
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
        ds.Rows, ds.Columns = picture.shape
        ds.PixelData = picture.astype("<u2").tobytes()
        ds.ImageOrientationPatient, ds.PixelSpacing = [1, 0, 0, 0, 1, 0], list(spacing)
        ds.SpacingBetweenSlices = step
        # As if the whole picture were one plane around the slice's centre.
        ds.ImagePositionPatient = [
            origin[0] - spacing[1] * (picture.shape[1] - columns) / 2,
            origin[1] - spacing[0] * (picture.shape[0] - rows) / 2,
            origin[2],
        ]
        ds.private_block(0x0019, "SIEMENS MR HEADER", create=True).add_new(0x0A, "US", count)
        if normal is not None:
            csa = csa_header({"SliceNormalVector": normal, "NumberOfImagesInMosaic": [count]})
            ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa)
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        paths.append(_save(ds, folder / f"mosaic{n}.dcm"))
    return _input("MR", paths)


def csa_header(values: dict[str, Sequence[float]]) -> bytes:
    """A CSA2 header with these numbers."""
    out = b"SV10\x04\x03\x02\x01" + struct.pack("<II", len(values), 77)
    for name, numbers in values.items():
        out += struct.pack("<64si4siii", name.encode(), len(numbers), b"FD", 4, len(numbers), 77)
        for number in numbers:
            text = f"{number:.8f}\0".encode()
            out += struct.pack("<iiii", len(text), len(text), 77, len(text))
            out += text + b"\0" * (-len(text) % 4)
    return out


def _object(sop_class: str, modality: str, seed: str, common: dict[str, Any]) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[seed])
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    ds.FrameOfReferenceUID = "1.2.3.5"
    ds.Modality, ds.PatientID, ds.PatientName = modality, "T1", "Test^SYNTHETIC"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    for keyword, value in common.items():
        setattr(ds, keyword, value)
    return ds


def _save(ds: FileDataset, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return str(path)


def _input(modality: str, paths: Sequence[str]) -> SeriesInput:
    return SeriesInput("1.2.3.4", "1.2.3", modality, "test", tuple(paths))
