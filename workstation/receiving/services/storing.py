"""Take one object in: stored, repeated, quarantined with a reason, or ignored.

Bytes are written before rows: a crash between the two leaves a file that the next sending of the
same bytes adopts, never a row without its bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from django.db import IntegrityError, transaction
from django.utils import timezone

from workstation.accounts.models import Site
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
    DeidentificationProfile,
    Instance,
    NoticeLevel,
    Patient,
    Series,
    Study,
    StudyNotice,
    Upload,
)
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services.conflicts import note_refusal, note_series_dates
from workstation.receiving.services.deidentifying import (
    deidentified,
    mark_deidentified,
    profile_for,
)
from workstation.receiving.services.holding import quarantine
from workstation.receiving.services.identity import resolve, takes


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
    """As :func:`store_instance`, for bytes that are staged already.

    Where the sender or the site has a de-identification profile, only the de-identified form is
    archived. Bytes that are refused are quarantined as they came, without their file name.
    """
    profile = profile_for(site, source)
    if profile is not None:
        try:
            return accept_deidentified(site, staged, profile, source)
        except Ignored as note:
            return Outcome(Result.IGNORED, note.code, note.reason)
        except NotAccepted as refusal:
            return quarantine(site, staged, refusal, source=source, upload=upload)
    header: Header | None = None
    try:
        header = read_header(staged.path)
        return accept(site, staged, header, source)
    except Ignored as note:
        return Outcome(Result.IGNORED, note.code, note.reason)
    except NotAccepted as refusal:
        if header is not None:
            note_refusal(
                site, refusal.code, header.study_instance_uid, header.series_instance_uid,
                header.sop_instance_uid,
            )  # fmt: skip
        return quarantine(site, staged, refusal, source=source, filename=filename, upload=upload)


def accept_deidentified(
    site: Site,
    staged: storage.Staged,
    profile: DeidentificationProfile,
    source: str,
    *,
    pass_burned_in: bool = False,
) -> Outcome:
    """Store the de-identified form of an object. Raises :class:`NotAccepted`."""
    read_header(staged.path)  # refused for what it is before it is worked on
    with deidentified(site, staged, profile, pass_burned_in=pass_burned_in) as clean:
        outcome = accept(site, clean, read_header(clean.path), source)
    if outcome.result is Result.STORED and outcome.study_id is not None:
        mark_deidentified(outcome.study_id)
    return outcome


def accept(site: Site, staged: storage.Staged, header: Header, source: str) -> Outcome:
    """Store an object whose header was read. Raises :class:`NotAccepted`."""
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
    named, _ = Patient.objects.get_or_create(
        site=site,
        issuer=header.issuer,
        patient_id=header.patient_id,
        defaults=patient_columns(header),
    )
    patient = resolve(named)
    study, is_new = Study.objects.get_or_create(
        site=site,
        study_instance_uid=header.study_instance_uid,
        defaults={
            "patient": patient,
            "received_as": None if patient.pk == named.pk else named,
            "last_received_at": timezone.now(),
            **study_columns(header),
        },
    )
    if not takes(study, named):
        raise NotAccepted(
            "other_patient",
            "This study was received before under another patient ID. It stays with the first.",
        )
    _compare_patient(named, study, header)
    return study, is_new


def _series(study: Study, header: Header) -> Series:
    found = Series.objects.filter(
        study__site_id=study.site_id, series_instance_uid=header.series_instance_uid
    ).first()
    if found is None:
        found, is_new = Series.objects.get_or_create(
            study=study,
            series_instance_uid=header.series_instance_uid,
            defaults=series_columns(header),
        )
        if is_new and header.is_image:
            note_series_dates(study, found, header.acquired)
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
