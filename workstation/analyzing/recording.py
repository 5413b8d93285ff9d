"""A step's result, from the contract's records into rows. Called by ``services.finish_step`` only.

Recording the same step again replaces its rows, so a step done twice leaves what a step done once
leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from analysis.contracts import (
    DEFORMED,
    RESULT_TYPES,
    AssembleResult,
    DraftResult,
    InferResult,
    MeasureResult,
    Notice,
    OutlineRecord,
    RefineResult,
    RegisterResult,
    StepResult,
    VolumeRecord,
    from_json,
)
from workstation.analyzing.models import (
    DraftSentence,
    Finding,
    Layer,
    LayerKind,
    Refinement,
    Registration,
    Run,
    RunFact,
    RunNotice,
    Step,
)
from workstation.analyzing.requests import run_folder
from workstation.receiving.models import Series

_VOLUME: TypeAdapter[VolumeRecord] = TypeAdapter(VolumeRecord)
R = TypeVar("R")
DERIVED_POSITION = 1000
"""Heatmap and segmentation come after every series in the layer list."""


class ResultInvalid(Exception):
    """What the child process left is not a result of this step."""


def load_result(step: Step, path: str) -> StepResult:
    """Read a result file that a child named, relative to the run's folder.

    Raises :class:`ResultInvalid` when it is missing, outside the folder, or not of the contract.
    """
    return _load(run_folder(step.run), path, RESULT_TYPES[step.name])


def load_refinement(refinement: Refinement, path: str) -> RefineResult:
    """As :func:`load_result`, of a refinement; also checks that its field is there."""
    folder = run_folder(refinement.registration.run)
    found = _load(folder, path, RefineResult)
    field = found.registration.deformation
    if field is not None and not _inside(folder, field.path).is_file():
        raise ResultInvalid("The deformation of the result is missing.")
    return found


def _inside(folder: Path, path: str) -> Path:
    root = folder.resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root):
        raise ResultInvalid("The result lies outside the run's folder.")
    return file


def _load(folder: Path, path: str, kind: type[R]) -> R:
    try:
        return from_json(kind, _inside(folder, path).read_bytes())
    except FileNotFoundError:
        raise ResultInvalid("The result file is missing.") from None
    except ValidationError:
        raise ResultInvalid("The result file does not fit its contract.") from None


class _Known(dict[Any, Any]):
    """Rows by the name a result gives them; an unknown name is a fault of the result."""

    def __missing__(self, name: Any) -> Any:
        raise ResultInvalid(f"The result names something that is not in the case ({name}).")


def record_result(step: Step, result: StepResult) -> None:
    """Replace the rows this step makes. Call it inside the transaction that finishes the step.

    Raises :class:`ResultInvalid` when the result speaks of series or findings nobody knows.
    """
    run = step.run
    rows = Series.objects.filter(study__cases=run.case_id).order_by("-pk")
    series = _Known({row.series_instance_uid: row for row in rows})
    _RECORDERS[step.name](run, result, series)
    _replace_notices(step, result.notices, series)


def _replace_notices(step: Step, notices: Iterable[Notice], series: dict[str, Series]) -> None:
    RunNotice.objects.filter(run=step.run, step=step.name).delete()
    RunNotice.objects.bulk_create(
        RunNotice(
            run=step.run,
            step=step.name,
            code=notice.code[:60],
            message=notice.message,
            severity=notice.severity,
            series=series.get(notice.subject),
        )
        for notice in notices
    )


def _set_facts(run: Run, **facts: Any) -> None:
    """Replace these facts; one whose value is None has no row."""
    RunFact.objects.filter(run=run, name__in=facts).delete()
    RunFact.objects.bulk_create(
        RunFact(run=run, name=name, value=value)
        for name, value in facts.items()
        if value is not None
    )


def layer_row(
    run: Run, kind: LayerKind, record: VolumeRecord, position: int, **more: Any
) -> Layer:
    """An unsaved layer of the run for a stored volume."""
    return Layer(
        run=run,
        kind=kind,
        key=record.key,
        label=record.label[:64],
        role=record.role,
        unit=record.unit,
        position=position,
        record=_VOLUME.dump_python(record, mode="json"),
        **more,
    )


def _assemble(run: Run, result: AssembleResult, series: dict[str, Series]) -> None:
    Layer.objects.filter(run=run, kind=LayerKind.SERIES).delete()
    reference = result.reference_series_uid
    # The volumes of one series stay together, in their own order.
    ordered = sorted(result.volumes, key=lambda v: v.series_instance_uid != reference)
    Layer.objects.bulk_create(
        layer_row(
            run,
            LayerKind.SERIES,
            volume,
            position,
            series=series[volume.series_instance_uid],
            is_reference=volume.key == reference,
        )
        for position, volume in enumerate(ordered)
    )
    _set_facts(
        run,
        pathway=result.pathway,
        pathway_reason=result.pathway_reason,
        reference_series_uid=reference,
        outlines=[
            {"number": o.number, "name": o.name, "color": o.color} for o in result.outlines
        ],
    )


def _register(run: Run, result: RegisterResult, series: dict[str, Series]) -> None:
    Layer.objects.filter(run=run, kind=LayerKind.DEFORMED).delete()
    Registration.objects.filter(run=run).delete()
    Registration.objects.bulk_create(
        Registration(
            run=run,
            series=series[record.series_instance_uid],
            reference=series[record.reference_series_uid],
            state=record.state,
            verdict=record.verdict,
            method=record.method[:200],
            version=record.version[:64],
            matrix=[list(row) for row in record.matrix],
            reasons=list(record.reasons),
            quality=[asdict(figure) for figure in record.quality],
            parameters=record.parameters,
            model=record.model,
            deformation=asdict(record.deformation) if record.deformation else None,
        )
        for record in result.registrations
    )
    mains = _Known({layer.key: layer for layer in run.layers.filter(kind=LayerKind.SERIES)})
    Layer.objects.bulk_create(
        layer_row(run, LayerKind.DEFORMED, volume, main.position, series=main.series)
        for volume in result.deformed
        for main in [mains[volume.key.removeprefix(DEFORMED)]]
    )


def _replace_derived(run: Run, kind: LayerKind, record: VolumeRecord | None) -> None:
    Layer.objects.filter(run=run, kind=kind).delete()
    if record is not None:
        position = DERIVED_POSITION + (kind == LayerKind.SEGMENTATION)
        layer_row(run, kind, record, position).save(force_insert=True)


def _infer(run: Run, result: InferResult, series: dict[str, Series]) -> None:
    _replace_derived(run, LayerKind.HEATMAP, result.heatmap)
    models = {
        "segmentation_model": result.segmentation_model,
        "classifier_model": result.classifier_model,
    }
    _set_facts(
        run,
        case_probability=result.case_probability,
        case_label=result.case_label,
        **{name: asdict(use) if use else None for name, use in models.items()},
    )


def _measure(run: Run, result: MeasureResult, series: dict[str, Series]) -> None:
    Finding.objects.filter(run=run).delete()
    Finding.objects.bulk_create(
        Finding(
            run=run,
            number=record.number,
            tracking_uid=record.tracking_uid,
            label=record.label[:100],
            location=record.location[:100],
            laterality=record.laterality,
            probability=record.probability,
            x_mm=record.position[0],
            y_mm=record.position[1],
            z_mm=record.position[2],
            long_axis_mm=record.long_axis_mm,
            short_axis_mm=record.short_axis_mm,
            volume_ml=record.volume_ml,
            suv_max=record.suv_max,
            suv_peak=record.suv_peak,
            suv_mean=record.suv_mean,
            mean_value=record.mean_value,
            mean_unit=record.mean_unit[:32],
            method=record.method[:300],
            evidence={**record.evidence, "suv_max_position": record.suv_max_position},
        )
        for record in result.findings
    )
    _replace_derived(run, LayerKind.SEGMENTATION, result.segmentation)


def _draft(run: Run, result: DraftResult, series: dict[str, Series]) -> None:
    DraftSentence.objects.filter(run=run).delete()
    findings = _Known({finding.number: finding for finding in run.findings.all()})
    DraftSentence.objects.bulk_create(
        DraftSentence(
            run=run,
            position=position,
            section=sentence.section,
            text=sentence.text,
            # 0 names no finding; any other number must exist: a dangling sentence is a defect.
            finding=findings[sentence.finding] if sentence.finding else None,
            basis=sentence.basis[:300],
        )
        for position, sentence in enumerate(result.sentences)
    )


_RECORDERS: dict[str, Callable[[Run, Any, dict[str, Series]], None]] = {
    "assemble": _assemble,
    "register": _register,
    "infer": _infer,
    "measure": _measure,
    "draft": _draft,
}


def outlines_of(run: Run) -> tuple[OutlineRecord, ...]:
    """The delivered RTSTRUCT outlines of a run, in their own frames; empty if not assembled yet.

    Polygons are read from the run's folder: they are evidence, too bulky for a row.
    """
    step = run.steps.get(name="assemble")
    if step.finished_at is None:
        return ()
    result = load_result(step, "assemble/result.json")
    return result.outlines if isinstance(result, AssembleResult) else ()
