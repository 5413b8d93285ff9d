"""One DICOM series as a trusted volume: read, prove the geometry, give the values a unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydicom.dataset import Dataset

from analysis.contracts import Notice, Role, SeriesInput
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.provenance import versions
from analysis.suv import NATIVE_UNITS, SUV_UNIT, Suv, suv_of
from analysis.volumes.reading import (
    NON_IMAGE,
    is_synthetic,
    lossy_text,
    patient_key,
    read_instances,
)
from analysis.volumes.roles import LABELS, role_of
from analysis.volumes.stacking import Stack, stack, untilt
from analysis.volumes.values import AIR_HU, has_rescale, read_values

HU_UNIT = "[hnsf'U]"
ARBITRARY_UNIT = "1"

_IMAGE_MODALITIES = ("CT", "PT", "MR")


@dataclass(frozen=True)
class SeriesHeader:
    """Facts of the series that say nothing about who the patient is."""

    manufacturer: str
    model: str
    slice_thickness_mm: float | None
    body_part: str
    tracer: str
    contrast: bool
    field_strength_t: float | None
    repetition_time_ms: float | None
    echo_time_ms: float | None
    inversion_time_ms: float | None
    convolution_kernel: str


@dataclass(frozen=True, eq=False)
class LoadedSeries:
    """A series that passed every check. CT is int16 (or float32) HU, PET float32 SUVbw (or its
    own unit, with a notice, when SUV is refused), MR float32 in arbitrary units."""

    volume: Volume
    input: SeriesInput
    frame_of_reference_uid: str
    """Empty if the images name none: then they share a space with no other series."""
    sop_instance_uids: tuple[str, ...]
    """Source instance of each slice k."""
    role: Role
    label: str
    body_part: str
    notices: tuple[Notice, ...]
    source: dict[str, Any]
    """Evidence: rescale, SUV branch and factor, geometry, library versions. No patient data."""
    synthetic: bool
    lossy: str
    patient_key: str
    header: SeriesHeader


def load_series(series: SeriesInput) -> LoadedSeries:
    """Read one series. Raises ``InputRefused`` with a code per reason, see the modules of this
    package; a PET whose SUV is refused is still loaded, in its own unit."""
    if series.modality not in (*_IMAGE_MODALITIES, *NON_IMAGE):
        raise InputRefused(
            "modality_not_supported",
            f"Images of modality {series.modality or '(not stated)'} are not analysed yet.",
        )
    instances, notices = read_instances(series)
    stacked = stack(instances)
    notices += stacked.notices
    first = stacked.instances[0]
    role = role_of(first)
    # Header facts before decoding, which drops the pixel bytes slice by slice.
    lossy = next((text for ds in instances if (text := lossy_text(ds))), "")
    values = read_values(stacked.instances)
    notices += values.notices
    unit, factor, evidence, more = _unit(stacked)
    notices += more
    array = values.array * factor if factor != 1.0 else values.array
    grid = stacked.grid
    source: dict[str, Any] = dict(values.evidence) | evidence
    source["slices"] = len(stacked.instances)
    source["spacing_mm"] = [round(v, 6) for v in grid.spacing]
    if stacked.tilt_degrees:
        array, grid = untilt(array, grid, AIR_HU if unit == HU_UNIT else 0.0)
        source["tilt_degrees"] = round(stacked.tilt_degrees, 3)
        source["resampled"] = "slices shifted within their planes, linear"
        notices.append(
            Notice(
                "gantry_tilt",
                f"The slices are stacked at {stacked.tilt_degrees:.1f} degrees (gantry tilt); "
                "they were shifted within their planes to an upright volume.",
                "info",
            )
        )
    if lossy:
        notices.append(
            Notice(
                "lossy",
                f"The images were compressed with loss ({lossy}): fine detail may be altered.",
            )
        )
    frame = str(first.get("FrameOfReferenceUID") or "")
    if not frame:
        notices.append(
            Notice(
                "no_frame_of_reference",
                "The images name no frame of reference: their place relative to other series is "
                "known only after registration.",
            )
        )
    source["libraries"] = versions("pydicom", "numpy", "pylibjpeg")
    label = LABELS[role] if unit != NATIVE_UNITS.get(str(first.get("Units") or "")) else "PET"
    return LoadedSeries(
        volume=Volume(array, grid, unit, series.modality, role),
        input=series,
        frame_of_reference_uid=frame,
        sop_instance_uids=tuple(str(ds.SOPInstanceUID) for ds in stacked.instances),
        role=role,
        label=label,
        body_part=str(first.get("BodyPartExamined") or "").strip().upper(),
        notices=tuple(replace(n, subject=series.series_instance_uid) for n in notices),
        source=source,
        synthetic=any(is_synthetic(ds) for ds in stacked.instances),
        lossy=lossy,
        patient_key=patient_key(first),
        header=_header(first),
    )


def _unit(stacked: Stack) -> tuple[str, float, dict[str, Any], tuple[Notice, ...]]:
    """The unit, the factor to reach it, evidence, notices."""
    first = stacked.instances[0]
    modality = str(first.Modality)
    if modality == "PT":
        return _pet_unit(stacked)
    if modality != "CT":
        return ARBITRARY_UNIT, 1.0, {}, ()
    kind = str(first.get("RescaleType") or "HU").strip().upper()
    if has_rescale(stacked.instances) and kind in ("HU", "US"):
        return HU_UNIT, 1.0, {}, ()
    reason = f"the values are of type {kind}" if kind not in ("HU", "US") else "no rescale is given"
    notice = Notice(
        "ct_no_hu",
        f"HU refused: {reason}. The images are shown; no density is measured on them.",
        "refused",
    )
    return ARBITRARY_UNIT, 1.0, {"hu_refused": reason}, (notice,)


def _pet_unit(stacked: Stack) -> tuple[str, float, dict[str, Any], tuple[Notice, ...]]:
    try:
        suv: Suv = suv_of(stacked.instances)
    except InputRefused as refusal:
        units = str(stacked.instances[0].get("Units") or "").strip().upper()
        notice = Notice(
            refusal.code, f"SUV refused: {refusal.message} The images are shown without SUV.",
            "refused",
        )  # fmt: skip
        evidence = {"suv_refused": refusal.code, "units": units}
        return NATIVE_UNITS.get(units, ARBITRARY_UNIT), 1.0, evidence, (notice,)
    found: dict[str, Any] = {"suv": {"branch": suv.branch, "factor": suv.factor, **suv.evidence}}
    return SUV_UNIT, suv.factor, found, suv.notices


def _header(ds: Dataset) -> SeriesHeader:
    drug = (ds.get("RadiopharmaceuticalInformationSequence") or [Dataset()])[0]
    return SeriesHeader(
        manufacturer=_text(ds, "Manufacturer"),
        model=_text(ds, "ManufacturerModelName"),
        slice_thickness_mm=_float(ds, "SliceThickness"),
        body_part=_text(ds, "BodyPartExamined"),
        tracer=_text(drug, "Radiopharmaceutical"),
        contrast=bool(_text(ds, "ContrastBolusAgent")),
        field_strength_t=_float(ds, "MagneticFieldStrength"),
        repetition_time_ms=_float(ds, "RepetitionTime"),
        echo_time_ms=_float(ds, "EchoTime"),
        inversion_time_ms=_float(ds, "InversionTime"),
        convolution_kernel=_text(ds, "ConvolutionKernel"),
    )


def _text(ds: Dataset, keyword: str) -> str:
    return str(ds.get(keyword) or "").strip()


def _float(ds: Dataset, keyword: str) -> float | None:
    try:
        return float(ds.get(keyword))
    except (TypeError, ValueError):
        return None
