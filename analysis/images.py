"""NIfTI, MHA/MHD and NRRD files as volumes, or the reason why a file is none.

ITK turns NIfTI's RAS into LPS; every volume here is LPS millimetres like those from DICOM. Such
files say neither what was imaged nor in which unit, so the modality comes from the caller or is
guessed, and then said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from analysis.contracts import Notice
from analysis.errors import InputRefused, ResourceExhausted
from analysis.geometry import Volume, grid_of
from analysis.hounsfield import HU_UNIT

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img")
MODALITIES = ("CT", "MR", "PT")
MAX_VOXELS = 2**31
CT_AIR_HU = -500.0
"""A smallest value below this is air in HU; MR and PET have hardly anything below zero."""


@dataclass(frozen=True, eq=False)
class ReadImage:
    """A volume and what had to be assumed about it."""

    volume: Volume
    modality_from: str
    notices: tuple[Notice, ...] = ()


def is_image_file(path: Path) -> bool:
    """Whether the name is that of a NIfTI, MetaImage or NRRD file."""
    return path.name.lower().endswith(SUFFIXES)


def read_image(path: Path, modality: str = "") -> ReadImage:
    """One 3-D image of a file.

    ``modality`` is ``CT``, ``MR`` or ``PT``; empty: guessed from the file's name and values.
    Integers stay what they are, other numbers become float32. Raises ``InputRefused``
    (``no_such_file``, ``unreadable_image``, ``not_3d``, ``colour_image``, ``not_finite``,
    ``volume_too_large``) and ``ResourceExhausted``.
    """
    if not path.is_file():
        raise InputRefused("no_such_file", f"There is no file {path}.")
    image, notices = _read(path)
    array = sitk.GetArrayFromImage(image)
    if not np.issubdtype(array.dtype, np.integer):
        array = array.astype(np.float32, copy=False)
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise InputRefused(
                "not_finite",
                f"{path.name} holds {bad} voxels that are no number (NaN or infinite). Replace "
                "them by the background value first.",
            )
    name, source = (modality, "given") if modality else _guess(path, array)
    unit = HU_UNIT if name == "CT" else "1"
    return ReadImage(Volume(array, grid_of(image), unit, name), source, notices)


def _read(path: Path) -> tuple[sitk.Image, tuple[Notice, ...]]:
    """The file as a scalar 3-D image, checked before its voxels are read."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size = list(reader.GetSize())
        if reader.GetNumberOfComponents() != 1 or "complex" in str(
            sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())
        ):
            raise InputRefused(
                "colour_image",
                f"{path.name} holds several numbers a voxel (colours, vectors or complex values), "
                "not one.",
            )
        while len(size) > 3 and size[-1] == 1:
            size.pop()
        if len(size) != 3 or min(size) < 2:
            raise InputRefused(
                "not_3d",
                f"{path.name} has the size {' x '.join(map(str, reader.GetSize()))}: a volume of "
                "three dimensions, each with two voxels or more, is needed.",
            )
        if float(np.prod(size)) > MAX_VOXELS:
            raise InputRefused("volume_too_large", f"{path.name} is too large to be read.")
        reader.SetExtractSize([*size, *[0] * (len(reader.GetSize()) - 3)])
        return reader.Execute(), _orientation(path, reader)
    except RuntimeError as error:
        if "memory" in str(error).lower() or "allocat" in str(error).lower():
            raise ResourceExhausted("out_of_memory", "Memory ran out reading the image.") from error
        raise InputRefused("unreadable_image", f"{path.name} cannot be read: {_why(error)}") from (
            error
        )


def _why(error: RuntimeError) -> str:
    """The one line of ITK's message that tells what is wrong."""
    text = str(error)
    if "orthonormal" in text or "Direction" in text:
        return "its axes are not at right angles (sheared). Resample it to an upright grid first."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = re.sub(r"^(sitk::ERROR:|ITK ERROR:|.*?\(0x[0-9a-f]+\):)\s*", "", lines[-1])
    return told if told else "it is not an image of a known kind."


def _orientation(path: Path, reader: sitk.ImageFileReader) -> tuple[Notice, ...]:
    """A word about NIfTI files that do not say where they lie."""
    if ".nii" not in path.name.lower():
        return ()
    keys = [key for key in ("qform_code", "sform_code") if reader.HasMetaDataKey(key)]
    codes = [reader.GetMetaData(key) for key in keys]
    if codes and all(code.strip() in ("0", "") for code in codes):
        return (
            Notice(
                "no_orientation",
                f"{path.name} does not say how it lies in the patient (qform and sform are 0): "
                "left and right may be exchanged.",
            ),
        )
    return ()


def _guess(path: Path, array: npt.NDArray[np.generic]) -> tuple[str, str]:
    words = set(re.split(r"[^a-z]+", path.name.lower()))
    if float(array.min()) <= CT_AIR_HU:
        return "CT", f"guessed: values go down to {float(array.min()):.0f}"
    if words & {"pet", "pt", "suv", "spect", "fdg"}:
        return "PT", "guessed from the file's name"
    return "MR", "guessed: no value like air in HU, no word of the file's name speaks of PET"
