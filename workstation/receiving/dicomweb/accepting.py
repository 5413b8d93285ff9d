"""What the client accepts (PS3.18 8.7): the Accept header, or the ``accept`` parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rest_framework.exceptions import NotAcceptable
from rest_framework.request import Request

JSON_TYPES = ("application/dicom+json", "application/json")
STORED = "*"
"""``transfer-syntax=*``: as it is stored."""
UNQUOTED = r'(?:[^{0}"]|"(?:[^"\\]|\\.)*")+'
ITEMS = re.compile(UNQUOTED.format(","))
PARAMETERS = re.compile(UNQUOTED.format(";"))
MOST_RANGES = 64


@dataclass(frozen=True)
class Range:
    """One media range. For multipart, ``media_type`` is that of the parts."""

    media_type: str
    multipart: bool = False
    transfer_syntax: str = ""
    quality: float = 1.0

    def takes(self, media_type: str) -> bool:
        """Whether this range covers ``media_type``."""
        kind, _, _ = media_type.partition("/")
        return self.media_type in ("*/*", f"{kind}/*", media_type)

    @property
    def anything(self) -> bool:
        return self.media_type == "*/*"


def ranges(request: Request) -> list[Range]:
    """The media ranges, best first; everything if the client does not say."""
    text = request.GET.get("accept") or request.headers.get("Accept") or "*/*"
    found = [_range(item) for item in ITEMS.findall(text)[:MOST_RANGES] if item.strip()]
    wanted = [item for item in found if item.quality > 0]
    return sorted(wanted, key=lambda item: -item.quality)


def _range(text: str) -> Range:
    kind, *rest = [piece.strip() for piece in PARAMETERS.findall(text)]
    parameters = {}
    for piece in rest:
        name, _, value = piece.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"')
    kind = kind.lower()
    multipart = kind.startswith("multipart/")
    if multipart:
        kind = parameters.get("type", "*/*").lower()
    try:
        quality = float(parameters.get("q", 1))
    except ValueError:
        quality = 1.0
    return Range(kind, multipart, parameters.get("transfer-syntax", ""), quality)


def json_type(request: Request) -> str:
    """``application/dicom+json`` or ``application/json``, whichever is asked for."""
    for wanted in ranges(request):
        for offer in JSON_TYPES:
            if wanted.takes(offer) and (not wanted.multipart or wanted.anything):
                return offer
    raise refused(JSON_TYPES)


def refused(offers: Iterable[str]) -> NotAcceptable:
    """406 that says what there is."""
    return NotAcceptable(f"None of the accepted media types is offered here: {', '.join(offers)}.")
