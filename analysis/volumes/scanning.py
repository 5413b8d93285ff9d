"""Folders to series: which files are DICOM, which belong together, and whose they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from analysis.contracts import Notice, SeriesInput
from analysis.errors import InputRefused
from analysis.volumes.damage import READ_ERRORS, drop_damaged
from analysis.volumes.reading import patient_key

_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "Modality",
    "SeriesDescription",
    "PatientID",
    "IssuerOfPatientID",
]


def scan_folder(
    paths: Iterable[str | Path],
) -> tuple[tuple[SeriesInput, ...], tuple[Notice, ...]]:
    """Every DICOM series below the given folders (or files), and what was left out.

    Files that are not DICOM are ignored and counted; damaged ones are named in a notice by their
    file name. Raises ``InputRefused`` (``several_patients``) when more than one patient is found.
    """
    groups: dict[str, list[tuple[str, Dataset]]] = defaultdict(list)
    foreign = 0
    notices: list[Notice] = []
    damaged = 0
    for path in _files(paths):
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
            drop_damaged(ds)
            uid = str(ds.get("SeriesInstanceUID") or "")
            modality = str(ds.get("Modality") or "")
        except InvalidDicomError:
            foreign += 1
            continue
        except READ_ERRORS:
            damaged += 1
            continue
        if not uid:
            # DICOMDIR and objects without a series are no images.
            foreign += 1
            continue
        if modality:
            groups[uid].append((str(path.resolve()), ds))
        else:
            damaged += 1
    if len({patient_key(ds) for group in groups.values() for _, ds in group}) > 1:
        raise InputRefused(
            "several_patients",
            "The folders hold images of more than one patient (or studies without a patient ID). "
            "Give the folders of one patient only.",
        )
    if foreign:
        notices.append(
            Notice("not_dicom", f"{foreign} file(s) are not DICOM images and were ignored.", "info")
        )
    if damaged:
        notices.append(
            Notice("unreadable_file", f"{damaged} file(s) are damaged and were left out.")
        )
    series = [_series(uid, group) for uid, group in sorted(groups.items())]
    return tuple(series), tuple(notices)


def _files(paths: Iterable[str | Path]) -> list[Path]:
    found: set[Path] = set()
    for start in map(Path, paths):
        found.update([start] if start.is_file() else (p for p in start.rglob("*") if p.is_file()))
    return sorted(found)


def _series(uid: str, group: list[tuple[str, Dataset]]) -> SeriesInput:
    first = group[0][1]
    return SeriesInput(
        series_instance_uid=uid,
        study_instance_uid=str(first.get("StudyInstanceUID") or ""),
        modality=str(first.get("Modality") or ""),
        description=str(first.get("SeriesDescription") or ""),
        paths=tuple(path for path, _ in group),
    )
