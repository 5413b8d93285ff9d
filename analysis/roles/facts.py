"""What the headers of a series say, as a plain mapping: attribute keyword -> distinct values.

Nothing here identifies a patient. Enhanced multi-frame objects answer under the keywords of the
single-frame objects (PS3.3 C.7.6.16): the rules know one vocabulary only.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue

Facts = Mapping[str, tuple[str, ...]]

KEYWORDS: tuple[str, ...] = (
    "Modality", "SOPClassUID", "ImageType", "SeriesDescription", "ProtocolName", "SequenceName",
    "StudyDescription", "ContrastBolusAgent", "ContrastBolusRoute", "ContrastBolusVolume",
    "ContrastBolusStartTime", "ContrastBolusAgentPhase", "ContrastBolusAgentAdministered",
    "ScanningSequence", "SequenceVariant", "ScanOptions", "AcquisitionContrast",
    "AcquisitionType", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "AngioFlag",
    "ComplexImageComponent", "CardiacNumberOfImages", "TriggerTime", "NumberOfTemporalPositions",
    "VolumeBasedCalculationTechnique", "CorrectedImage", "AttenuationCorrectionMethod",
    "SeriesType", "Units", "Exposure", "SliceThickness",
)  # fmt: skip
"""Attributes that rules may ask for. SeriesDescription and the other texts are only searched for
words of our lists; no text of a header is ever quoted."""

ALIASES: dict[str, str] = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "PulseSequenceName": "SequenceName",
    "ExposureInmAs": "Exposure",
}
"""Enhanced multi-frame keyword -> the single-frame keyword it answers for."""

TRANSLATED: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("EchoPulseSequence", "SPIN"): ("ScanningSequence", ("SE",)),
    ("EchoPulseSequence", "GRADIENT"): ("ScanningSequence", ("GR",)),
    ("EchoPulseSequence", "BOTH"): ("ScanningSequence", ("SE", "GR")),
    ("EchoPlanarPulseSequence", "YES"): ("ScanningSequence", ("EP",)),
    ("InversionRecovery", "YES"): ("ScanningSequence", ("IR",)),
    ("Spoiling", "RF"): ("SequenceVariant", ("SP",)),
    ("Spoiling", "GRADIENT"): ("SequenceVariant", ("SP",)),
    ("Spoiling", "RF_AND_GRADIENT"): ("SequenceVariant", ("SP",)),
}
"""(enhanced keyword, its value) -> what single-frame objects say instead (PS3.3 C.8.13.4)."""

PRIVATE_B_VALUES: tuple[tuple[int, str, int], ...] = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)
"""(group, private creator, element) where vendors put the b-value in s/mm2 before
DiffusionBValue was usual. GE adds 1e9 to some; its element is in other series too, so it counts
only for echo-planar ones."""

VIRTUAL: tuple[str, ...] = (
    "BValueMax", "BValues", "ContrastBolusAgentSequence", "ProtocolCodeMeaning",
    "Radiopharmaceutical", "RadiopharmaceuticalCode", "RadionuclideCode", "StudyModalities",
)  # fmt: skip
"""Facts made here from sequences, private elements or what the caller knows."""

ODD_HEADER = (
    AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError,
    NotImplementedError, LookupError, EOFError, struct.error, RecursionError,
    BytesLengthException,
)  # fmt: skip
"""What pydicom raises for elements whose bytes are no value of their VR. Such an element says
nothing; whether the object is accepted at all was decided when it was received."""

_SPECIAL = ("DiffusionBValue", *dict.fromkeys(keyword for keyword, _ in TRANSLATED))

MAX_VALUES = 32
MAX_CHARACTERS = 200
MAX_FRAMES = 64
"""Bounds on what is looked at; frames are taken evenly over the object."""

_ONLY_COMMON = frozenset({"ImageType"})
"""Of these a value counts only when every instance has it: one scout among axial slices does not
make a series a localiser."""


def facts_of(datasets: Iterable[Dataset], *, study_modalities: Iterable[str] = ()) -> Facts:
    """The facts of a series from some of its instances (first, middle and last will do; more
    show more b-values). Pixel data is not needed. Never raises for odd header values."""
    collected: dict[str, list[str]] = {}
    common: dict[str, list[str]] = {}
    for ds in datasets:
        seen = _of_instance(ds)
        for keyword, values in seen.items():
            if keyword not in _ONLY_COMMON:
                _add(collected, keyword, values)
            elif keyword in common:
                common[keyword] = [v for v in common[keyword] if v in values]
            else:
                common[keyword] = values
    collected |= common
    _add(collected, "StudyModalities", study_modalities)
    return complete(collected)


def complete(facts: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """A plain mapping of keywords to values as facts: texts without blanks around them, values
    split at the backslash, b-values sorted and their maximum added."""
    made = {keyword: tuple(_split(value)) for keyword, value in facts.items()}
    texts = made.pop("BValues", ()) + made.pop("DiffusionBValue", ())
    numbers = sorted({number for text in texts if (number := _number(text)) is not None})
    if numbers:
        made["BValues"] = tuple(f"{number:g}" for number in numbers)
        made["BValueMax"] = (f"{numbers[-1]:g}",)
    return {keyword: values for keyword, values in made.items() if values}


def _split(value: Any) -> Iterator[str]:
    values = value if isinstance(value, list | tuple) else str(value).split("\\")
    for one in values:
        if one is not None and (text := str(one).strip()):
            yield text


def _of_instance(ds: Dataset) -> dict[str, list[str]]:
    seen: dict[str, list[str]] = {}
    _add_attributes(seen, ds, (*KEYWORDS, *ALIASES, *_SPECIAL))
    for item in _items(ds, "SharedFunctionalGroupsSequence")[:1]:
        _add_group(seen, item)
    frames = _items(ds, "PerFrameFunctionalGroupsSequence")
    step = max(1, len(frames) // MAX_FRAMES)
    frame_types: list[list[str]] = []
    for frame in frames[::step]:
        own: dict[str, list[str]] = {}
        _add_group(own, frame)
        frame_types.append(own.pop("ImageType", []))
        for keyword, values in own.items():
            _add(seen, keyword, values)
    if any(frame_types):
        shared = [v for v in frame_types[0] if all(v in other for other in frame_types)]
        _add(seen, "ImageType", shared)
    _add_sequences(seen, ds)
    _add(seen, "BValues", _private_b_values(ds, seen))
    return seen


def _add_group(seen: dict[str, list[str]], functional_group: Dataset) -> None:
    """The macros of one functional group: one level of sequences, first items."""
    for keyword in _keywords(functional_group):
        for macro in _items(functional_group, keyword)[:2]:
            _add_attributes(seen, macro, _keywords(macro))


def _add_attributes(seen: dict[str, list[str]], ds: Dataset, keywords: Iterable[str]) -> None:
    for keyword in keywords:
        name = "BValues" if keyword == "DiffusionBValue" else ALIASES.get(keyword, keyword)
        if name in KEYWORDS or name == "BValues":
            _add(seen, name, _texts(_get(ds, keyword)))
        elif keyword in _SPECIAL:
            for value in _texts(_get(ds, keyword)):
                other, means = TRANSLATED.get((keyword, value.upper()), ("", ()))
                _add(seen, other, means)


def _add_sequences(seen: dict[str, list[str]], ds: Dataset) -> None:
    if _items(ds, "ContrastBolusAgentSequence"):
        _add(seen, "ContrastBolusAgentSequence", ["yes"])
    for keyword in ("PerformedProtocolCodeSequence", "ProcedureCodeSequence"):
        for code in _items(ds, keyword)[:4]:
            _add(seen, "ProtocolCodeMeaning", _texts(_get(code, "CodeMeaning")))
    for drug in _items(ds, "RadiopharmaceuticalInformationSequence")[:2]:
        _add(seen, "Radiopharmaceutical", _texts(_get(drug, "Radiopharmaceutical")))
        for code in _items(drug, "RadiopharmaceuticalCodeSequence")[:1]:
            _add(seen, "RadiopharmaceuticalCode", _texts(_get(code, "CodeValue")))
            _add(seen, "Radiopharmaceutical", _texts(_get(code, "CodeMeaning")))
        for code in _items(drug, "RadionuclideCodeSequence")[:1]:
            _add(seen, "RadionuclideCode", _texts(_get(code, "CodeValue")))


def _private_b_values(ds: Dataset, seen: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for group, creator, element in PRIVATE_B_VALUES:
        if group == 0x0043 and "EP" not in seen.get("ScanningSequence", ()):
            continue
        try:
            value = ds.private_block(group, creator)[element].value
        except ODD_HEADER:
            continue
        texts = list(_texts(value))
        number = _number(texts[0]) if texts else None
        if number is not None and number >= 0:
            yield f"{number % 1e9:g}"


def _add(into: dict[str, list[str]], keyword: str, values: Iterable[str]) -> None:
    known = into.setdefault(keyword, [])
    for value in values:
        if value and keyword and value not in known and len(known) < MAX_VALUES:
            known.append(value)


def _keywords(ds: Dataset) -> list[str]:
    try:
        return list(ds.dir())
    except ODD_HEADER:
        return []


def _get(ds: Dataset, keyword: str) -> Any:
    try:
        return ds.get(keyword)
    except ODD_HEADER:
        return None


def _items(ds: Dataset, keyword: str) -> list[Dataset]:
    value = _get(ds, keyword)
    try:
        return [item for item in value or () if isinstance(item, Dataset)]
    except ODD_HEADER:
        return []


def _texts(value: Any) -> Iterator[str]:
    """The values of an element as bounded texts; bytes and sequences say nothing."""
    values = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    for one in values[:MAX_VALUES]:
        if one is None or isinstance(one, bytes | bytearray | Dataset):
            continue
        yield str(one).strip()[:MAX_CHARACTERS]


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None  # nan and infinity compare false as well
