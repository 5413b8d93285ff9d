"""What the receiving room does, in words: store, quarantine, release, discard, complete.

Bytes are written before rows: a crash between the two leaves a file that the next sending of the
same bytes adopts, never a row without its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving import storage
from workstation.receiving.columns import (
    blanks_filled,
    contradictions,
    instance_columns,
    patient_columns,
    series_columns,
    study_columns,
)
from workstation.receiving.contents import same_object
from workstation.receiving.headers import Header, Ignored, NotAccepted, read_header
from workstation.receiving.models import (
    Instance,
    NoticeLevel,
    Patient,
    Quarantined,
    QuarantineState,
    Series,
    Study,
    StudyNotice,
    Upload,
)
from workstation.receiving.outcomes import Outcome, Result


class CannotHandle(Exception):
    """The quarantined bytes were already handled, or the reason for discarding is missing."""


# --- storing ----------------------------------------------------------------------------------


def store_instance(
    site: Site,
    data: Iterable[bytes],
    *,
    source: str,
    filename: str = "",
    upload: Upload | None = None,
) -> Outcome:
    """Take one file's bytes in: stored, repeated, quarantined with a reason, or ignored.

    ``data`` are pieces of a DICOM Part 10 file. Raises :class:`storage.StorageFull`, and then
    nothing was kept.
    """
    with storage.staged(data) as staged:
        return store_staged(site, staged, source=source, filename=filename, upload=upload)


def store_staged(
    site: Site,
    staged: storage.Staged,
    *,
    source: str,
    filename: str = "",
    upload: Upload | None = None,
) -> Outcome:
    """As :func:`store_instance`, for bytes that are staged already."""
    try:
        return _store(site, staged, read_header(staged.path), source)
    except Ignored as note:
        return Outcome(Result.IGNORED, note.code, note.reason)
    except NotAccepted as refusal:
        return quarantine(site, staged, refusal, source=source, filename=filename, upload=upload)


def _store(site: Site, staged: storage.Staged, header: Header, source: str) -> Outcome:
    known = _find(site, header)
    if known is None:
        known, created = _write_rows(site, staged, header, source)
        if created:
            return Outcome(
                Result.STORED, instance_id=known.pk, study_id=known.series.study_id
            )
    same_bytes = known.sha256 == staged.sha256
    if same_bytes or same_object(staged.path, storage.path_of(known.sha256)):
        return Outcome(Result.REPEATED, instance_id=known.pk, study_id=known.series.study_id)
    raise NotAccepted(
        "conflicting",
        "Another object with this instance UID, but other content, was received before. "
        "The first one stays.",
    )


def _find(site: Site, header: Header) -> Instance | None:
    return (
        Instance.objects.filter(site=site, sop_instance_uid=header.sop_instance_uid)
        .select_related("series")
        .first()
    )


@transaction.atomic
def _write_rows(
    site: Site, staged: storage.Staged, header: Header, source: str
) -> tuple[Instance, bool]:
    """Patient, study, series and instance rows; ``False`` if another process was first.

    Only who wins the instance row moves the bytes into the archive, before the row is committed.
    """
    study, is_new = _study(site, header)
    series = _series(study, header)
    try:
        with transaction.atomic():
            instance = Instance.objects.create(
                site=site,
                series=series,
                sha256=staged.sha256,
                size=staged.size,
                source=source,
                **instance_columns(header),
            )
    except IntegrityError:
        first = _find(site, header)
        if first is None:
            raise
        return first, False
    storage.archive(staged)
    if not header.is_image:
        _notice(
            study,
            "not_an_image",
            NoticeLevel.INFO,
            f"{header.sop_class_name}: this object holds no images. It is kept with the study.",
        )
    _touch(study, is_new=is_new)
    return instance, True


def _study(site: Site, header: Header) -> tuple[Study, bool]:
    patient, _ = Patient.objects.get_or_create(
        site=site,
        issuer=header.issuer,
        patient_id=header.patient_id,
        defaults=patient_columns(header),
    )
    study, is_new = Study.objects.get_or_create(
        site=site,
        study_instance_uid=header.study_instance_uid,
        defaults={
            "patient": patient,
            "last_received_at": timezone.now(),
            **study_columns(header),
        },
    )
    if study.patient_id != patient.pk:
        raise NotAccepted(
            "other_patient",
            "This study was received before under another patient ID. It stays with the first.",
        )
    _compare_patient(patient, study, header)
    return study, is_new


def _series(study: Study, header: Header) -> Series:
    found = Series.objects.filter(
        study__site_id=study.site_id, series_instance_uid=header.series_instance_uid
    ).first()
    if found is None:
        found, _ = Series.objects.get_or_create(
            study=study,
            series_instance_uid=header.series_instance_uid,
            defaults=series_columns(header),
        )
    if found.study_id != study.pk:
        raise NotAccepted(
            "other_study",
            "This series was received before as part of another study. It stays there.",
        )
    return found


def _compare_patient(patient: Patient, study: Study, header: Header) -> None:
    """Same ID, other person? The first name stays, and the reader is told; blanks are filled.

    Refusing the images would hide them from the reader who has to find out; merging silently
    would show one person's images under another's name.
    """
    for text in contradictions(patient, header):
        _notice(study, "patient_differs", NoticeLevel.WARN, text)
    filled = blanks_filled(patient, header)
    for column, value in filled.items():
        setattr(patient, column, value)
    if filled:
        patient.save(update_fields=list(filled))


def _notice(study: Study, code: str, level: NoticeLevel, text: str) -> None:
    StudyNotice.objects.get_or_create(
        study=study, code=code, text=text[:400], defaults={"level": level}
    )


def _touch(study: Study, *, is_new: bool) -> None:
    """Something new arrived: the quiet time starts again, and a complete study is open again."""
    was_complete = study.completed_at is not None
    study.last_received_at = timezone.now()
    study.completed_at = None
    study.save(update_fields=["last_received_at", "completed_at"])
    if is_new or was_complete:
        publish(study.site_id, "upload")
    if was_complete:
        for case_id in study.cases.values_list("pk", flat=True):
            transaction.on_commit(partial(nudge, case_id))


@transaction.atomic
def complete_quiet_studies(now: datetime) -> list[Study]:
    """Mark the studies for which nothing came for the quiet time as complete, and return them.

    The caller's moves of their cases belong in the same transaction.
    """
    quiet_since = now - timedelta(seconds=settings.QUIET_SECONDS)
    studies = list(
        Study.objects.select_for_update().filter(
            completed_at__isnull=True, last_received_at__lte=quiet_since
        )
    )
    for study in studies:
        study.completed_at = now
        study.save(update_fields=["completed_at"])
    return studies


def notices_for(study: Study) -> list[StudyNotice]:
    """What the reader should know about how the study arrived, oldest first."""
    return list(study.notices.all())


# --- quarantine -------------------------------------------------------------------------------


@transaction.atomic
def quarantine(
    site: Site,
    staged: storage.Staged,
    refusal: NotAccepted,
    *,
    source: str,
    filename: str = "",
    upload: Upload | None = None,
) -> Outcome:
    """Keep refused bytes with their reason. A sender that tries again adds no second row."""
    storage.put_in_quarantine(staged)
    held, _ = Quarantined.objects.get_or_create(
        site=site,
        sha256=staged.sha256,
        code=refusal.code,
        source=source,
        upload=upload,
        filename=filename[-255:],
        state=QuarantineState.HELD,
        defaults={"reason": refusal.reason, "size": staged.size},
    )
    publish(site.pk, "quarantine")
    return Outcome(
        Result.QUARANTINED, refusal.code, refusal.reason, quarantined_id=held.pk
    )


def release(held: Quarantined, user: User, *, address: str = "") -> Outcome:
    """Try quarantined bytes once more, e.g. after the cause was put right.

    Accepted bytes leave the quarantine; refused ones stay, with the reason of today.
    """
    with transaction.atomic():
        _locked(held)
    if not storage.quarantine_path_of(held.sha256).is_file():
        raise CannotHandle("The bytes are no longer there. Discard the entry with this reason.")
    with (
        storage.quarantine_path_of(held.sha256).open("rb") as file,
        storage.staged(storage.chunks_of(file)) as staged,
    ):
        try:
            outcome = _store(held.site, staged, read_header(staged.path), held.source)
        except NotAccepted as refusal:
            outcome = Outcome(
                Result.QUARANTINED, refusal.code, refusal.reason, quarantined_id=held.pk
            )
    _write_handled(held, user, outcome, address)
    return outcome


@transaction.atomic
def _write_handled(held: Quarantined, user: User, outcome: Outcome, address: str) -> None:
    row = _locked(held)
    if outcome.result is Result.QUARANTINED:
        row.code, row.reason = outcome.code, outcome.reason
        row.save(update_fields=["code", "reason"])
    else:
        _finish(row, QuarantineState.RELEASED, user, outcome.result)
    record(
        "quarantine", user=user, site=row.site, obj=row, remote_address=address,
        detail={"action": "release", "result": outcome.result, "code": outcome.code},
    )  # fmt: skip
    publish(row.site_id, "quarantine")


@transaction.atomic
def discard(held: Quarantined, user: User, reason: str, *, address: str = "") -> None:
    """Delete quarantined bytes for good; the row stays, with who, when and why."""
    if not reason.strip():
        raise CannotHandle("Say why these bytes may be deleted.")
    row = _locked(held)
    _finish(row, QuarantineState.DISCARDED, user, reason.strip())
    record(
        "quarantine", user=user, site=row.site, obj=row, remote_address=address,
        detail={"action": "discard", "sha256": row.sha256},
    )  # fmt: skip
    publish(row.site_id, "quarantine")


def _locked(held: Quarantined) -> Quarantined:
    row = Quarantined.objects.select_for_update().get(pk=held.pk)
    if row.state != QuarantineState.HELD:
        raise CannotHandle("Somebody else has handled this a moment ago.")
    return row


def _finish(row: Quarantined, state: QuarantineState, user: User, reason: str) -> None:
    row.state, row.handled_by, row.handled_at = state, user, timezone.now()
    row.handled_reason = reason[:255]
    row.save(update_fields=["state", "handled_by", "handled_at", "handled_reason"])
    others = Quarantined.objects.filter(sha256=row.sha256, state=QuarantineState.HELD)
    if not others.exists():
        transaction.on_commit(partial(storage.remove_from_quarantine, row.sha256))


# --- uploads ----------------------------------------------------------------------------------


def start_upload(site: Site, user: User | None) -> Upload:
    """Open an upload or folder import; its files follow."""
    return Upload.objects.create(site=site, user=user)


@transaction.atomic
def count_outcomes(upload: Upload, outcomes: list[Outcome]) -> None:
    """Add what became of a batch of files to the upload's counts."""
    tally = dict.fromkeys(Result, 0)
    for outcome in outcomes:
        tally[outcome.result] += 1
    Upload.objects.filter(pk=upload.pk).update(
        files=F("files") + len(outcomes),
        **{result.value: F(result.value) + count for result, count in tally.items()},
    )
    publish(upload.site_id, "upload")


@transaction.atomic
def finish_upload(upload: Upload, *, address: str = "") -> Upload:
    """Everything was sent. Doing it twice changes nothing."""
    locked = Upload.objects.select_for_update().get(pk=upload.pk)
    if locked.finished_at is None:
        locked.finished_at = timezone.now()
        locked.save(update_fields=["finished_at"])
        counts = {name: getattr(locked, name) for name in ("files", *Result)}
        record(
            "upload", user=locked.user, site=locked.site, obj=locked, remote_address=address,
            detail=counts,
        )  # fmt: skip
        publish(locked.site_id, "upload")
    return locked
