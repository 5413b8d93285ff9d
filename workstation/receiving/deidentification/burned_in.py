"""Signs in a header that the pixels themselves may show who the patient is."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import UID

RISKY_CLASSES: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.7": "a secondary capture",
    "1.2.840.10008.5.1.4.1.1.3": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.6": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.77.1": "a photograph or video",
    "1.2.840.10008.5.1.4.1.1.12": "an X-ray angiogram or fluoroscopy",
}
"""Where devices commonly write names into the picture, by the beginning of the SOP class."""
DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104"
SCREENS = ("SCREEN SAVE", "SCREENSAVE", "SCREEN_SAVE", "SCREENSHOT", "DOSE_INFO", "DOSE REPORT")
TOMOGRAPHIC = ("CT", "MR", "PT", "NM")
CAPTURED = ("DI", "DF", "WSD", "SD", "SI", "DRW", "DV")
"""ConversionType: taken from film, paper, video or another workstation's screen."""


def burned_in_risk(dataset: Dataset) -> str | None:
    """Why the pixels (or pages) may show names, as a sentence; ``None`` if nothing says so.

    A header that says NO in BurnedInAnnotation (0028,0301) is believed, except for documents and
    screen shots. This looks at headers only: text in the pixels of an unsuspicious object is not
    found.
    """
    sop_class = str(dataset.get("SOPClassUID", ""))
    annotation = str(dataset.get("BurnedInAnnotation", "") or "").upper()
    if annotation == "YES":
        return "The header says that names or other text are burned into the pixels."
    if str(dataset.get("RecognizableVisualFeatures", "") or "").upper() == "YES":
        return "The header says that the patient can be recognised in the image."
    if sop_class == DOCUMENTS or sop_class.startswith(f"{DOCUMENTS}."):
        return f"This is a document ({UID(sop_class).name}); its pages are not looked through."
    image_type = [str(value).upper() for value in _values(dataset, "ImageType")]
    if any(screen in value for value in image_type for screen in SCREENS):
        return "This is a screen shot, and screens show names."
    if annotation == "NO":
        return None
    for beginning, name in RISKY_CLASSES.items():
        if sop_class == beginning or sop_class.startswith(f"{beginning}."):
            return f"This is {name}, and its header does not say that no text is burned in."
    if str(dataset.get("ConversionType", "") or "").upper() in CAPTURED:
        return "The image was captured from film, paper or a screen."
    is_colour = dataset.get("SamplesPerPixel") == 3
    if is_colour and str(dataset.get("Modality", "")) in TOMOGRAPHIC:
        return "This is a coloured rendering, and such pictures often carry text."
    return None


def _values(dataset: Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)
