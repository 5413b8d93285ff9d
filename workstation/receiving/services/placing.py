"""Patient, study and series rows of what arrives: found in one query, made where missing.

One :class:`Places` serves one transaction. Nothing is remembered between transactions: merges,
moves and deletions of other processes are seen at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from functools import partial

from django.db import transaction
from django.utils import timezone

from workstation.accounts.models import Site
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving.columns import (
    blanks_filled,
    contradictions,
    patient_columns,
    series_columns,
    study_columns,
)
from workstation.receiving.headers import Header, NotAccepted
from workstation.receiving.models import NoticeLevel, Patient, Series, Study
from workstation.receiving.services.conflicts import PATIENT_DIFFERS, note, note_series_dates
from workstation.receiving.services.identity import resolve, takes

TOUCH_SECONDS = 1.0
"""A study's time of the last arrival is written at most this often; quiet times are longer."""


SERIES_COLUMNS = (
    "series_instance_uid", "study__site", "study__study_instance_uid", "study__patient",
    "study__received_as", "study__study_date", "study__patient__site",
    "study__patient__issuer", "study__patient__patient_id", "study__patient__name",
    "study__patient__birth_date", "study__patient__sex", "study__patient__merged_into",
)  # fmt: skip
"""What is looked at of rows that are there already."""


class Places:
    """The rows above the instances of one transaction; each is looked up once."""

    def __init__(self, wanted: Iterable[tuple[Site, Header]]) -> None:
        wanted = list(wanted)
        rows = (
            Series.objects.filter(
                study__site_id__in={site.pk for site, _ in wanted},
                series_instance_uid__in={header.series_instance_uid for _, header in wanted},
            )
            .select_related("study__patient")
            .only(*SERIES_COLUMNS)
            .order_by("pk")
        )
        self._series: dict[tuple[int, str], Series] = {}
        self._studies: dict[tuple[int, str], Study] = {}
        for row in rows:
            self._series.setdefault((row.study.site_id, row.series_instance_uid), row)
            self._studies.setdefault((row.study.site_id, row.study.study_instance_uid), row.study)
        self._patients: dict[tuple[int, str, str], Patient] = {}
        self._noted: set[tuple[int, str]] = set()
        self._new: set[int] = set()

    def series_for(self, site: Site, header: Header) -> Series:
        """The series of an object that arrives. Raises :class:`NotAccepted`, and then nothing of
        the object's own was written."""
        study = self._study(site, header)
        series = self._series.get((site.pk, header.series_instance_uid))
        if series is not None:
            if study is None or series.study_id != study.pk:
                raise NotAccepted(
                    "other_study",
                    "This series was received before as part of another study. It stays there.",
                )
        elif study is None:
            study = self._new_study(site, header)
        self._compare_patient(site, study, header)
        return series or self._new_series(study, header)

    def _study(self, site: Site, header: Header) -> Study | None:
        key = (site.pk, header.study_instance_uid)
        study = self._studies.get(key)
        if study is None:
            study = (
                Study.objects.filter(site=site, study_instance_uid=header.study_instance_uid)
                .select_related("patient", "received_as")
                .first()
            )
        if study is not None:
            self._studies[key] = study
            self._check_patient(site, study, header)
        return study

    def _check_patient(self, site: Site, study: Study, header: Header) -> None:
        named = self._named(site, study, header)
        if named is None or not takes(study, named):
            raise NotAccepted(
                "other_patient",
                "This study was received before under another patient ID. It stays with the first.",
            )

    def _named(self, site: Site, study: Study | None, header: Header) -> Patient | None:
        """The patient row that the header names, if there is one."""
        key = (site.pk, header.issuer, header.patient_id)
        found = self._patients.get(key)
        if found is None and study is not None:
            for known in (study.received_as, study.patient):
                if known and (known.site_id, known.issuer, known.patient_id) == key:
                    found = known
        if found is None:
            found = Patient.objects.filter(
                site=site, issuer=header.issuer, patient_id=header.patient_id
            ).first()
        if found is not None:
            self._patients[key] = found
        return found

    def _new_study(self, site: Site, header: Header) -> Study:
        named = self._named(site, None, header)
        if named is None:
            named, _ = Patient.objects.get_or_create(
                site=site,
                issuer=header.issuer,
                patient_id=header.patient_id,
                defaults=patient_columns(header),
            )
            self._patients[site.pk, header.issuer, header.patient_id] = named
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
        self._studies[site.pk, header.study_instance_uid] = study
        if is_new:
            self._new.add(study.pk)
        else:  # another process was a moment faster
            self._check_patient(site, study, header)
        return study

    def _new_series(self, study: Study, header: Header) -> Series:
        series, is_new = Series.objects.get_or_create(
            study=study,
            series_instance_uid=header.series_instance_uid,
            defaults=series_columns(header),
        )
        series.study = study
        self._series[study.site_id, header.series_instance_uid] = series
        if is_new and header.is_image:
            note_series_dates(study, series, header.acquired)
        return series

    def _compare_patient(self, site: Site, study: Study, header: Header) -> None:
        """Same ID, other person? The first name stays, and the reader is told; blanks are filled.

        Refusing the images would hide them from the reader who has to find out; merging silently
        would show one person's images under another's name.
        """
        patient = self._patients[site.pk, header.issuer, header.patient_id]
        for text in contradictions(patient, header):
            if (study.pk, text) not in self._noted:
                self._noted.add((study.pk, text))
                note(study, PATIENT_DIFFERS, NoticeLevel.WARN, text)
        filled = blanks_filled(patient, header)
        for column, value in filled.items():
            setattr(patient, column, value)
        if filled:
            patient.save(update_fields=list(filled))

    def touch(self, studies: set[int]) -> None:
        """As :func:`touch`; other pages are told of the studies that are new."""
        touch(studies, self._new)


def is_due(completed_at: datetime | None, last_received_at: datetime, now: datetime) -> bool:
    """Whether a study must be told of an arrival. One that took something in a moment ago cannot
    have become complete since."""
    return completed_at is not None or last_received_at < now - timedelta(seconds=TOUCH_SECONDS)


def touch(studies: set[int], new: AbstractSet[int] = frozenset()) -> None:
    """Something new arrived: the quiet time starts again, a complete study is open again, and
    one whose images were deleted has images again.

    Call it last in the transaction: a completion that was committed meanwhile is seen.
    """
    now = timezone.now()
    rows = Study.objects.filter(pk__in=studies).order_by("pk")
    for study in rows.only("site_id", "completed_at", "last_received_at"):
        was_complete = study.completed_at is not None
        if is_due(study.completed_at, study.last_received_at, now):
            # Images are deleted of complete studies only, so this is where they come back.
            Study.objects.filter(pk=study.pk).update(
                last_received_at=now, completed_at=None, deleted_at=None
            )
        if was_complete or study.pk in new:
            publish(study.site_id, "upload")
        if was_complete:
            for case_id in study.cases.values_list("pk", flat=True):
                transaction.on_commit(partial(nudge, case_id))
