"""The first step of a run: series to stored volumes, contours, pathway and reference.

A series that cannot be trusted becomes a notice and the case goes on with the rest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from analysis.contracts import (
    AssembleResult,
    Notice,
    OutlineRecord,
    StepRequest,
    VolumeRecord,
)
from analysis.errors import InputRefused
from analysis.outlines import read_outlines
from analysis.pathways.choice import SeriesFacts, choose
from analysis.pathways.content import body_air
from analysis.progress import Progress
from analysis.roles import ROLES
from analysis.volume_store import write_volume
from analysis.volumes import LoadedVolume, SeriesPlan, load_volume, plan_series

REGISTRATION_OBJECT = "REG"
CHANNELS_FILE = "channels.json"
"""Which series speaks for each role; the others of that role stay as layers."""


def _facts(loaded: LoadedVolume) -> SeriesFacts:
    grid = loaded.volume.grid
    air = body_air(loaded.volume) if loaded.role == "CT" else None
    voxels = int(np.prod(grid.shape))
    return SeriesFacts(
        uid=loaded.input.series_instance_uid,
        role=loaded.role,
        body_part=loaded.body_part,
        description=loaded.input.description,
        coverage_ml=round(voxels * grid.voxel_volume_ml, 3),
        slice_spacing_mm=round(grid.spacing[2], 4),
        voxels=voxels,
        lossy=bool(loaded.lossy),
        lung_fraction=air.lung_fraction if air else None,
        lung_ml=air.lung_ml if air else None,
        fusion=ROLES[loaded.code].fusion,
    )


@dataclass
class _Assembled:
    """What the series of a case have given so far; voxels are stored as soon as they are read, so
    memory is bounded by one volume however many a series holds."""

    records: list[VolumeRecord] = field(default_factory=list)
    facts: list[SeriesFacts] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    outlines: list[OutlineRecord] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


def assemble(request: StepRequest, folder: Path, progress: Progress) -> AssembleResult:
    """Read, check and store every series of the request below ``folder``.

    Raises ``InputRefused`` (``no_usable_series``, ``several_patients``).
    """
    found = _Assembled()
    # Registration objects are read by the step that needs them: register.
    listed = [item for item in request.series if item.modality != REGISTRATION_OBJECT]
    series = sorted(listed, key=lambda s: s.series_instance_uid)
    for done, item in enumerate(series):

        def show(part: float, text: str, done: int = done) -> None:
            progress(0.95 * (done + part) / len(series), text)

        show(0.0, f"reading {item.modality}")
        try:
            if item.modality == "RTSTRUCT":
                found.outlines += read_outlines(item.paths)
            else:
                _assemble_series(plan_series(item), found, folder, Path(request.run_dir), show)
        except InputRefused as refusal:
            found.notices.append(
                Notice(refusal.code, refusal.message, "refused", item.series_instance_uid)
            )
    notices = tuple(dict.fromkeys(found.notices))
    if not found.facts:
        reasons = " ".join(n.message for n in notices if n.severity == "refused")
        raise InputRefused("no_usable_series", f"No series of this case can be used. {reasons}")
    if len(found.patients) > 1:
        raise InputRefused(
            "several_patients",
            "The series belong to different patients and are not analysed together. "
            "Send each patient as a case of its own.",
        )
    progress(0.95, "choosing the pathway")
    # A prior is there for comparison: it is neither the reference nor a channel of a network.
    current = {item.series_instance_uid for item in listed if not item.prior}
    choice = choose([facts for facts in found.facts if facts.uid in current] or found.facts)
    (folder / CHANNELS_FILE).write_text(json.dumps(choice.channels, sort_keys=True))
    return AssembleResult(
        pathway=choice.pathway,
        pathway_reason=choice.reason,
        reference_series_uid=choice.reference_uid,
        volumes=tuple(found.records),
        outlines=tuple(found.outlines),
        notices=notices,
    )


def _assemble_series(
    plan: SeriesPlan, found: _Assembled, folder: Path, run_dir: Path, show: Progress
) -> None:
    """Store the volumes of one series. The one that speaks for it is read first: without it the
    series is refused; a sibling that fails becomes a notice."""
    uid = plan.input.series_instance_uid
    records: list[VolumeRecord] = []
    found.notices += plan.notices
    for done, planned in enumerate(sorted(plan.volumes, key=lambda v: v.key != uid)):
        try:
            one = load_volume(plan, planned)
        except InputRefused as refusal:
            if planned.key == uid:
                raise
            message = f"{planned.setting.name} is left out: {refusal.message}"
            found.notices.append(Notice(refusal.code, message, "refused", uid))
            continue
        show((done + 0.5) / len(plan.volumes), f"storing {one.label}")
        found.notices += one.notices
        if planned.key == uid:
            found.facts.append(_facts(one))
            found.patients.add(one.patient_key)
        records.append(_store(one, folder, run_dir))
    found.records += sorted(records, key=lambda r: r.number)


def _store(one: LoadedVolume, folder: Path, run_dir: Path) -> VolumeRecord:
    name = hashlib.sha256(one.key.encode()).hexdigest()[:16]
    earlier = f" (prior {one.input.study_date})".replace(" )", ")") if one.input.prior else ""
    record = write_volume(
        folder / f"{name}.rfv",
        one.volume,
        run_dir=run_dir,
        key=one.key,
        label=f"{one.label}{earlier}",
        role=one.role,
        series_instance_uid=one.input.series_instance_uid,
        frame_of_reference_uid=one.frame_of_reference_uid,
        sop_instance_uids=one.sop_instance_uids,
        frame_numbers=one.frame_numbers,
        number=one.setting.number,
        count=one.setting.count,
        setting=one.setting.name,
        source={**one.source, "header": asdict(one.header)},
        synthetic=one.synthetic,
        lossy=one.lossy,
    )
    return replace(record, prior=one.input.prior, study_date=one.input.study_date)
