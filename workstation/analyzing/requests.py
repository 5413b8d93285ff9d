"""What a child process is asked to do: the contract's requests, from received rows."""

from __future__ import annotations

import hashlib
from pathlib import Path

from django.conf import settings
from django.db.models import Q
from pydantic import TypeAdapter

from analysis.contracts import (
    QualityFigure,
    RefineRequest,
    RegistrationRecord,
    SeriesInput,
    StepRequest,
    VolumeRecord,
)
from workstation.analyzing.models import (
    Layer,
    LayerKind,
    Refinement,
    RefinementModel,
    Registration,
    Run,
    Step,
)
from workstation.analyzing.pet_inputs import entered_values, entries_digest, entries_in_force
from workstation.broker import CPU_QUEUE, GPU_QUEUE
from workstation.receiving.models import Instance, RoleSource, Series, Study
from workstation.receiving.services import came_by_rule
from workstation.receiving.storage import path_of
from workstation.worklist.models import Case
from workstation.worklist.services import compared_studies

_VOLUME: TypeAdapter[VolumeRecord] = TypeAdapter(VolumeRecord)
_FIXED: TypeAdapter[dict[str, RegistrationRecord]] = TypeAdapter(dict[str, RegistrationRecord])


def run_folder(run: Run) -> Path:
    """Where everything of a run lies; ``Layer.record`` paths are relative to it."""
    return Path(settings.RUNS_DIR) / str(run.case_id) / str(run.number)


def inputs_digest(case: Case) -> str:
    """SHA-256 over the sorted SOP instance UIDs and file hashes of the case's complete studies, and
    the series roles and values for SUV that a person set.

    Empty when nothing is complete yet. Two runs with one digest saw the same bytes, named alike.
    """
    rows = (
        Instance.objects.filter(
            series__study__cases=case, series__study__completed_at__isnull=False
        )
        .order_by("sop_instance_uid")
        .values_list("sop_instance_uid", "sha256")
    )
    digest = hashlib.sha256()
    count = 0
    for uid, sha256 in rows.iterator():
        digest.update(f"{uid} {sha256}\n".encode())
        count += 1
    roles = (
        Series.objects.filter(
            study__cases=case, study__completed_at__isnull=False, role_source=RoleSource.MANUAL
        )
        .order_by("series_instance_uid")
        .values_list("series_instance_uid", "role")
    )
    for uid, role in roles:
        digest.update(f"role {uid} {role}\n".encode())
    digest.update(entries_digest(case))
    return digest.hexdigest() if count else ""


def prior_studies(case: Case) -> set[int]:
    """The case's studies that are there for comparison: fetched by a rule, or put in as such."""
    compared = Q(pk__in=compared_studies(case))
    rows = Study.objects.filter(came_by_rule() | compared, cases=case)
    return set(rows.values_list("pk", flat=True))


def series_inputs(case: Case) -> tuple[SeriesInput, ...]:
    """Every series of the case's complete studies, RTSTRUCT included, with its archived files and
    the values that a reader entered for it."""
    entries = entries_in_force(case)
    priors = prior_studies(case)
    rows = (
        Series.objects.filter(study__cases=case, study__completed_at__isnull=False)
        .select_related("study")
        .prefetch_related("instances")
        .order_by("series_instance_uid", "pk")
    )
    return tuple(
        SeriesInput(
            series_instance_uid=series.series_instance_uid,
            study_instance_uid=series.study.study_instance_uid,
            modality=series.modality,
            description=series.description,
            role=series.role,
            entered=entered_values(entries, series),
            study_date=series.study.study_date.isoformat() if series.study.study_date else "",
            prior=series.study_id in priors,
            paths=tuple(
                str(path_of(instance.sha256))
                for instance in sorted(
                    series.instances.all(), key=lambda i: (i.instance_number or 0, i.pk)
                )
            ),
        )
        for series in rows
    )


def step_request(step: Step) -> StepRequest:
    """The request of one step. Only steps of the GPU queue use the configured device."""
    run = step.run
    folder = run_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    return StepRequest(
        step=step.name,
        run_dir=str(folder),
        series=series_inputs(run.case),
        seed=run.seed,
        device=settings.ANALYSIS_DEVICE if step.queue == GPU_QUEUE else "cpu",
        threads=settings.ANALYSIS_THREADS,
        models_dir=settings.MODELS_DIR,
        cache_dir=str(folder.parent / "registrations"),
        fixed_registrations=_FIXED.validate_python(run.fixed_registrations),
    )


def refinement_folder(refinement: Refinement) -> str:
    """Where the files of a refinement lie, relative to its run's folder."""
    return f"refine/{refinement.pk}"


def refinement_queue(refinement: Refinement) -> str:
    """Deformable registration runs where networks do, the rest beside the other steps."""
    return GPU_QUEUE if refinement.model == RefinementModel.DEFORMABLE else CPU_QUEUE


BY_HAND = "it starts from an alignment by hand, which the images have not confirmed"
_START_METHODS = {"hand": "aligned by hand", "landmarks": "landmarks", "delivered": "as delivered"}


def _start_record(refinement: Refinement) -> RegistrationRecord:
    """What is known of the alignment that a refinement starts from."""
    registration = refinement.registration
    judged: Registration | Refinement | None = None
    if refinement.start_method == "computed":
        judged = registration
    elif refinement.start_method == "refined":
        earlier = registration.refinements.filter(pk__lt=refinement.pk, matrix__isnull=False)
        judged = next((row for row in earlier if row.matrix == refinement.start_matrix), None)
    how = _START_METHODS.get(refinement.start_method, refinement.start_method)
    model = judged.model if judged else "rigid"
    return RegistrationRecord(
        series_instance_uid=registration.series.series_instance_uid,
        reference_series_uid=registration.reference.series_instance_uid,
        state="registered",
        matrix=tuple(tuple(row) for row in refinement.start_matrix),
        method=judged.method if judged else how,
        version=judged.version if judged else "",
        verdict=judged.verdict if judged else "doubtful",
        reasons=tuple(judged.reasons) if judged else (BY_HAND,),
        quality=tuple(QualityFigure(**figure) for figure in judged.quality) if judged else (),
        # Of a deformable one only the affine part is the start.
        model="affine" if model == "deformable" else model,
    )


def refine_request(refinement: Refinement) -> RefineRequest:
    """The request of one refinement: both main volumes as the run stored them, and the start.

    Raises ``Layer.DoesNotExist`` when the run's volumes are gone.
    """
    registration = refinement.registration
    run = registration.run
    volumes = Layer.objects.filter(run=run, kind=LayerKind.SERIES)

    def of(uid: str) -> VolumeRecord:
        return _VOLUME.validate_python(volumes.get(key=uid).record)

    return RefineRequest(
        run_dir=str(run_folder(run)),
        folder=refinement_folder(refinement),
        model=refinement.model,
        start=_start_record(refinement),
        moving=of(registration.series.series_instance_uid),
        reference=of(registration.reference.series_instance_uid),
        seed=run.seed,
        device=settings.ANALYSIS_DEVICE if refinement_queue(refinement) == GPU_QUEUE else "cpu",
        threads=settings.ANALYSIS_THREADS,
        cache_dir=str(run_folder(run).parent / "registrations"),
    )
