"""What a person named on the command line, as one volume: a DICOM series or an image file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.contracts import Notice, SeriesInput
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.images import is_image_file, read_image
from analysis.volumes import load_series, scan_folder
from analysis.volumes.reading import NON_IMAGE


@dataclass(frozen=True, eq=False)
class Chosen:
    """One volume and what is known about it."""

    volume: Volume
    uid: str
    """SeriesInstanceUID, or the file's name."""
    about: dict[str, Any]
    frame_of_reference_uid: str = ""
    patient_key: str = ""
    notices: tuple[Notice, ...] = ()


def choose(path: Path, *, series_uid: str = "", modality: str = "") -> Chosen:
    """The image at ``path``: a NIfTI, MHA or NRRD file, or a DICOM file or folder.

    Raises ``InputRefused``; where a folder holds several series, the refusal names them.
    """
    if not path.exists():
        raise InputRefused("no_such_file", f"There is no file or folder {path}.")
    if path.is_file() and is_image_file(path):
        read = read_image(path, modality)
        about = _about(path, "image file", read.volume) | {"modality_from": read.modality_from}
        return Chosen(read.volume, path.name, about, notices=read.notices)
    series, notices = choose_series(path, series_uid)
    loaded = load_series(series)
    about = _about(path, "DICOM series", loaded.volume) | {
        "modality_from": "DICOM header",
        "series_instance_uid": series.series_instance_uid,
        "label": loaded.label,
        "files": len(series.paths),
    }
    return Chosen(
        loaded.volume,
        series.series_instance_uid,
        about,
        loaded.frame_of_reference_uid,
        loaded.patient_key,
        (*notices, *loaded.notices),
    )


def choose_series(
    path: Path, series_uid: str = "", modality: str = ""
) -> tuple[SeriesInput, tuple[Notice, ...]]:
    """The one image series (of this modality) at ``path``, or the one with this UID.

    Raises ``InputRefused`` (``no_such_file``, ``no_dicom``, ``no_such_series``,
    ``several_series``, ``several_patients``).
    """
    if not path.exists():
        raise InputRefused("no_such_file", f"There is no file or folder {path}.")
    found, notices = scan_folder([path])
    images = [s for s in found if s.modality not in NON_IMAGE]
    if not images:
        hint = ""
        if path.is_dir() and any(is_image_file(p) for p in path.iterdir() if p.is_file()):
            hint = " It holds NIfTI, MHA or NRRD files: name one of them."
        raise InputRefused("no_dicom", f"No DICOM image series was found in {path}.{hint}")
    if series_uid:
        named = [s for s in images if s.series_instance_uid == series_uid]
        if not named:
            raise InputRefused(
                "no_such_series", f"{path} has no image series {series_uid}. {_listed(images)}"
            )
        return named[0], notices
    fitting = [s for s in images if modality in ("", s.modality)]
    if not fitting:
        raise InputRefused("no_such_series", f"{path} has no {modality} series. {_listed(images)}")
    if len(fitting) > 1:
        raise InputRefused(
            "several_series", f"{path} holds several series; choose one by its UID. "
            f"{_listed(fitting)}",
        )  # fmt: skip
    return fitting[0], notices


def _listed(series: list[SeriesInput]) -> str:
    return "It holds: " + "; ".join(
        f"{s.series_instance_uid} ({s.modality}, {s.description or 'no description'}, "
        f"{len(s.paths)} file{'' if len(s.paths) == 1 else 's'})"
        for s in series
    )


def _about(path: Path, kind: str, volume: Volume) -> dict[str, Any]:
    return {
        "path": str(path),
        "kind": kind,
        "modality": volume.modality,
        "unit": volume.unit,
        "shape_zyx": list(volume.grid.shape),
        "spacing_mm": [round(v, 6) for v in volume.grid.spacing],
    }
