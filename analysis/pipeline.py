"""One run of a case, step by step: assemble, register, infer, measure, draft.

Each step reads the results of those before it from ``run_dir``, writes its own files below
``run_dir/<step>/`` and, last and atomically, ``run_dir/<step>/result.json``. A step that is run
again starts from an empty folder and, for the same input, seed and machine type, ends in the same
result. Nothing here knows a queue or a database.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import SimpleITK as sitk

from analysis.assembling import CHANNELS_FILE, assemble
from analysis.contracts import (
    RESULT_TYPES,
    AssembleResult,
    DraftResult,
    FindingRecord,
    FusionState,
    InferResult,
    Matrix,
    MeasureResult,
    Notice,
    RegisterResult,
    RegistrationRecord,
    Role,
    StepName,
    StepRequest,
    StepResult,
    VolumeRecord,
    from_json,
    to_json,
)
from analysis.drafting.draft import draft_report
from analysis.errors import ModelError, StepFailed
from analysis.files import whole_file
from analysis.findings.case import CaseImages, Layer
from analysis.findings.measure import measure_case
from analysis.fusion import FusionOutput
from analysis.fusion import infer as run_networks
from analysis.geometry import Volume
from analysis.progress import Progress
from analysis.registering import register
from analysis.volume_store import read_volume, write_volume

R = TypeVar("R", bound=StepResult)

FUSED_STATES: frozenset[FusionState] = frozenset({"reference", "same_frame", "registered"})


def result_path(step: StepName) -> str:
    """Where a step's result lies, relative to ``run_dir``."""
    return f"{step}/result.json"


def read_result(run_dir: str | Path, kind: type[R]) -> R:
    """The stored result of an earlier step; raises ``StepFailed`` when it is not there."""
    step = next(name for name, result in RESULT_TYPES.items() if result is kind)
    path = Path(run_dir) / step / "result.json"
    try:
        return from_json(kind, path.read_bytes())
    except FileNotFoundError:
        raise StepFailed(
            "step_missing", f"The step '{step}' has to be done first; its result is not there."
        ) from None


def run_step(request: StepRequest, progress: Progress) -> StepResult:
    """Do one step and store its result. Raises :class:`analysis.errors.AnalysisError`."""
    folder = Path(request.run_dir) / request.step
    (folder / "result.json").unlink(missing_ok=True)  # first: a half-done step must not look done
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(max(1, request.threads))
    progress(0.0, request.step)
    result = _STEPS[request.step](request, folder, progress)
    with whole_file(folder / "result.json") as file:
        file.write(to_json(result))
    progress(1.0, request.step)
    return result


# --- register -----------------------------------------------------------------------------------


def _record_of(assembled: AssembleResult, uid: str) -> VolumeRecord:
    """The volume that speaks for a series."""
    return next(v for v in assembled.volumes if v.key == uid)


def _speakers(assembled: AssembleResult) -> list[VolumeRecord]:
    """One volume per series: siblings (b-values, phases) share its space and registration."""
    return [v for v in assembled.volumes if v.speaks]


def _register(request: StepRequest, folder: Path, progress: Progress) -> RegisterResult:
    return register(request, folder, progress, read_result(request.run_dir, AssembleResult))


def is_fused(registration: RegistrationRecord) -> bool:
    """Whether networks and measurements may use the series in the reference space.

    A doubtful alignment is used by nobody until a reader accepts it, same frame or not.
    """
    return registration.state in FUSED_STATES and registration.verdict == "usable"


# --- infer --------------------------------------------------------------------------------------

OUTPUTS_FILE = "outputs.json"
"""VolumeRecords of every output map of the network, for the measure step."""


def _infer(request: StepRequest, folder: Path, progress: Progress) -> InferResult:
    assembled = read_result(request.run_dir, AssembleResult)
    registered = {
        r.series_instance_uid: r
        for r in read_result(request.run_dir, RegisterResult).registrations
    }
    notices: list[Notice] = []
    if assembled.pathway == "general":
        notice = Notice(
            "no_model_for_pathway",
            "No network is fitted to the general pathway; there is no probability map.",
            "info",
        )
        return InferResult(None, None, None, None, "", (notice,))
    uids: dict[Role, str] = json.loads(
        (folder.parent / "assemble" / CHANNELS_FILE).read_text(encoding="utf-8")
    )
    chosen = {role: _record_of(assembled, uid) for role, uid in uids.items()}
    channels: dict[Role, tuple[Volume, Matrix]] = {}
    for role, record in chosen.items():
        registration = registered[record.series_instance_uid]
        if is_fused(registration):
            channels[role] = (read_volume(Path(request.run_dir), record), registration.matrix)
        else:
            notices.append(
                Notice(
                    "channel_left_out",
                    f"{record.label} is not registered well enough and was not given to the "
                    "network.",
                    "warning",
                    record.series_instance_uid,
                )
            )
    reference = read_volume(
        Path(request.run_dir), _record_of(assembled, assembled.reference_series_uid)
    )
    try:
        output = run_networks(
            assembled.pathway,
            channels,
            reference.grid,
            models_dir=request.models_dir,
            device=request.device,
            threads=request.threads,
            progress=progress,
        )
    except ModelError as error:
        notices.append(Notice(error.code, error.message, "warning"))
        return InferResult(None, None, None, None, "", tuple(notices))
    return _store_outputs(request, folder, output, assembled, notices)


def _store_outputs(
    request: StepRequest,
    folder: Path,
    output: FusionOutput,
    assembled: AssembleResult,
    notices: list[Notice],
) -> InferResult:
    run_dir = Path(request.run_dir)
    frame = _record_of(assembled, assembled.reference_series_uid).frame_of_reference_uid
    source = {"model": output.model.name, "version": output.model.version}
    synthetic = any(v.synthetic for v in assembled.volumes)

    def store(key: str, volume: Volume) -> VolumeRecord:
        return write_volume(
            folder / f"{key}.rfv",
            volume,
            run_dir=run_dir,
            key=key,
            label=f"AI: {key}",
            quantise="probability",
            frame_of_reference_uid=frame,
            window=(1.0, 0.5),
            source=source,
            synthetic=synthetic,
        )

    records = {name: store(name, volume) for name, volume in output.outputs.items()}
    listing = {name: json.loads(to_json(record)) for name, record in records.items()}
    (folder / OUTPUTS_FILE).write_text(json.dumps(listing, sort_keys=True))
    return InferResult(
        heatmap=store("heatmap", output.heatmap),
        segmentation_model=output.model,
        classifier_model=output.classifier,
        case_probability=output.probability,
        case_label=output.label,
        notices=(*notices, *output.notices),
    )


def _read_outputs(request: StepRequest) -> dict[str, Volume]:
    path = Path(request.run_dir) / "infer" / OUTPUTS_FILE
    if not path.is_file():
        return {}
    listing = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: read_volume(Path(request.run_dir), from_json(VolumeRecord, json.dumps(record)))
        for name, record in listing.items()
    }


# --- measure and draft --------------------------------------------------------------------------


def _measure(request: StepRequest, folder: Path, progress: Progress) -> MeasureResult:
    run_dir = Path(request.run_dir)
    assembled = read_result(run_dir, AssembleResult)
    registered = read_result(run_dir, RegisterResult).registrations
    matrices = {r.series_instance_uid: r.matrix for r in registered if is_fused(r)}
    uids: dict[Role, str] = json.loads((run_dir / "assemble" / CHANNELS_FILE).read_text("utf-8"))
    layers = [
        Layer(
            v.series_instance_uid,
            v.role,
            v.label,
            v.frame_of_reference_uid,
            read_volume(run_dir, v),
            matrices[v.key],
        )
        for v in _speakers(assembled)
        if v.key in matrices and not v.prior
    ]
    case = CaseImages(
        pathway=assembled.pathway,
        reference_uid=assembled.reference_series_uid,
        layers=tuple(layers),
        preferred=uids,
        outputs=_read_outputs(request),
        model=read_result(run_dir, InferResult).segmentation_model,
        outlines=assembled.outlines,
    )
    measured = measure_case(case, progress)
    record = None
    if measured.findings:
        reference = _record_of(assembled, assembled.reference_series_uid)
        record = write_volume(
            folder / "segmentation.rfv",
            Volume(measured.labels, case.reference.volume.grid, "1", "SEG"),
            run_dir=run_dir,
            key="segmentation",
            label="Segmentation",
            quantise="labels",
            frame_of_reference_uid=reference.frame_of_reference_uid,
            source={"reference_series_uid": reference.series_instance_uid},
            synthetic=reference.synthetic,
        )
    findings = tuple(_with_origin(f, assembled, uids.get("PET", "")) for f in measured.findings)
    return MeasureResult(findings, record, measured.notices)


def _with_origin(finding: FindingRecord, assembled: AssembleResult, pet: str) -> FindingRecord:
    """The finding; one whose SUV stands on values that a person entered names them."""
    entered = next(
        (v.source.get("suv", {}).get("entered") for v in assembled.volumes if v.key == pet), None
    )
    if finding.suv_max is None or not entered:
        return finding
    return replace(finding, evidence=finding.evidence | {"suv_entered": entered})


def _draft(request: StepRequest, folder: Path, progress: Progress) -> DraftResult:
    run_dir = request.run_dir
    return draft_report(
        read_result(run_dir, AssembleResult),
        read_result(run_dir, RegisterResult),
        read_result(run_dir, InferResult),
        read_result(run_dir, MeasureResult),
    )


_STEPS: dict[StepName, Callable[[StepRequest, Path, Progress], StepResult]] = {
    "assemble": assemble,
    "register": _register,
    "infer": _infer,
    "measure": _measure,
    "draft": _draft,
}
