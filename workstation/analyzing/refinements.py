"""What readers, workers and the sweep do to refinements ("refine from here"), in their words.

As with steps (:mod:`workstation.analyzing.services`): the row is the truth, a message only says
"look at refinement n", and every verb of a machine may be called twice or late. Who may ask, and
whether a result is used, is decided in reading.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext

from analysis.contracts import RefineResult
from workstation.accounts.models import User
from workstation.analyzing.models import (
    Layer,
    LayerKind,
    Refinement,
    RefinementEvent,
    RefinementModel,
    RefinementState,
    Registration,
)
from workstation.analyzing.recording import ResultInvalid, layer_row
from workstation.analyzing.refinement_states import InvalidMove, LostLease, move, tell
from workstation.analyzing.requests import refinement_folder, refinement_queue, run_folder
from workstation.analyzing.services import BACKOFF_SECONDS, RESEND_AFTER
from workstation.broker import CPU_QUEUE, GPU_QUEUE, send

ACTORS = {CPU_QUEUE: "run_refinement", GPU_QUEUE: "run_gpu_refinement"}
UNDER_WAY = (RefinementState.QUEUED, RefinementState.RUNNING)
WITHOUT_RESULT = (RefinementState.CANCELLED, RefinementState.FAILED, RefinementState.DISCARDED)


class RefinementRefused(Exception):
    """Not possible now; the message is for the reader."""


# --- what a reader asks -----------------------------------------------------------------------


@transaction.atomic
def start_refinement(
    registration: Registration, by: User, *, model: str, start: Any, start_method: str
) -> Refinement:
    """Queue "refine from here": ``start`` is a checked 4x4, moving LPS -> reference LPS.

    Call it with the case locked. Raises :class:`RefinementRefused` while another refinement of the
    registration is under way.
    """
    if model not in RefinementModel.values:
        raise RefinementRefused(gettext("A refinement is rigid, affine or deformable."))
    _check_free(registration.pk)
    if not _main_layer(registration).exists():
        raise RefinementRefused(gettext("The images of this registration are not stored any more."))
    row = Refinement.objects.create(
        registration=registration, model=model, start_matrix=start, start_method=start_method,
        by=by, due_at=timezone.now(),
    )  # fmt: skip
    RefinementEvent.objects.create(
        refinement=row, event="ask", from_state="", to_state=row.state, by=by
    )
    tell(row)
    _send(row)
    return row


def _check_free(registration_id: int) -> None:
    if Refinement.objects.filter(registration=registration_id, state__in=UNDER_WAY).exists():
        raise RefinementRefused(
            gettext("A refinement of this series is under way. Wait, or cancel it.")
        )


def _main_layer(registration: Registration) -> Any:
    return Layer.objects.filter(
        run=registration.run_id,
        kind=LayerKind.SERIES,
        key=registration.series.series_instance_uid,
    )


@transaction.atomic
def cancel_refinement(refinement: Refinement, by: User) -> Refinement:
    """End it. A worker in the middle loses its lease and kills its child."""
    try:
        return move(refinement.pk, "cancel", by=by, finished_at=timezone.now())
    except InvalidMove as error:
        raise RefinementRefused(
            gettext("This refinement is {state} already.").format(state=error.state)
        ) from None


@transaction.atomic
def retry_refinement(refinement: Refinement, by: User) -> Refinement:
    """Queue a failed one again, with its attempts counted anew. Call it with the case locked."""
    _check_free(refinement.registration_id)
    try:
        row = move(
            refinement.pk, "retry", by=by, attempts=0, error="", error_code="", progress=0.0,
            progress_text="", finished_at=None, due_at=timezone.now(),
        )  # fmt: skip
    except InvalidMove:
        raise RefinementRefused(
            gettext("This refinement did not fail; there is nothing to try again.")
        ) from None
    _send(row)
    return row


@transaction.atomic
def discard_refinement(refinement: Refinement, by: User) -> Refinement:
    """Put a result aside: its figures stay on record, its deformed layer and files go."""
    try:
        row = move(refinement.pk, "discard", by=by)
    except InvalidMove:
        raise RefinementRefused(gettext("Only a finished refinement can be discarded.")) from None
    Layer.objects.filter(refinement=row).delete()
    folder = run_folder(row.registration.run) / refinement_folder(row)
    transaction.on_commit(partial(shutil.rmtree, folder, ignore_errors=True))
    return row


def remove_leftover_files() -> int:
    """Delete the files of refinements that ended without a result, once no child can be writing
    them any more; how many. A retry begins with an empty folder anyway."""
    ended = Refinement.objects.filter(state__in=WITHOUT_RESULT, finished_at__lte=_silent_since())
    removed = 0
    for row in ended.select_related("registration__run").order_by("pk"):
        folder = run_folder(row.registration.run) / refinement_folder(row)
        if folder.is_dir():
            removed += _remove(row.pk, folder)
    return removed


@transaction.atomic
def _remove(refinement_id: int, folder: Path) -> bool:
    # Locked: a retry at this moment waits, or has been and keeps its files.
    row = Refinement.objects.select_for_update().get(pk=refinement_id)
    if row.state in WITHOUT_RESULT:
        shutil.rmtree(folder)
    return row.state in WITHOUT_RESULT


# --- the queue --------------------------------------------------------------------------------


def _send(row: Refinement) -> None:
    Refinement.objects.filter(pk=row.pk).update(sent_at=timezone.now())
    queue = refinement_queue(row)
    transaction.on_commit(partial(send, ACTORS[queue], queue, row.pk))


def _queue(
    refinement_id: int, event: str, *, token: str | None = None, reason: str = "",
    delay_seconds: float = 0.0, **columns: object,
) -> None:  # fmt: skip
    row = move(
        refinement_id,
        event,
        token=token,
        reason=reason,
        due_at=timezone.now() + timedelta(seconds=delay_seconds),
        sent_at=None,
        heartbeat_at=None,
        worker="",
        **columns,
    )
    if delay_seconds == 0:
        _send(row)


def send_due_refinements() -> int:
    """Send every queued refinement whose message may be lost again; how many."""
    now = timezone.now()
    unsent = Q(sent_at=None) | Q(sent_at__lte=now - RESEND_AFTER)
    rows = list(
        Refinement.objects.filter(unsent, state=RefinementState.QUEUED, due_at__lte=now).order_by(
            "due_at"
        )
    )
    for row in rows:
        _send(row)
    return len(rows)


def return_orphaned_refinements() -> int:
    """Give refinements whose worker fell silent back to the queue, or to quarantine; how many."""
    silent = Refinement.objects.filter(
        state=RefinementState.RUNNING, heartbeat_at__lte=_silent_since()
    )
    return sum(_return_orphan(pk) for pk in silent.values_list("pk", flat=True))


def _silent_since() -> Any:
    return timezone.now() - timedelta(seconds=settings.ORPHAN_SECONDS)


@transaction.atomic
def _return_orphan(refinement_id: int) -> bool:
    row = Refinement.objects.select_for_update().get(pk=refinement_id)
    still = row.state == RefinementState.RUNNING and row.heartbeat_at is not None
    if not still or row.heartbeat_at > _silent_since():
        return False  # it spoke, ended, or another sweep was faster
    why = "the worker stopped answering"
    if row.attempts >= settings.STEP_MAX_ATTEMPTS:
        _quarantine(row, why)
    else:
        _queue(refinement_id, "orphaned", reason=why)
    return True


def _quarantine(row: Refinement, why: str) -> None:
    move(
        row.pk,
        "quarantine",
        reason=why,
        error_code="quarantined",
        error=f"Stopped after {row.attempts} attempts, because {why}. Retry it, and tell your "
        "administrator if it stops again.",
        finished_at=timezone.now(),
        heartbeat_at=None,
    )


# --- what a worker does -----------------------------------------------------------------------


@transaction.atomic
def claim_refinement(refinement_id: int, worker: str) -> str | None:
    """Take a queued, due refinement: the new lease's token, or None if it is not to be had."""
    row = Refinement.objects.select_for_update().filter(pk=refinement_id).first()
    now = timezone.now()
    if row is None or row.state != RefinementState.QUEUED or (row.due_at and row.due_at > now):
        return None
    if row.attempts >= settings.STEP_MAX_ATTEMPTS:
        _quarantine(row, "every attempt ended without a result")
        return None
    token = secrets.token_hex(16)
    move(
        refinement_id,
        "claim",
        token=token,
        worker=worker[:100],
        attempts=row.attempts + 1,
        started_at=now,
        heartbeat_at=now,
        finished_at=None,
        progress=0.0,
        progress_text="",
        error_code="",
        error="",
    )
    return token


def beat_refinement(refinement_id: int, token: str, progress: float, text: str) -> bool:
    """Renew the lease and show progress; False when the lease is lost and work must stop."""
    held = Refinement.objects.filter(pk=refinement_id, state=RefinementState.RUNNING, token=token)
    renewed = held.update(
        heartbeat_at=timezone.now(),
        progress=min(1.0, max(0.0, progress)),
        progress_text=text[:200],
    )
    if renewed:
        tell(Refinement.objects.select_related("registration__run__case").get(pk=refinement_id))
    return bool(renewed)


@transaction.atomic
def finish_refinement(
    refinement_id: int, token: str, result: RefineResult, *, peak_memory_mb: int | None = None
) -> None:
    """Record the result and its deformed layer, in one transaction.

    Raises ``LostLease`` (and records nothing) if the worker no longer holds the refinement,
    :class:`ResultInvalid` if the result is of other images.
    """
    found = result.registration
    row = move(
        refinement_id,
        "finish",
        token=token,
        progress=1.0,
        progress_text="",
        finished_at=timezone.now(),
        peak_memory_mb=peak_memory_mb,
        worker="",
        matrix=[list(line) for line in found.matrix],
        method=found.method[:200],
        version=found.version[:64],
        verdict=found.verdict,
        reasons=list(found.reasons),
        quality=[asdict(figure) for figure in found.quality],
        parameters=found.parameters,
        deformation=asdict(found.deformation) if found.deformation else None,
    )
    registration = row.registration
    uids = (registration.series.series_instance_uid, registration.reference.series_instance_uid)
    if (found.series_instance_uid, found.reference_series_uid) != uids:
        raise ResultInvalid("The result is of other series than the ones asked for.")
    usable = found.verdict != "refused"
    if usable and row.model == RefinementModel.DEFORMABLE:
        if found.deformation is None or result.deformed is None:
            raise ResultInvalid("A deformable result lacks its field or its layer.")
        main = _main_layer(registration).get()
        layer_row(
            registration.run, LayerKind.DEFORMED, result.deformed, main.position,
            series=registration.series, refinement=row,
        ).save(force_insert=True)  # fmt: skip


@transaction.atomic
def fail_refinement(
    refinement_id: int, token: str, code: str, message: str, *, retriable: bool
) -> None:
    """It ended without a result: try again later, or fail with the reason.

    Raises ``LostLease`` if the worker no longer holds it.
    """
    row = Refinement.objects.select_for_update().get(pk=refinement_id)
    error = {"error_code": code[:60], "error": message}
    if retriable and row.attempts < settings.STEP_MAX_ATTEMPTS:
        delay = BACKOFF_SECONDS * 2 ** max(0, row.attempts - 1)
        _queue(
            refinement_id, "try_again", token=token, reason=message, delay_seconds=delay, **error
        )
        return
    if retriable:
        error["error"] = f"{message} (Tried {row.attempts} times.)"
    move(refinement_id, "fail", token=token, reason=message, finished_at=timezone.now(), **error)


@transaction.atomic
def hand_back_refinement(refinement_id: int, token: str) -> None:
    """The worker is shutting down: back to the queue, the attempt not counted."""
    row = Refinement.objects.select_for_update().get(pk=refinement_id)
    try:
        _queue(
            refinement_id, "interrupted", token=token, reason="the worker was stopped",
            attempts=max(0, row.attempts - 1),
        )  # fmt: skip
    except (LostLease, InvalidMove):
        return
