"""A reader's "refine from here": one series registered again from an alignment that is given.

Outside the steps of a run, and never over what a run computed: its files lie in a folder of their
own, and whether the result is used is the reader's decision.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from analysis.contracts import DEFORMED, RefineRequest, RefineResult, to_json
from analysis.deformed_layers import write_deformed
from analysis.errors import InputRefused
from analysis.files import whole_file
from analysis.geometry import Volume
from analysis.progress import Progress
from analysis.registration import register_series
from analysis.registration.cache import CachedDeform, CachedRegister, Contents
from analysis.registration.deformable import (
    DEFORMABLE_VERSION,
    METHOD,
    deform_series,
    stored,
)
from analysis.registration.preparation import NothingToCompare
from analysis.volume_store import read_volume

RESULT = "result.json"
FIELD = "field.npz"
NO_GAIN = "the images match no better bent than unbent"
DEFORMING = 0.9
"""Share of the progress until the deformed volume is resampled."""


def refine(request: RefineRequest, progress: Progress) -> RefineResult:
    """Do it, store ``result.json`` last and atomically, and return it.

    Started again, it begins with an empty folder. Raises :class:`analysis.errors.AnalysisError`; a
    registration that cannot be trusted is no error but a record with the verdict ``refused``.
    """
    run_dir = Path(request.run_dir)
    folder = run_dir / request.folder
    (folder / RESULT).unlink(missing_ok=True)  # first: a half-done result must not look done
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    progress(0.0, "Reading the volumes")
    cache, contents = Path(request.cache_dir) if request.cache_dir else None, Contents()
    moving = contents.know(read_volume(run_dir, request.moving), request.moving)
    reference = contents.know(read_volume(run_dir, request.reference), request.reference)
    if request.model == "deformable":
        deform = CachedDeform(cache, deform_series, DEFORMABLE_VERSION, contents)
        result = _deform(request, deform, moving, reference, folder, progress)
    else:
        record = CachedRegister(cache, register_series, contents)(
            moving,
            reference,
            moving_uid=request.moving.series_instance_uid,
            reference_uid=request.reference.series_instance_uid,
            same_frame=False,  # the reader asks for the alignment to be moved, same frame or not
            seed=request.seed,
            threads=request.threads,
            progress=progress,
            model=request.model,
            start=request.start.matrix,
        )
        result = RefineResult(record)
    with whole_file(folder / RESULT) as file:
        file.write(to_json(result))
    progress(1.0, "Done")
    return result


def _deform(
    request: RefineRequest,
    deform: CachedDeform,
    moving: Volume,
    reference: Volume,
    folder: Path,
    progress: Progress,
) -> RefineResult:
    try:
        record, deformation = deform(
            moving,
            reference,
            request.start,
            seed=request.seed,
            threads=request.threads,
            device=request.device,
            progress=lambda share, text: progress(DEFORMING * share, text),
        )
    except NothingToCompare as error:
        raise InputRefused("nothing_to_compare", f"Not deformed: {error}.") from error
    if record.model != "deformable":
        # The start as it came: there is nothing new that could be accepted.
        nothing = replace(
            record, verdict="refused", state="not_registered", method=METHOD,
            version=DEFORMABLE_VERSION, reasons=(NO_GAIN,), model="deformable",
        )  # fmt: skip
        return RefineResult(nothing)
    if record.verdict == "refused":
        return RefineResult(record)
    progress(DEFORMING, "Drawing the deformed image")
    record = stored(record, deformation, Path(request.run_dir), folder / FIELD)
    deformed = write_deformed(
        folder / "deformed.rfv", moving, request.moving, deformation,
        reference=reference.grid,
        frame_of_reference_uid=request.reference.frame_of_reference_uid,
        run_dir=Path(request.run_dir),
        key=f"{DEFORMED}{folder.name}",
    )  # fmt: skip
    return RefineResult(record, deformed)
