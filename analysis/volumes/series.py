"""One DICOM series as trusted volumes: read, split, prove the geometry, give values a unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from pydicom.dataset import Dataset

from analysis.contracts import Notice, Role, SeriesInput
from analysis.errors import InputRefused
from analysis.geometry import Volume
from analysis.hounsfield import HU_UNIT
from analysis.provenance import versions
from analysis.roles import ROLES, facts_of, role_of
from analysis.suv import SUV_UNIT, Suv, native_unit, other_variants, suv_of
from analysis.volumes.dimensions import PLAIN_KINDS
from analysis.volumes.frames import Frame, all_frames, real_world_unit
from analysis.volumes.naming import Setting, settings_of, speaker
from analysis.volumes.reading import (
    NON_IMAGE,
    is_synthetic,
    lossy_text,
    patient_key,
    read_objects,
)
from analysis.volumes.splitting import split
from analysis.volumes.stacking import Stack, stack
from analysis.volumes.straightening import straightened
from analysis.volumes.values import has_rescale, read_values

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
class PlannedVolume:
    """One volume of a series whose geometry is proven; nothing is decoded yet."""

    frames: tuple[Frame, ...]
    """In slice order."""
    stacked: Stack
    setting: Setting
    code: str
    """Of the role catalogue (``analysis.roles``)."""
    key: str
    """The SeriesInstanceUID for the volume that speaks for the series, else with ``#n`` behind."""

    @property
    def first(self) -> Dataset:
        return self.stacked.instances[0]

    @property
    def role(self) -> Role:
        return _coarse(self.code)


@dataclass(frozen=True, eq=False)
class SeriesPlan:
    """What a series holds, in order; ``notices`` name what was left out and why."""

    input: SeriesInput
    volumes: tuple[PlannedVolume, ...]
    notices: tuple[Notice, ...]
    lossy: str


@dataclass(frozen=True, eq=False)
class LoadedVolume:
    """A volume that passed every check. CT is int16 (or float32) HU, PET float32 SUVbw (or its
    own unit, with a notice, when SUV is refused), MR float32 in arbitrary units."""

    volume: Volume
    input: SeriesInput
    key: str
    setting: Setting
    frame_of_reference_uid: str
    """Empty if the images name none: then they share a space with no other series."""
    sop_instance_uids: tuple[str, ...]
    """Source instance of each slice k, the nearest where slices were interpolated."""
    frame_numbers: tuple[int, ...]
    """Frame (from 1) in that instance of each slice k; empty for single-frame instances."""
    role: Role
    code: str
    """Of the role catalogue; ``role`` is its coarse form."""
    label: str
    body_part: str
    notices: tuple[Notice, ...]
    source: dict[str, Any]
    """Evidence: rescale, SUV branch and factor, geometry, library versions. No patient data."""
    synthetic: bool
    lossy: str
    patient_key: str
    header: SeriesHeader


def plan_series(series: SeriesInput) -> SeriesPlan:
    """Read the headers of a series and prove the geometry of each of its volumes.

    A volume that cannot be trusted becomes a notice as long as another one can; else raises
    ``InputRefused`` with a code per reason, see the modules of this package.
    """
    if series.modality not in (*_IMAGE_MODALITIES, *NON_IMAGE):
        raise InputRefused(
            "modality_not_supported",
            f"Images of modality {series.modality or '(not stated)'} are not analysed yet.",
        )
    objects, notices = read_objects(series)
    lossy = next((text for one in objects if (text := lossy_text(one.header))), "")
    parts = split(all_frames(objects))
    order, settings = settings_of(parts)
    stacks: list[tuple[Setting, tuple[Frame, ...], Stack]] = []
    refusals: list[tuple[str, InputRefused]] = []
    for n, setting in zip(order, settings, strict=True):
        try:
            stacked = stack([frame.header for frame in parts[n]])
        except InputRefused as refusal:
            refusals.append((setting.name, refusal))
            continue
        stacks.append((setting, tuple(parts[n][i] for i in stacked.order), stacked))
    if not stacks:
        raise _all_refused(refusals)
    notices += _left_out(refusals)
    codes = [_code(series, stacked.instances[0], setting.kind) for setting, _, stacked in stacks]
    main = speaker(
        [setting for setting, _, _ in stacks],
        [len(frames) for _, frames, _ in stacks],
        series.modality,
        "MR_T2" in codes,
    )
    uid = series.series_instance_uid
    volumes = tuple(
        PlannedVolume(
            frames, stacked, setting, codes[n], uid if n == main else f"{uid}#{setting.number}"
        )
        for n, (setting, frames, stacked) in enumerate(stacks)
    )
    return SeriesPlan(series, volumes, tuple(replace(n, subject=uid) for n in notices), lossy)


def _all_refused(refusals: Sequence[tuple[str, InputRefused]]) -> InputRefused:
    first = refusals[0][1]
    if len(refusals) == 1:
        return first
    return InputRefused(
        first.code,
        f"None of the {len(refusals)} volumes of this series can be used. "
        f"{refusals[0][0]}: {first.message}",
    )


def _left_out(refusals: Sequence[tuple[str, InputRefused]]) -> list[Notice]:
    """One notice per reason, naming the volumes it struck."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, why in refusals:
        reasons.setdefault((why.code, why.message), []).append(name or "A part of the series")
    return [
        Notice(
            code,
            "; ".join(names[:3])
            + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            + f" {'is' if len(names) == 1 else 'are'} left out: {message}",
            "refused",
        )
        for (code, message), names in reasons.items()
    ]


def _code(series: SeriesInput, first: Dataset, kind: str) -> str:
    """The role that the web stored, else what the header says. A phase image, ADC or perfusion
    map is never taken for the CT or T1 it was made from."""
    if kind not in PLAIN_KINDS:
        if str(first.get("Modality")) != "MR":
            return "DERIVED"
        return "MR_ADC" if kind == "ADC" else "MR_OTHER"
    return series.role if series.role in ROLES else role_of(facts_of([first])).code


def _coarse(code: str) -> Role:
    return cast(Role, ROLES[code].coarse)


def load_series(series: SeriesInput) -> LoadedVolume:
    """The volume that speaks for a series; a PET whose SUV is refused is loaded in its own unit.

    Raises ``InputRefused`` as :func:`plan_series` does, and what decoding raises.
    """
    plan = plan_series(series)
    main = next(v for v in plan.volumes if v.key == series.series_instance_uid)
    loaded = load_volume(plan, main)
    return replace(loaded, notices=(*plan.notices, *loaded.notices))


def load_volume(plan: SeriesPlan, planned: PlannedVolume) -> LoadedVolume:
    """Decode one planned volume and give its values a unit. Raises ``InputRefused``."""
    stacked, first = planned.stacked, planned.first
    notices = list(stacked.notices)
    values = read_values(planned.frames)
    notices += values.notices
    unit, factor, evidence, more = _unit(plan, planned)
    notices += more
    array = values.array * factor if factor != 1.0 else values.array
    source: dict[str, Any] = dict(values.evidence) | evidence
    source["slices"] = len(planned.frames)
    source["spacing_mm"] = [round(v, 6) for v in stacked.grid.spacing]
    source["placement_error_mm"] = round(stacked.placement_error_mm, 4)
    source["patient_position"] = _text(first, "PatientPosition")
    if planned.setting.count > 1:
        source["dimensions"] = list(planned.setting.values)
    if planned.frames[0].tile is not None:
        source["mosaic"] = "slices cut from tiles"
    volume, how, more = straightened(
        Volume(array, stacked.grid, unit, plan.input.modality, planned.role), stacked
    )
    source |= how
    notices += more
    if plan.lossy:
        notices.append(
            Notice(
                "lossy",
                f"The images were compressed with loss ({plan.lossy}): fine detail may be altered.",
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
    nearest = [planned.frames[round(float(place))] for place in stacked.places]
    numbers = tuple(f.number for f in nearest)
    uid = plan.input.series_instance_uid
    return LoadedVolume(
        volume=volume,
        input=plan.input,
        key=planned.key,
        setting=planned.setting,
        frame_of_reference_uid=frame,
        sop_instance_uids=tuple(str(f.header.SOPInstanceUID) for f in nearest),
        frame_numbers=numbers if all(numbers) else (),
        role=planned.role,
        code=planned.code,
        label=_label(planned, unit, by_hand="entered" in evidence.get("suv", {})),
        body_part=str(first.get("BodyPartExamined") or "").strip().upper(),
        notices=tuple(replace(n, subject=uid) for n in notices),
        source=source,
        synthetic=any(is_synthetic(ds) for ds in stacked.instances),
        lossy=plan.lossy,
        patient_key=patient_key(first),
        header=_header(first),
    )


def _label(planned: PlannedVolume, unit: str, *, by_hand: bool = False) -> str:
    """Role and what sets the volume apart: ``DWI b 1000``, ``CT phase 3 of 20, 40.0 s``.

    ``by_hand``: the SUV stands on a value that a person entered, which its name then says."""
    setting, named = planned.setting, ROLES[planned.code].layer
    if planned.role == "PET" and unit != SUV_UNIT:
        named = named.replace(" (SUVbw)", "")
    elif by_hand:
        named = named.replace("(SUVbw)", "(SUVbw by entered value)")
    if planned.role in ("MR", "OTHER"):
        if setting.kind not in PLAIN_KINDS and setting.kind not in ("phase", "real", "imaginary"):
            named = ""  # the kind says more than the modality
        elif setting.diffusion:
            named = "DWI"
    name = setting.name if setting.count > 1 else setting.kind
    if not named and not name.startswith(setting.kind):
        name = f"{setting.kind} {name}"
    return f"{named} {name}".strip()


def _unit(
    plan: SeriesPlan, planned: PlannedVolume
) -> tuple[str, float, dict[str, Any], tuple[Notice, ...]]:
    """The unit, the factor to reach it, evidence, notices."""
    first = planned.first
    modality = str(first.Modality)
    if modality == "PT":
        return _pet_unit(plan, planned)
    if modality != "CT":
        return ARBITRARY_UNIT, 1.0, {}, ()
    kind = str(first.get("RescaleType") or "HU").strip().upper()
    told = real_world_unit(first)
    if planned.setting.kind not in ("", "MIP", "MinIP"):
        reason = f"the images show {planned.setting.kind}, not density"
    elif told not in ("", HU_UNIT, "1"):
        reason = f"the values are in {told}"
    elif kind not in ("HU", "US"):
        reason = f"the values are of type {kind}"
    elif not has_rescale(planned.stacked.instances):
        reason = "no rescale is given"
    else:
        return HU_UNIT, 1.0, {}, ()
    notice = Notice(
        "ct_no_hu",
        f"HU refused: {reason}. The images are shown; no density is measured on them.",
        "refused",
    )
    return ARBITRARY_UNIT, 1.0, {"hu_refused": reason}, (notice,)


def _pet_unit(
    plan: SeriesPlan, planned: PlannedVolume
) -> tuple[str, float, dict[str, Any], tuple[Notice, ...]]:
    # Decay is corrected to the start of the series, so the frames of all its volumes tell it.
    instances = [ds for volume in plan.volumes for ds in volume.stacked.instances]
    try:
        suv: Suv = suv_of(instances, entered=plan.input.entered)
    except InputRefused as refusal:
        units = str(planned.first.get("Units") or "").strip().upper()
        notice = Notice(
            refusal.code, f"SUV refused: {refusal.message} The images are shown without SUV.",
            "refused",
        )  # fmt: skip
        evidence = {"suv_refused": refusal.code, "units": units}
        return native_unit(instances) or ARBITRARY_UNIT, 1.0, evidence, (notice,)
    found: dict[str, Any] = {"suv": {"branch": suv.branch, "factor": suv.factor, **suv.evidence}}
    found["suv"]["variants"] = other_variants(instances, suv, plan.input.entered)
    return suv.unit, suv.factor, found, suv.notices


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
