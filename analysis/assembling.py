"""The first step of a run: series to stored volumes, contours, pathway and reference.

A series that cannot be trusted becomes a notice and the case goes on with the rest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from analysis.contracts import (
    AssembleResult,
    Notice,
    OutlineRecord,
    SeriesInput,
    StepRequest,
    VolumeRecord,
)
from analysis.errors import InputRefused
from analysis.outlines import read_outlines
from analysis.pathways.choice import SeriesFacts, choose
from analysis.pathways.content import body_air
from analysis.volume_store import write_volume
from analysis.volumes import LoadedSeries, load_series

Progress = Callable[[float, str], None]

CHANNELS_FILE = "channels.json"
"""Which series speaks for each role; the others of that role stay as layers."""


def _facts(loaded: LoadedSeries) -> SeriesFacts:
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
    )


def _load_all(
    series: Sequence[SeriesInput], progress: Progress
) -> tuple[list[LoadedSeries], list[OutlineRecord], list[Notice]]:
    loaded: list[LoadedSeries] = []
    outlines: list[OutlineRecord] = []
    notices: list[Notice] = []
    for done, item in enumerate(sorted(series, key=lambda s: s.series_instance_uid)):
        progress(0.6 * done / len(series), f"reading {item.modality}")
        try:
            if item.modality == "RTSTRUCT":
                outlines += read_outlines(item.paths)
            else:
                one = load_series(item)
                loaded.append(one)
                notices += one.notices
        except InputRefused as refusal:
            notices.append(
                Notice(refusal.code, refusal.message, "refused", item.series_instance_uid)
            )
    return loaded, outlines, notices


def assemble(request: StepRequest, folder: Path, progress: Progress) -> AssembleResult:
    """Read, check and store every series of the request below ``folder``.

    Raises ``InputRefused`` (``no_usable_series``, ``several_patients``).
    """
    loaded, outlines, notices = _load_all(request.series, progress)
    if not loaded:
        reasons = " ".join(n.message for n in notices if n.severity == "refused")
        raise InputRefused("no_usable_series", f"No series of this case can be used. {reasons}")
    if len({one.patient_key for one in loaded}) > 1:
        raise InputRefused(
            "several_patients",
            "The series belong to different patients and are not analysed together. "
            "Send each patient as a case of its own.",
        )
    progress(0.6, "choosing the pathway")
    choice = choose([_facts(one) for one in loaded])
    (folder / CHANNELS_FILE).write_text(json.dumps(choice.channels, sort_keys=True))
    records = []
    for done, one in enumerate(loaded):
        progress(0.65 + 0.35 * done / len(loaded), f"storing {one.label}")
        records.append(_store(one, folder, Path(request.run_dir)))
    return AssembleResult(
        pathway=choice.pathway,
        pathway_reason=choice.reason,
        reference_series_uid=choice.reference_uid,
        volumes=tuple(records),
        outlines=tuple(outlines),
        notices=tuple(notices),
    )


def _store(one: LoadedSeries, folder: Path, run_dir: Path) -> VolumeRecord:
    uid = one.input.series_instance_uid
    name = hashlib.sha256(uid.encode()).hexdigest()[:16]
    return write_volume(
        folder / f"{name}.rfv",
        one.volume,
        run_dir=run_dir,
        key=uid,
        label=one.label,
        role=one.role,
        series_instance_uid=uid,
        frame_of_reference_uid=one.frame_of_reference_uid,
        sop_instance_uids=one.sop_instance_uids,
        source={**one.source, "header": asdict(one.header)},
        synthetic=one.synthetic,
        lossy=one.lossy,
    )
