"""What can tell frames at the same place apart: a table of dimensions, read from one header.

Standard attributes first; the private ones that scanners wrote before the standard had a place
for the b-value come after: Siemens (0019,xx0C), GE (0043,xx39), Philips (2001,xx03), known from
their makers' conformance statements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from analysis.volumes.damage import READ_ERRORS
from analysis.volumes.mosaic import private_value

Value = float | str | tuple[float, ...] | None
"""What a frame says on a dimension; None if it says nothing."""

GE_B_VALUE_OFFSET = 1_000_000_000
"""GE adds this to the b-value of some series."""

COMPONENTS: dict[str, str] = {
    "MAGNITUDE": "", "M": "", "M_SE": "", "M_FFE": "", "M_IR": "", "MIXED": "",
    "PHASE": "phase", "P": "phase", "PHASE MAP": "phase", "PHASE_MAP": "phase",
    "REAL": "real", "R": "real", "R_IR": "real", "IMAGINARY": "imaginary", "I": "imaginary",
}  # fmt: skip
"""ComplexImageComponent, and how makers write it into ImageType."""

MAPS: dict[str, str] = {
    "ADC": "ADC", "APPARENT DIFFUSION COEFFICIENT": "ADC", "ADC_UNSPECIFIED": "ADC",
    "EADC": "exponential ADC", "EXP_ADC": "exponential ADC",
    "FA": "FA", "FRACTIONAL_ANISOTROPY": "FA",
    "TRACEW": "trace", "TRACE": "trace", "DIFFUSION_TRACE": "trace",
    "FIELD_MAP": "field map",
    "T1_MAP": "T1 map", "T1 MAP": "T1 map", "T2_MAP": "T2 map", "T2 MAP": "T2 map",
    "T2_STAR_MAP": "T2* map", "T2STAR_MAP": "T2* map",
    "WATER": "water", "W": "water", "FAT": "fat", "F": "fat",
    "IN_PHASE": "in phase", "IP": "in phase", "INPHASE": "in phase",
    "OPP_PHASE": "opposed phase", "OUT_PHASE": "opposed phase", "OP": "opposed phase",
    "OUTPHASE": "opposed phase", "OPPOSED_PHASE": "opposed phase",
    "RCBF": "CBF", "CBF": "CBF", "RCBV": "CBV", "CBV": "CBV", "MTT": "MTT", "TTP": "TTP",
    "TMAX": "Tmax", "PBP": "bolus map", "GBP": "bolus map",
    "MIP": "MIP", "MINIP": "MinIP", "MIN IP": "MinIP", "LOCALIZER": "localiser",
}  # fmt: skip
"""Words of ImageType (value 3 and after) that name another quantity than the plain image."""

PLAIN_KINDS: tuple[str, ...] = ("", "in phase", "water", "trace")
"""Kinds that show tissue as the plain image does, best first; any other is no CT or structural
MR."""


@dataclass(frozen=True)
class Dimension:
    """One way in which frames at the same place can differ."""

    name: str
    """The DICOM keyword, where there is one."""
    unit: str
    """UCUM; empty for names and counts."""
    read: Callable[[Dataset], Value]
    jitters: bool = False
    """Measured, so that frames of one volume differ a little: order counts, not the value."""
    clock: bool = False
    """A moment of the acquisition: frames of one volume follow each other."""


def number(ds: Dataset, keyword: str) -> float | None:
    """A finite number, rounded to what headers mean; None if absent or unreadable."""
    try:
        value = float(ds.get(keyword))
    except READ_ERRORS:
        return None
    return round(value, 3) if math.isfinite(value) else None


def _words(ds: Dataset, keyword: str) -> list[str]:
    value = ds.get(keyword) or ()
    return [str(v).strip().upper() for v in ([value] if isinstance(value, str) else value)]


def kind_of(ds: Dataset) -> str:
    """What the frame shows if it is not the plain image: ``phase``, ``ADC``, ``water`` ...

    Frames of different kinds never form one volume.
    """
    words = _words(ds, "ImageType")[2:]
    maps = [MAPS[word] for word in words if word in MAPS]
    if maps:
        return maps[-1]
    component = str(ds.get("ComplexImageComponent") or "").upper()
    if component in COMPONENTS and component != "MIXED":
        return COMPONENTS[component]
    told = [COMPONENTS[word] for word in words if word in COMPONENTS]
    return next((part for part in told if part), "")


def stack_of(ds: Dataset) -> str:
    return str(ds.get("StackID") or "").strip()


def plane_of(ds: Dataset) -> str:
    """``axial``, ``coronal`` or ``sagittal``, whichever the frame is nearest to; else empty."""
    try:
        cosines = np.array([float(v) for v in ds.ImageOrientationPatient]).reshape(2, 3)
    except READ_ERRORS:
        return ""
    normal = np.abs(np.cross(cosines[0], cosines[1]))
    return ("sagittal", "coronal", "axial")[int(np.argmax(normal))]


def b_value(ds: Dataset) -> float | None:
    """s/mm2, or None where the frame is not diffusion-weighted imaging."""
    standard = number(ds, "DiffusionBValue")
    if standard is not None:
        return standard
    if str(ds.get("DiffusionDirectionality") or "").upper() == "NONE":
        return 0.0
    for group, creator, element in (
        (0x0019, "SIEMENS MR HEADER", 0x0C),
        (0x0043, "GEMS_PARM_01", 0x39),
        (0x2001, "Philips Imaging DD 001", 0x03),
    ):
        value = _first_number(private_value(ds, group, creator, element))
        if value is not None:
            return value - GE_B_VALUE_OFFSET if value >= GE_B_VALUE_OFFSET else value
    return None


def _first_number(value: Any) -> float | None:
    if isinstance(value, bytes):  # private VR unknown: what makers wrote is text
        value = value.decode("ascii", "replace").split("\\")[0].strip(" \0")
    elif value is not None and not isinstance(value, str | int | float):
        value = next(iter(value), None)
    try:
        found = float(value)
    except READ_ERRORS:
        return None
    return round(found, 3) if math.isfinite(found) else None


def gradient(ds: Dataset) -> Value:
    """The diffusion gradient's direction (LPS), ``trace`` for a mean of directions.

    GE's older private attributes give it along the image's axes: that tells frames apart, but is no
    direction in the patient, so it is passed on as words.
    """
    how = str(ds.get("DiffusionDirectionality") or "").upper()
    if how == "ISOTROPIC":
        return "trace"
    if how == "NONE" or b_value(ds) == 0:
        return None
    value: Any = ds.get("DiffusionGradientOrientation")
    if value is None:
        value = private_value(ds, 0x0019, "SIEMENS MR HEADER", 0x0E)
    if value is None:
        parts = [
            _first_number(private_value(ds, 0x0019, "GEMS_ACQU_01", element))
            for element in (0xBB, 0xBC, 0xBD)
        ]
        known = [part for part in parts if part is not None]
        return (
            "along image axes " + " ".join(f"{part:g}" for part in known)
            if len(known) == 3 and any(known)
            else None
        )
    try:
        found = tuple(round(float(v), 2) + 0.0 for v in value)
    except READ_ERRORS:
        return None
    return found if len(found) == 3 and any(found) else None


def moment(ds: Dataset) -> float | None:
    """When the frame was acquired, in seconds on a clock of its own; None if not said."""
    told = _seconds(str(ds.get("AcquisitionDateTime") or ""))
    date, time = str(ds.get("AcquisitionDate") or ""), str(ds.get("AcquisitionTime") or "")
    return told if told is not None else _seconds(f"{date or '20000101'}{time}" if time else "")


def _content_moment(ds: Dataset) -> float | None:
    date, time = str(ds.get("ContentDate") or ""), str(ds.get("ContentTime") or "")
    return _seconds(f"{date or '20000101'}{time}" if time else "")


def _seconds(text: str) -> float | None:
    try:
        value = DT(text.replace(":", "").strip()) if text.strip() else None
    except READ_ERRORS:
        return None
    if value is None:
        return None
    plain = datetime(value.year, value.month, value.day, value.hour, value.minute, value.second)
    elapsed: float = (plain - datetime(2000, 1, 1)).total_seconds()
    return elapsed + float(value.microsecond) / 1e6


def trigger(ds: Dataset) -> float | None:
    """ms after the R wave (some makers: after the first image of a series over time)."""
    nominal = number(ds, "NominalCardiacTriggerDelayTime")
    return number(ds, "TriggerTime") if nominal is None else nominal


def _named(keyword: str) -> Callable[[Dataset], Value]:
    return lambda ds: number(ds, keyword)


def _image_type(ds: Dataset) -> Value:
    return "\\".join(_words(ds, "ImageType")) or None


B_VALUE = Dimension("DiffusionBValue", "s/mm2", b_value)
DIRECTION = Dimension("DiffusionGradientOrientation", "", gradient)
ECHO = Dimension("EchoTime", "ms", _named("EchoTime"))
INVERSION = Dimension("InversionTime", "ms", _named("InversionTime"))
FLIP = Dimension("FlipAngle", "deg", _named("FlipAngle"))
TRIGGER = Dimension("TriggerTime", "ms", trigger, jitters=True)
CYCLE = Dimension(
    "NominalPercentageOfCardiacPhase", "%", _named("NominalPercentageOfCardiacPhase")
)
BREATH = Dimension(
    "NominalPercentageOfRespiratoryPhase", "%", _named("NominalPercentageOfRespiratoryPhase")
)
MOMENT = Dimension("AcquisitionTime", "s", moment, jitters=True, clock=True)
ACQUISITION = Dimension("AcquisitionNumber", "", _named("AcquisitionNumber"))

PHYSICAL: tuple[Dimension, ...] = (
    Dimension("TemporalPositionIndex", "", _named("TemporalPositionIndex")),
    B_VALUE,
    DIRECTION,
    ECHO,
    INVERSION,
    FLIP,
    CYCLE,
    BREATH,
    Dimension("TemporalPositionIdentifier", "", _named("TemporalPositionIdentifier")),
    Dimension("TemporalPositionTimeOffset", "s", _named("TemporalPositionTimeOffset")),
    TRIGGER,
    Dimension("FrameReferenceTime", "ms", _named("FrameReferenceTime")),
    Dimension("ImageType", "", _image_type),
    ACQUISITION,
    MOMENT,
    Dimension("ContentTime", "s", _content_moment, jitters=True, clock=True),
)
"""In the order they are asked; each only where frames still lie at the same place."""


def explicit(headers: Sequence[Dataset]) -> tuple[Dimension, ...]:
    """The dimensions that multi-frame objects declare themselves (DimensionIndexSequence, PS3.3
    C.7.6.17), where all frames declare the same ones; they come before what we look for."""
    declared = {_pointers(ds) for ds in headers}
    if len(declared) != 1:
        return ()
    pointers = declared.pop()
    return tuple(
        Dimension(f"dimension ({pointer >> 16:04X},{pointer & 0xFFFF:04X})", "", _index(place))
        for place, pointer in enumerate(pointers)
    )


def _pointers(ds: Dataset) -> tuple[int, ...]:
    items = ds.get("DimensionIndexSequence") or ()
    return tuple(int(item.get("DimensionIndexPointer") or 0) for item in items)


def _index(place: int) -> Callable[[Dataset], Value]:
    def read(ds: Dataset) -> Value:
        try:
            value = ds.get("DimensionIndexValues")
            values = [value] if isinstance(value, int) else list(value)
            return float(values[place])
        except READ_ERRORS:
            return None

    return read
