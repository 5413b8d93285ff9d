"""Files to checked DICOM objects: headers without pixels. Hostile bytes end in a refusal."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from analysis.contracts import Notice, SeriesInput
from analysis.errors import InputRefused
from analysis.volumes.damage import READ_ERRORS, drop_damaged
from analysis.volumes.pixels import DEFER_BYTES, PixelSource, cut_off, take_pixels

NON_IMAGE: dict[str, str] = {
    "RTSTRUCT": "a set of contours",
    "RTPLAN": "a treatment plan",
    "RTDOSE": "a dose map",
    "SR": "a structured report",
    "KO": "a key object selection",
    "PR": "a presentation state",
    "REG": "a registration",
    "SEG": "a segmentation",
    "RWV": "a real world value mapping",
    "DOC": "a document",
}
"""Modalities that are never read as an image series."""

MAX_VOXELS = 2**31
"""Larger volumes (4 GiB as int16) are refused before any memory is taken."""

MAX_FRAMES = 100_000
"""More frames in one object are refused: no scanner writes them, a damaged count does."""

SYNTHETIC_MARK = "SYNTHETIC"


@dataclass(frozen=True, eq=False)
class ImageObject:
    """One checked DICOM object: its header, and where its pixels lie."""

    header: Dataset
    pixels: PixelSource

    @property
    def uid(self) -> str:
        return str(self.header.SOPInstanceUID)


def read_objects(series: SeriesInput) -> tuple[list[ImageObject], list[Notice]]:
    """Every object of one series, each once, checked to hold grey images.

    Raises ``InputRefused``: ``not_an_image``, ``unreadable_file``, ``mixed_series``,
    ``several_patients``, ``colour_image``, ``instance_conflict``, ``truncated_pixel_data``.
    """
    if series.modality in NON_IMAGE:
        raise InputRefused(
            "not_an_image",
            f"This series is {NON_IMAGE[series.modality]}, not an image; it is not read as one.",
        )
    found: dict[str, ImageObject] = {}
    repeated = 0
    for path in series.paths:
        one = _read_object(Path(path))
        if str(one.header.get("SeriesInstanceUID", "")) != series.series_instance_uid:
            raise InputRefused("mixed_series", "A file of another series lies among this series.")
        if one.uid in found:
            repeated += 1
            if found[one.uid].pixels.read() != one.pixels.read():
                raise InputRefused(
                    "instance_conflict",
                    "Two files carry the same instance UID but different pixels. Send the "
                    "series again from its source.",
                )
            continue
        found[one.uid] = one
    objects = list(found.values())
    if not objects:
        raise InputRefused("not_an_image", "The series holds no file.")
    if len({patient_key(one.header) for one in objects}) > 1:
        raise InputRefused(
            "several_patients",
            "The files of this series name different patients. It is not read; have the series "
            "corrected at its source.",
        )
    notices = []
    if repeated:
        notices.append(
            Notice(
                "repeated_instance",
                f"{repeated} of the files repeat an instance of the series; each was used once.",
                "info",
                series.series_instance_uid,
            )
        )
    return objects, notices


def _read_object(path: Path) -> ImageObject:
    ds = _read(path)
    _check_kind(ds)
    frames = _frame_count(ds)
    pixels = take_pixels(ds, path, frames)
    _check_pixels(ds, pixels)
    return ImageObject(ds, pixels)


def _frame_count(ds: Dataset) -> int:
    try:
        frames = int(ds.get("NumberOfFrames") or 1)
    except READ_ERRORS:
        frames = 0
    if not 1 <= frames <= MAX_FRAMES:
        raise InputRefused(
            "unreadable_file", "A file does not say how many frames it holds, or too many."
        )
    return frames


def patient_key(ds: Dataset) -> str:
    """A hash that is equal for the same issuer and patient ID; the study stands in where there
    is no ID, so that nameless studies are never taken for one patient. Not for storage as an
    identifier: it only keeps patients apart within a run."""
    issuer = str(ds.get("IssuerOfPatientID") or "").strip()
    patient = str(ds.get("PatientID") or "").strip()
    who = f"{issuer}|{patient}" if patient else f"study|{ds.get('StudyInstanceUID', '')}"
    return hashlib.sha256(who.encode()).hexdigest()[:16]


def is_synthetic(ds: Dataset) -> bool:
    """Whether the instance says in the patient's name that it is synthetic."""
    return SYNTHETIC_MARK in str(ds.get("PatientName") or "").upper()


def lossy_text(ds: Dataset) -> str:
    """E.g. ``J2K 20:1`` for an image that was ever compressed with loss, else empty."""
    if str(ds.get("LossyImageCompression") or "") != "01":
        return ""
    method = _last(ds.get("LossyImageCompressionMethod"))
    name = {
        "ISO_10918_1": "JPEG",
        "ISO_14495_1": "JPEG-LS",
        "ISO_15444_1": "J2K",
        "ISO_15444_15": "HTJ2K",
        "ISO_13818_1": "MPEG-2",
        "ISO_18181_1": "JPEG XL",
    }.get(method, "")
    if not name:
        syntax = str(ds.file_meta.get("TransferSyntaxUID", ""))
        name = "J2K" if syntax.startswith("1.2.840.10008.1.2.4.9") else "lossy"
    try:
        ratio = float(_last(ds.get("LossyImageCompressionRatio")))
    except ValueError:
        return name
    return f"{name} {ratio:.0f}:1" if ratio >= 10 else f"{name} {ratio:.1f}:1"


def _last(value: object) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, str | int | float):
        return str(value)
    items = list(value)  # type: ignore[call-overload]
    return str(items[-1]) if items else ""


def _read(path: Path) -> FileDataset:
    try:
        ds = dcmread(path, defer_size=DEFER_BYTES)
        if ds.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            ds = dcmread(path)  # deferred values would be looked for in the deflated bytes
    except InvalidDicomError as error:
        raise InputRefused(
            "unreadable_file", "A file of this series is not a DICOM file."
        ) from error
    except READ_ERRORS as error:
        raise InputRefused(
            "unreadable_file", "A file of this series is damaged and cannot be read."
        ) from error
    if not len(ds):  # what pydicom leaves of compressed pixel data without an end
        raise cut_off()
    drop_damaged(ds.file_meta)
    syntax = UID(str(ds.file_meta.get("TransferSyntaxUID", "")))
    if syntax.type != "Transfer Syntax":
        raise InputRefused(
            "unreadable_file", "A file does not name a transfer syntax that can be read."
        )
    drop_damaged(ds)
    if not ds.get("SOPInstanceUID"):
        raise InputRefused("unreadable_file", "A file of this series has no instance UID.")
    return ds


def _check_kind(ds: Dataset) -> None:
    modality = str(ds.get("Modality") or "")
    if not modality:
        raise InputRefused("unreadable_file", "A file of this series does not name its modality.")
    if modality in NON_IMAGE or "PixelData" not in ds:
        what = NON_IMAGE.get(modality, "an object without image data")
        raise InputRefused("not_an_image", f"This series is {what}, not an image.")
    if str(ds.get("PhotometricInterpretation") or "") not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputRefused(
            "colour_image",
            "The series holds colour pictures (screen captures or fused views), not measured "
            "values; it is not used.",
        )


def _check_pixels(ds: Dataset, pixels: PixelSource) -> None:
    """Rows, columns and bits make sense, and native pixel data has all its bytes."""
    try:
        rows, columns, bits = int(ds.Rows), int(ds.Columns), int(ds.BitsAllocated)
        stored, _ = int(ds.BitsStored), int(ds.PixelRepresentation)
    except READ_ERRORS as error:
        raise InputRefused(
            "unreadable_file", "A slice does not describe its image data (size or bits missing)."
        ) from error
    if rows < 1 or columns < 1 or bits not in (8, 16, 32) or not 1 <= stored <= bits:
        raise InputRefused(
            "unreadable_file",
            f"A slice describes impossible image data ({columns} x {rows}, {stored} of {bits} "
            "bits).",
        )
    if rows * columns > MAX_VOXELS:
        raise InputRefused("volume_too_large", "The images are too large to be read.")
    if pixels.compressed:
        if not pixels.length:
            raise InputRefused("truncated_pixel_data", "A slice has no image data.")
        return
    expected = pixels.frame_bytes * pixels.frames
    if pixels.length < expected:
        raise InputRefused(
            "truncated_pixel_data",
            f"A slice is cut off: it holds {pixels.length} of {expected} bytes of image data. "
            "Send the series again.",
        )
