"""What stands in for an original: derived from it with a secret key, so always the same and, for
who has no key, not reversible."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass
from datetime import date, timedelta

FIRST_SHIFT, LAST_SHIFT = 30, 5 * 365
"""Days that dates move into the past."""
WELL_KNOWN_ROOT = "1.2.840.10008."
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})?[.\-/]?(\d{2})?")
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Substitutes:
    """Substitutes of one scope (a site): the same original in another scope gets another one."""

    key: bytes
    scope: str

    def digest(self, purpose: str, *original: str) -> bytes:
        message = "\x1f".join((self.scope, purpose, *original)).encode()
        return hmac.new(self.key, message, hashlib.sha256).digest()

    def uid(self, original: str) -> str:
        """``2.25.`` and a UUID (PS3.5 B.2); UIDs that DICOM itself defines stay."""
        original = original.strip("\x00 ")
        if not original or original.startswith(WELL_KNOWN_ROOT):
            return original
        return f"2.25.{uuid.UUID(bytes=self.digest('uid', original)[:16], version=4).int}"

    def pseudonym(self, *original: str) -> str:
        """Twelve letters and digits (60 bits), for a patient ID."""
        return base64.b32encode(self.digest("patient", *original)).decode()[:12]

    def shift(self, *patient: str) -> timedelta:
        """Whole days, so times of day and every interval within the patient stay as they are."""
        number = int.from_bytes(self.digest("dates", *patient)[:8], "big")
        return timedelta(days=-(FIRST_SHIFT + number % (LAST_SHIFT - FIRST_SHIFT)))


def shifted_date(value: str, shift: timedelta) -> str:
    """A DA moved by ``shift``; empty when it is no date."""
    found = _DATE.fullmatch(value.strip("\x00 "))
    if found is None or not (found[2] and found[3]):
        return ""
    return _moved(found[1], found[2], found[3], shift)


def shifted_date_time(value: str, shift: timedelta) -> str:
    """A DT moved by ``shift``, its time, fraction and offset untouched; empty when it is none.

    One that names only a year or a month is moved as its first day and stays as coarse.
    """
    value = value.strip("\x00 ")
    found = _DATE_TIME.fullmatch(value)
    if found is None:
        return ""
    rest = found[4] if found[3] else ""
    if not re.fullmatch(r"\d{0,6}(\.\d{1,6})?([+-]\d{4})?", rest):
        return ""
    day = _moved(found[1], found[2] or "01", found[3] or "01", shift)
    if not day:
        return ""
    return day[: 8 if found[3] else 6 if found[2] else 4] + rest


def _moved(year: str, month: str, day: str, shift: timedelta) -> str:
    try:
        return (date(int(year), int(month), int(day)) + shift).strftime("%Y%m%d").zfill(8)
    except (ValueError, OverflowError):
        return ""
