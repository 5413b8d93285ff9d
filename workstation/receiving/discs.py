"""What a DICOMDIR lists, and what of it is there (PS3.10 section 8.6, PS3.3 annex F).

Discs reach us copied, zipped and renamed: file IDs are upper case on the disc, but copies carry
lower case, ISO 9660 version numbers (``;1``), a dot at the end or an added ``.dcm``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pydicom
from pydicom.filereader import read_file_meta_info

from workstation.receiving.headers import UNREADABLE
from workstation.receiving.structure import DEFLATED

MAX_LISTED = 500_000
VERSION = re.compile(r";\d+$")
SHOWN = 100
"""Names kept of what is missing."""


@dataclass(frozen=True)
class Completeness:
    """What of a disc's table of contents is there. Names are file IDs with slashes."""

    listed: int
    missing: list[str]
    unreadable: list[str]


def file_ids(path: Path) -> list[str]:
    """File IDs that the DICOMDIR at ``path`` refers to, e.g. ``DICOM/PAT1/IM0001``, each once.

    An unreadable DICOMDIR lists nothing: the files beside it are taken in all the same.
    """
    found: dict[str, None] = {}
    try:
        if read_file_meta_info(path).get("TransferSyntaxUID") in DEFLATED:
            return []  # against the standard, and pydicom would unpack any amount
        records = pydicom.dcmread(path).get("DirectoryRecordSequence") or []
        for record in records[:MAX_LISTED]:
            if record.get("RecordInUseFlag") == 0:  # deleted from the disc (PS3.3 F.3.2.2)
                continue
            value = record.get("ReferencedFileID") or []
            parts = [value] if isinstance(value, str) else [str(part) for part in value]
            if name := "/".join(part.strip() for part in parts if part.strip()):
                found[name] = None
    except UNREADABLE:
        return []
    return list(found)


def _key(name: str) -> str:
    """A file's name without what copying changes."""
    return VERSION.sub("", name.replace("\\", "/").casefold()).strip("/").rstrip(".")


def _bare(key: str) -> str:
    return str(PurePosixPath(key).with_suffix("")) if PurePosixPath(key).suffix else key


def compare(
    disc: str, listed: Iterable[str], present: Iterable[str], refused: Iterable[str]
) -> Completeness:
    """Which files listed by the DICOMDIR named ``disc`` are not there, or there but refused.

    ``present`` and ``refused`` are names as they came, with the same folders above them as
    ``disc``. A name that fits exactly counts before one that fits without its extension.
    """
    folder = _key(disc).rpartition("/")[0]
    there = {_key(name) for name in present}
    without = {_bare(key) for key in there}
    bad = {_key(name) for name in refused}
    bad_without = {_bare(key) for key in bad}
    names, missing, unreadable = list(listed), [], []
    for name in names:
        key = _key(f"{folder}/{name}")
        if key in bad or (key not in there and _bare(key) in bad_without):
            unreadable.append(name)
        elif key not in there and _bare(key) not in without:
            missing.append(name)
    return Completeness(len(names), missing, unreadable)
