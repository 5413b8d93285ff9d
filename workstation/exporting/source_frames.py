"""Source references for slices that are frames of a multi-frame object, or tiles of a mosaic.

highdicom matches the planes of a segmentation with single-frame source images, and refuses the
multi-frame objects that scanners write with per-frame orientation. So it is given one stand-in
header per slice of the stored volume; afterwards every reference to a stand-in is turned into one
to the real object, with its frame number (PS3.3 10.3) where the object has frames.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage
from pydicom.valuerep import format_number_as_ds

_CLASSIC = {
    "CT": CTImageStorage, "MR": MRImageStorage, "PT": PositronEmissionTomographyImageStorage,
}  # fmt: skip
_NOT_OF_A_SLICE = (
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "NumberOfFrames",
    "DimensionIndexSequence", "DimensionOrganizationSequence", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "Rows", "Columns", "SOPInstanceUID",
    "SOPClassUID",
)  # fmt: skip


@dataclass(frozen=True)
class SourceFrame:
    """What a slice was read from. ``number`` is 0 where the object has no numbered frames."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    number: int


def needed(record: Mapping[str, Any]) -> bool:
    """Whether slices of a stored volume share their source objects."""
    uids = record["sop_instance_uids"]
    return bool(record.get("frame_numbers")) or len(set(uids)) < len(uids)


def stand_ins(
    record: Mapping[str, Any], instances: Mapping[str, pydicom.Dataset]
) -> tuple[list[pydicom.Dataset], dict[str, SourceFrame]]:
    """One classic header per slice of the volume, and what each stands for by its UID.

    ``instances``: headers of the source objects by SOP instance UID.
    """
    affine = np.array(record["affine"], dtype=np.float64)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    uids: Sequence[str] = record["sop_instance_uids"]
    numbers = record.get("frame_numbers") or [0] * len(uids)
    _, rows, columns = record["levels"][0]["shape"]
    headers: list[pydicom.Dataset] = []
    sources: dict[str, SourceFrame] = {}
    for k, (uid, number) in enumerate(zip(uids, numbers, strict=True)):
        real = instances[uid]
        header = Dataset(dict(real.items()))
        for keyword in _NOT_OF_A_SLICE:
            if keyword in header:
                del header[keyword]
        header.SOPClassUID = _CLASSIC[record["modality"]]
        header.SOPInstanceUID = f"2.25.{k + 1}"
        header.Rows, header.Columns = rows, columns
        header.PixelSpacing = _ds((spacing[1], spacing[0]))
        header.SliceThickness = _ds((spacing[2],))[0]
        header.ImageOrientationPatient = _ds(
            (*(affine[:3, 0] / spacing[0]), *(affine[:3, 1] / spacing[1]))
        )
        header.ImagePositionPatient = _ds(affine[:3, 3] + k * affine[:3, 2])
        headers.append(header)
        sources[header.SOPInstanceUID] = SourceFrame(
            str(real.SOPClassUID), uid, str(real.SeriesInstanceUID), int(number)
        )
    return headers, sources


def restore(
    written: Dataset, sources: Mapping[str, SourceFrame], *, resampled: bool
) -> None:
    """Turn references to stand-ins into references to what they stand for.

    A volume that was resampled (gantry tilt) has no frame that a plane could be matched with: its
    frames name no source image, the object as a whole still does.
    """
    used = list(sources.values())
    written.SourceImageSequence = _merged(used)
    series: dict[str, list[SourceFrame]] = {}
    for frame in used:
        series.setdefault(frame.series_instance_uid, []).append(frame)
    written.ReferencedSeriesSequence = [_series(uid, frames) for uid, frames in series.items()]
    for group in written.PerFrameFunctionalGroupsSequence:
        if "DerivationImageSequence" not in group:
            continue
        if resampled:
            del group.DerivationImageSequence
            continue
        for derivation in group.DerivationImageSequence:
            for item in derivation.SourceImageSequence:
                frame = sources[item.ReferencedSOPInstanceUID]
                item.ReferencedSOPClassUID = frame.sop_class_uid
                item.ReferencedSOPInstanceUID = frame.sop_instance_uid
                if frame.number:
                    item.ReferencedFrameNumber = frame.number


def _merged(frames: Iterable[SourceFrame]) -> list[Dataset]:
    """One item per object, with all its frames."""
    objects: dict[str, Dataset] = {}
    numbers: dict[str, list[int]] = {}
    for frame in frames:
        item = objects.setdefault(frame.sop_instance_uid, Dataset())
        item.ReferencedSOPClassUID = frame.sop_class_uid
        item.ReferencedSOPInstanceUID = frame.sop_instance_uid
        if frame.number:
            numbers.setdefault(frame.sop_instance_uid, []).append(frame.number)
    for uid, listed in numbers.items():
        objects[uid].ReferencedFrameNumber = sorted(listed)
    return list(objects.values())


def _series(uid: str, frames: Sequence[SourceFrame]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = uid
    item.ReferencedInstanceSequence = _merged(frames)
    for reference in item.ReferencedInstanceSequence:
        if "ReferencedFrameNumber" in reference:
            del reference.ReferencedFrameNumber  # the hierarchy names objects, not frames
    return item


def _ds(values: Iterable[float]) -> list[str]:
    return [format_number_as_ds(float(value)) for value in values]
