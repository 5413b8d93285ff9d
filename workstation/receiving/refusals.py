"""Why things are refused, in plain language, with what to do next; by the code of the refusal."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Advice:
    """``meaning`` for the page's filter, ``next_step`` for the person who decides."""

    meaning: str
    next_step: str


_AGAIN = "Ask the sender to send it again, then discard this copy."
_UNPACK = "Unpack it and upload the folder instead."
_CORRECT = "Ask the sender to put it right and send it again, or correct it here."
ADVICE: dict[str, Advice] = {
    "empty": Advice("Empty file", _AGAIN),
    "not_dicom": Advice("Not a DICOM file", "Discard it, unless it should have been an image."),
    "bad_meta": Advice("Unreadable start of the file", _AGAIN),
    "no_transfer_syntax": Advice("Does not say how it is encoded", _AGAIN),
    "unknown_transfer_syntax": Advice(
        "Encoded in a way DICOM does not define",
        "Set the sender to a standard transfer syntax, e.g. Explicit VR Little Endian.",
    ),
    "truncated": Advice("Cut off", _AGAIN),
    "not_closed": Advice("Cut off inside a sequence", _AGAIN),
    "unreadable": Advice("Damaged", _AGAIN),
    "nested_too_deep": Advice(
        "Nested too deep", "Real objects are not built like this: find out who sent it."
    ),
    "not_storage": Advice(
        "Of a kind that is not stored", "Discard it; the sender should not send it here."
    ),
    "no_patient_id": Advice("No patient ID", _CORRECT),
    "bad_patient_id": Advice("Patient ID too long", _CORRECT),
    "missing_sop_class_uid": Advice("Does not say what it is", _AGAIN),
    "invalid_sop_class_uid": Advice("Does not say what it is", _AGAIN),
    "missing_instance_uid": Advice("No SOP Instance UID", _CORRECT),
    "invalid_instance_uid": Advice("Invalid SOP Instance UID", _CORRECT),
    "missing_study_uid": Advice("No Study Instance UID", _CORRECT),
    "invalid_study_uid": Advice("Invalid Study Instance UID", _CORRECT),
    "missing_series_uid": Advice("No Series Instance UID", _CORRECT),
    "invalid_series_uid": Advice("Invalid Series Instance UID", _CORRECT),
    "no_pixel_data": Advice("An image without pixels", _AGAIN),
    "no_image_size": Advice("An image without size", _AGAIN),
    "conflicting": Advice(
        "Same UID as another object",
        "The first one stays. Is this one the right one, or one more? Then correct it here: it is "
        "stored under a new SOP Instance UID. A copy that was only compressed can be discarded.",
    ),
    "other_patient": Advice(
        "Study known under another patient",
        "Find out who the patient is. Correct the patient ID here, or have the sender correct the "
        "study and send it again.",
    ),
    "other_study": Advice(
        "Series known in another study",
        "Have the sender correct it, or correct the study or series UID here.",
    ),
    "wrong_path": Advice(
        "Sent to the address of another study",
        "If the header is right, try again: it is stored with the study that it names.",
    ),
    "orphan": Advice(
        "Found in the archive without its row",
        "Try again: if it is a whole object it is stored with its study.",
    ),
    "burned_in": Advice(
        "Pixels may show patient data",
        "Look at the image at the sender. Trying again accepts it as it is.",
    ),
    "vault_locked": Advice(
        "De-identification not possible",
        "The vault has no key: an administrator sets it, then try again.",
    ),
    "zip_damaged": Advice("Damaged ZIP", "Make it anew, or upload the folder instead."),
    "zip_encrypted": Advice("ZIP with a password", _UNPACK),
    "zip_entry_damaged": Advice("Damaged file in a ZIP", "Make the ZIP anew."),
    "zip_nested": Advice("ZIP inside a ZIP", _UNPACK),
    "zip_unsafe_name": Advice(
        "Unsafe name in a ZIP", "Find out who made this ZIP; its folder can be uploaded."
    ),
    "zip_bomb": Advice("ZIP that unpacks to far more", "Find out who made this ZIP."),
    "zip_too_large": Advice("ZIP larger than the limit", "Upload the folder, or in parts."),
    "zip_not_opened": Advice("ZIP that could not be opened", _UNPACK),
}
OTHER = Advice("Other", "Tell your administrator; the bytes are kept.")


def advice(code: str) -> Advice:
    """What a refusal means and what to do about it."""
    return ADVICE.get(code, OTHER)
