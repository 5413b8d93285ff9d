"""Values that stand where something must stand, by value representation."""

from __future__ import annotations

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

WORD = "Removed"
SCALARS: dict[str, str | int | float | bytes] = {
    "AE": "REMOVED", "AS": "000Y", "CS": "REMOVED", "DA": "19000101", "DS": "0",
    "DT": "19000101000000", "IS": "0", "LO": WORD, "LT": WORD, "PN": WORD, "SH": WORD, "ST": WORD,
    "TM": "000000", "UC": WORD, "UR": "urn:removed", "UT": WORD, "AT": 0, "FL": 0.0, "FD": 0.0,
    "SL": 0, "SS": 0, "SV": 0, "UL": 0, "US": 0, "UV": 0, "OB": b"\0\0", "OD": b"\0" * 8,
    "OF": b"\0" * 4, "OL": b"\0" * 4, "OV": b"\0" * 8, "OW": b"\0\0", "UN": b"\0\0",
}  # fmt: skip
ENCAPSULATED_DOCUMENT, CONTENT_SEQUENCE = 0x00420011, 0x0040A730
VERIFYING_OBSERVERS, GRAPHICS = 0x0040A073, 0x00700001
SAME_UIDS_SEQUENCES = (0x00081111,)
"""Sequences that hold nothing but references: kept, with new UIDs in them."""


def dummy(element: DataElement, dataset: Dataset) -> DataElement | None:
    """An element of the same tag with a dummy value; ``None`` if it is better left out."""
    tag = int(element.tag)
    if element.VR == "SQ":
        item = _dummy_item(tag)
        return DataElement(tag, "SQ", Sequence([item])) if item is not None else None
    if tag == ENCAPSULATED_DOCUMENT:
        document = EMPTY_PDF if dataset.get("MIMEType") == "application/pdf" else b"\x20\x20"
        if "EncapsulatedDocumentLength" in dataset:
            dataset.EncapsulatedDocumentLength = len(document)
        return DataElement(tag, "OB", document + b"\0" * (len(document) % 2))
    value = SCALARS.get(element.VR)
    return DataElement(tag, element.VR, value) if value is not None else None


def _dummy_item(tag: int) -> Dataset | None:
    item = Dataset()
    if tag == CONTENT_SEQUENCE:
        item.RelationshipType = "CONTAINS"
        item.ValueType = "TEXT"
        item.ConceptNameCodeSequence = [_code("121106", "DCM", "Comment")]
        item.TextValue = "Removed by de-identification."
        return item
    if tag == VERIFYING_OBSERVERS:
        item.VerifyingObserverName = WORD
        item.VerifyingOrganization = WORD
        item.VerificationDateTime = SCALARS["DT"]
        item.VerifyingObserverIdentificationCodeSequence = []
        return item
    if tag == GRAPHICS:
        return None
    return _code("REMOVED", "99RADFUSE", WORD)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def _pdf() -> bytes:
    """The smallest valid PDF: one empty page."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>",
    ]
    out = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj%sendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return out + (
        b"xref\n0 4\n0000000000 65535 f \n%strailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
        % (table, len(out))
    )


EMPTY_PDF = _pdf()
