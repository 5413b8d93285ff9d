"""A stand-in for a hospital's PACS in the demo: keeps what it is sent, answers C-FIND and C-GET.

It holds a folder of files and reads their headers for each question. Enough for a demo with one
prior study; it is not an archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

SUCCESS, PENDING, CANCELLED, NOT_UNDERSTOOD = 0x0000, 0xFF00, 0xFE00, 0xA900
STUDY_KEYS = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber",
)  # fmt: skip
SERIES_KEYS = ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription",
               "BodyPartExamined")  # fmt: skip
IMAGE_KEYS = ("SOPInstanceUID", "SOPClassUID", "InstanceNumber")
LEVELS = {
    "STUDY": ("StudyInstanceUID", STUDY_KEYS),
    "SERIES": ("SeriesInstanceUID", STUDY_KEYS + SERIES_KEYS),
    "IMAGE": ("SOPInstanceUID", STUDY_KEYS + SERIES_KEYS + IMAGE_KEYS),
}
"""Level -> what tells its entries apart, and the keys that match and are returned."""


def start_pacs(folder: Path, ae_title: str, port: int) -> Any:
    """Listen on 127.0.0.1 in threads of this process; returns the server (``shutdown`` ends it)."""
    archive = AE(ae_title=ae_title)
    for context in AllStoragePresentationContexts:
        archive.add_supported_context(context.abstract_syntax, scu_role=True, scp_role=True)
    archive.add_supported_context(Verification)
    archive.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    archive.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
    handlers = [
        (evt.EVT_C_STORE, keep, [folder]),
        (evt.EVT_C_FIND, find, [folder]),
        (evt.EVT_C_GET, get, [folder]),
    ]
    return archive.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)


def keep(event: evt.Event, folder: Path) -> int:
    """Write the instance as ``<SOP class>_<SOP instance UID>.dcm``."""
    request = event.request
    kind = UID(str(request.AffectedSOPClassUID)).name.replace(" ", "").removesuffix("Storage")
    path = folder / f"{kind}_{request.AffectedSOPInstanceUID}.dcm"
    path.write_bytes(event.encoded_dataset())
    return SUCCESS


def _headers(folder: Path) -> Iterator[tuple[Path, Dataset]]:
    for path in sorted(folder.rglob("*.dcm")):
        yield path, pydicom.dcmread(path, stop_before_pixels=True)


def find(event: evt.Event, folder: Path) -> Iterator[tuple[int, Dataset | None]]:
    """C-FIND: one answer per study, series or image that fits."""
    wanted = event.identifier
    level = str(wanted.get("QueryRetrieveLevel") or "")
    if level not in LEVELS:
        yield NOT_UNDERSTOOD, None
        return
    unique, keys = LEVELS[level]
    entries: dict[str, list[Dataset]] = {}
    for _, header in _headers(folder):
        entries.setdefault(str(header[unique].value), []).append(header)
    for headers in entries.values():
        if event.is_cancelled:
            yield CANCELLED, None
            return
        modalities = sorted({str(header.Modality) for header in headers})
        if all(_fits(headers[0], wanted, key) for key in keys) and _one_of(
            modalities, wanted.get("ModalitiesInStudy")
        ):
            yield PENDING, _answer(headers, level, keys, modalities)


def _fits(header: Dataset, wanted: Dataset, key: str) -> bool:
    """Universal, wild card, list and range matching (PS3.4 C.2.2.2)."""
    if key.endswith("UID"):
        return _listed(str(header.get(key) or ""), wanted.get(key))
    asked = str(wanted.get(key) or "")
    value = str(header.get(key) or "")
    if not asked or asked == "*":
        return True
    if key.endswith("Date") and "-" in asked:
        first, _, last = asked.partition("-")
        return (not first or value >= first) and (not last or value <= last)
    return fnmatchcase(value.casefold(), asked.casefold())


def _one_of(modalities: list[str], asked: Any) -> bool:
    names = [asked] if isinstance(asked, str) else list(asked or [])
    return not any(names) or bool(set(names) & set(modalities))


def _answer(
    headers: list[Dataset], level: str, keys: tuple[str, ...], modalities: list[str]
) -> Dataset:
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    answer.QueryRetrieveLevel = level
    for key in keys:
        setattr(answer, key, headers[0].get(key, ""))
    if level == "STUDY":
        answer.ModalitiesInStudy = modalities
        answer.NumberOfStudyRelatedInstances = len(headers)
        answer.NumberOfStudyRelatedSeries = len({h.SeriesInstanceUID for h in headers})
    return answer


def get(event: evt.Event, folder: Path) -> Iterator[Any]:
    """C-GET of studies, series or images, by their UIDs."""
    wanted = event.identifier
    keys = [unique for unique, _ in LEVELS.values()]
    found = [
        path
        for path, header in _headers(folder)
        if all(_listed(str(header[key].value), wanted.get(key)) for key in keys)
    ]
    yield len(found)
    for path in found:
        if event.is_cancelled:
            yield CANCELLED, None
            return
        yield PENDING, pydicom.dcmread(path)


def _listed(uid: str, asked: Any) -> bool:
    uids = [asked] if isinstance(asked, str) else list(asked or [])
    return not any(uids) or uid in uids
