"""Any image object as single frames with classic headers.

A classic instance is one frame. An enhanced multi-frame object (PS3.3 C.7.6.16) is as many as it
says, each with what its shared and per-frame functional groups say of it, put under the keywords
that classic instances use; a mosaic is as many as it has tiles. What follows (stacking, values,
SUV, roles) sees no difference.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
from pydicom.dataset import Dataset

from analysis.errors import InputRefused
from analysis.volumes.damage import READ_ERRORS
from analysis.volumes.mosaic import is_mosaic, tiles_of
from analysis.volumes.pixels import PixelSource
from analysis.volumes.reading import ImageObject

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

GROUPS: tuple[str, ...] = (
    "UnassignedSharedConvertedAttributesSequence",  # least specific first: later ones win
    "UnassignedPerFrameConvertedAttributesSequence",
    "CTReconstructionSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "CardiacSynchronizationSequence",
    "RespiratorySynchronizationSequence",
    "TemporalPositionSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "FrameContentSequence",
    "CTImageFrameTypeSequence",
    "MRImageFrameTypeSequence",
    "PETFrameTypeSequence",
)
"""Functional group macros whose attributes are put beside those of the object."""

CLASSIC: dict[str, str] = {
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameType": "ImageType",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "ReconstructionAlgorithm": "",
}
"""Attributes of functional groups that classic instances call otherwise (empty: left out)."""

PET_UNITS: dict[str, str] = {
    "Bq/ml": "BQML",
    "Bq/mL": "BQML",
    "{SUVbw}g/ml": "GML",
    "g/ml{SUVbw}": "GML",
    "g/ml": "GML",
}
"""Units of an enhanced PET's real world value map (UCUM, CID 84/85) as classic Units."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One plane: its header in classic keywords, and where its pixels are."""

    header: Dataset
    pixels: PixelSource
    index: int = 0
    """Of the frame in its object, from 0."""
    number: int = 0
    """DICOM frame number (from 1); 0 where the object holds one frame, or a mosaic."""
    tile: tuple[int, int] | None = None
    """(row, column) of a mosaic tile's first pixel."""

    def cut(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """This frame's pixels out of a decoded frame of its object."""
        if self.tile is None:
            return stored
        row, column = self.tile
        rows, columns = int(self.header.Rows), int(self.header.Columns)
        return stored[row : row + rows, column : column + columns]


def frames_of(one: ImageObject) -> list[Frame]:
    """The frames of one object, in its own order.

    Raises ``InputRefused``: ``enhanced_multiframe`` (frames without description), ``mosaic``.
    """
    if is_mosaic(one.header):
        return [
            Frame(header, one.pixels, tile=place) for header, place in tiles_of(one.header)
        ]
    if one.pixels.frames == 1 and _SHARED not in one.header:
        return [Frame(one.header, one.pixels)]
    groups = list(one.header.get(_PER_FRAME) or ())
    if len(groups) != one.pixels.frames:
        raise InputRefused(
            "enhanced_multiframe",
            f"A multi-frame object holds {one.pixels.frames} frames and describes {len(groups)}: "
            "it does not say where its frames lie, so they are not read as a volume.",
        )
    shared = (one.header.get(_SHARED) or [Dataset()])[0]
    base = _base(one.header, shared)
    return [
        Frame(_classic(base, shared, group), one.pixels, index, index + 1)
        for index, group in enumerate(groups)
    ]


def _base(header: Dataset, shared: Dataset) -> dict[Any, Any]:
    """What all frames have in common, with the object-level attributes that have other names."""
    common = Dataset(dict(header.items()))
    for keyword in (_SHARED, _PER_FRAME):
        if keyword in common:
            del common[keyword]
    _contrast(common, shared)
    _anatomy(common, shared)
    if str(common.get("Modality")) == "PT":
        _pet(common)
    return dict(common.items())


def _classic(base: dict[Any, Any], shared: Dataset, group: Dataset) -> Dataset:
    own = Dataset()
    for name in GROUPS:
        for item in (*_items(shared, name), *_items(group, name)):
            for element in item:
                if element.VR != "SQ":
                    _put(own, element)
            for direction in _items(item, "DiffusionGradientDirectionSequence"):
                for element in direction:
                    _put(own, element)
    for mapping in (*_items(shared, "RealWorldValueMappingSequence"),
                    *_items(group, "RealWorldValueMappingSequence")):
        own.RealWorldValueMappingSequence = [mapping]
    if str(Dataset(base).get("Modality")) == "PT" and "Units" not in own:
        unit = real_world_unit(own)
        if unit in PET_UNITS:
            own.Units = PET_UNITS[unit]
    # One copy of the common part for all frames: what a frame says itself comes first.
    return Dataset(ChainMap(dict(own.items()), base))


def _put(own: Dataset, element: Any) -> None:
    keyword = CLASSIC.get(element.keyword, element.keyword)
    if element.tag.is_private or element.value is None:
        own.add(element)
    elif keyword and keyword != element.keyword:
        value = element.value
        if keyword == "InversionTime" and not isinstance(value, str | int | float):
            value = next(iter(value), None)
        setattr(own, keyword, value)
    elif keyword:
        own.add(element)


def _items(ds: Dataset, keyword: str) -> Iterator[Dataset]:
    yield from list(ds.get(keyword) or ())[:1]


def real_world_unit(ds: Dataset) -> str:
    """The unit that a frame's real world value mapping gives, if it is in use; else empty."""
    for mapping in _items(ds, "RealWorldValueMappingSequence"):
        for code in _items(mapping, "MeasurementUnitsCodeSequence"):
            return str(code.get("CodeValue") or "")
    return ""


def _contrast(common: Dataset, shared: Dataset) -> None:
    """ContrastBolusAgent, where the object names an agent and does not say it was not given."""
    if common.get("ContrastBolusAgent"):
        return
    usage = next(_items(shared, "ContrastBolusUsageSequence"), Dataset())
    if str(usage.get("ContrastBolusAgentAdministered") or "YES").upper() == "NO":
        return
    for agent in _items(common, "ContrastBolusAgentSequence"):
        common.ContrastBolusAgent = str(agent.get("CodeMeaning") or "")[:64]


def _anatomy(common: Dataset, shared: Dataset) -> None:
    if common.get("BodyPartExamined"):
        return
    for anatomy in _items(shared, "FrameAnatomySequence"):
        for region in _items(anatomy, "AnatomicRegionSequence"):
            common.BodyPartExamined = str(region.get("CodeMeaning") or "")[:16].upper()


def _pet(common: Dataset) -> None:
    """Enhanced PET (PS3.3 C.8.22) states its corrections one by one and names the moment that
    pixels are decay-corrected to; classic PET lists the corrections and means the series' start."""
    if "CorrectedImage" not in common:
        done = {
            "DECY": "DecayCorrected", "ATTN": "AttenuationCorrected", "SCAT": "ScatterCorrected",
        }  # fmt: skip
        common.CorrectedImage = [
            code for code, keyword in done.items() if str(common.get(keyword)) == "YES"
        ]
    moment = str(common.get("DecayCorrectionDateTime") or "")
    if "DecayCorrection" in common or len(moment) < 14:
        return
    common.DecayCorrection = "START"
    for keyword in ("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime"):
        if keyword in common:
            del common[keyword]  # shared with the object's header: replaced, not changed
    common.SeriesDate, common.SeriesTime = moment[:8], moment[8:].split("+")[0].split("-")[0]
    common.AcquisitionDate, common.AcquisitionTime = common.SeriesDate, common.SeriesTime


def all_frames(objects: Sequence[ImageObject]) -> list[Frame]:
    """The frames of every object of a series."""
    try:
        return [frame for one in objects for frame in frames_of(one)]
    except READ_ERRORS as error:
        raise InputRefused(
            "unreadable_file", "A multi-frame object of this series is damaged and cannot be read."
        ) from error
