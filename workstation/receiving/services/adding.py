"""More images of series that are here already: two statements and a commit for all of them.

Nearly every object that arrives is one of these. Whatever is not plain - a new series, another name
under the same ID, a site that de-identifies, an object without an image - is left to the careful
way (``storing.py``), which looks at everything. As there, no row is remembered between
transactions, and the bytes are in the archive before the rows are committed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.columns import instance_columns
from workstation.receiving.headers import Header
from workstation.receiving.models import (
    DeidentificationProfile,
    Instance,
    Patient,
    Series,
    Study,
)
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services.placing import is_due, touch


@dataclass(frozen=True)
class Object:
    """A file whose header was read and accepted."""

    site: Site
    staged: storage.Staged
    header: Header
    source: str

    @property
    def key(self) -> tuple[int, str]:
        return self.site.pk, self.header.sop_instance_uid

    @property
    def order(self) -> tuple[int, str, str, str]:
        """In one order everywhere, so that two processes never wait for each other's rows."""
        header = self.header
        return (
            self.site.pk, header.study_instance_uid, header.series_instance_uid,
            header.sop_instance_uid,
        )  # fmt: skip


class Place(NamedTuple):
    """A series that is here, with what is looked at of the rows above it."""

    series_id: int
    series_instance_uid: str
    study_id: int
    site_id: int
    study_instance_uid: str
    last_received_at: datetime
    completed_at: datetime | None
    issuer: str
    patient_id: str
    name: str
    birth_date: date | None
    sex: str
    is_deidentified: bool

    def takes(self, header: Header) -> bool:
        """Whether nothing about an object of this series needs a second look."""
        return (
            header.is_image
            and not self.is_deidentified
            and header.study_instance_uid == self.study_instance_uid
            and (header.issuer, header.patient_id) == (self.issuer, self.patient_id)
            and (header.patient_name, header.birth_date, header.sex)
            == (self.name, self.birth_date, self.sex)
        )


def add(objects: Mapping[int, Object]) -> dict[int, Outcome]:
    """Store what is new and plain of these objects; the others are not in the answer.

    Their content is on the disk already. Raises :class:`storage.StorageFull` or a database error,
    and then nothing was stored.
    """
    if not objects:
        return {}
    with transaction.atomic():
        places = _places(objects.values())
        plain: dict[tuple[int, str], tuple[int, Place]] = {}
        for number, found in sorted(objects.items(), key=lambda item: item[1].order):
            place = places.get((found.site.pk, found.header.series_instance_uid))
            if place is not None and place.takes(found.header):
                plain.setdefault(found.key, (number, place))
        keys = _insert([_values(objects[number], place) for number, place in plain.values()])
        storage.archive(*(objects[plain[key][0]].staged for key in keys))
        studies = {place.study_id: place for place in (plain[key][1] for key in keys)}
        now = timezone.now()
        due = {
            place.study_id
            for place in studies.values()
            if is_due(place.completed_at, place.last_received_at, now)
        }
        if due:
            touch(due)
    return {
        plain[key][0]: Outcome(Result.STORED, instance_id=pk, study_id=plain[key][1].study_id)
        for key, pk in keys.items()
    }


def _places(objects: Collection[Object]) -> dict[tuple[int, str], Place]:
    """The series of these objects, by site and UID; of two under one UID the older one."""
    sites = {found.site.pk for found in objects}
    series = {found.header.series_instance_uid for found in objects}
    places: dict[tuple[int, str], Place] = {}
    with connection.cursor() as cursor:
        cursor.execute(_looking_up(len(sites), len(series)), [True, *sites, *series])
        for row in cursor.fetchall():
            place = Place(*row)
            if timezone.is_naive(place.last_received_at):  # SQLite keeps UTC without saying so
                place = place._replace(last_received_at=place.last_received_at.replace(tzinfo=UTC))
            places.setdefault((place.site_id, place.series_instance_uid), place)
    return places


@lru_cache(maxsize=256)
def _looking_up(sites: int, series: int) -> str:
    """Written out: the ORM takes longer to put it together than the database to answer it."""
    return f"""
        SELECT series.id, series.series_instance_uid, study.id, study.site_id,
            study.study_instance_uid, study.last_received_at, study.completed_at,
            patient.issuer, patient.patient_id, patient.name, patient.birth_date, patient.sex,
            EXISTS (
                SELECT 1 FROM {DeidentificationProfile._meta.db_table} profile
                WHERE profile.site_id = study.site_id AND profile.active = %s
            )
        FROM {Series._meta.db_table} series
            JOIN {Study._meta.db_table} study ON study.id = series.study_id
            JOIN {Patient._meta.db_table} patient ON patient.id = study.patient_id
        WHERE study.site_id IN ({_marks(sites)})
            AND series.series_instance_uid IN ({_marks(series)})
        ORDER BY series.id
    """


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


def _values(found: Object, place: Place) -> dict[str, Any]:
    return {
        "site_id": found.site.pk,
        "series_id": place.series_id,
        "sha256": found.staged.sha256,
        "size": found.staged.size,
        "source": found.source,
        **instance_columns(found.header),
    }


@lru_cache(maxsize=256)
def _inserting(columns: tuple[str, ...], count: int) -> str:
    """Rows that are there already are passed over: the ORM's own way of doing that does not tell
    which ones they are."""
    names = ", ".join(f'"{column}"' for column in columns)
    rows = ", ".join([f"({_marks(len(columns))})"] * count)
    return (
        f"INSERT INTO {Instance._meta.db_table} ({names}) VALUES {rows} "
        "ON CONFLICT (site_id, sop_instance_uid) DO NOTHING "
        "RETURNING site_id, sop_instance_uid, id"
    )


def _insert(rows: list[dict[str, Any]]) -> dict[tuple[int, str], int]:
    """Primary keys of what was inserted, by site and instance UID; rows are values by column."""
    if not rows:
        return {}
    received_at = connection.ops.adapt_datetimefield_value(timezone.now())
    values = [value for row in rows for value in (received_at, *row.values())]
    with connection.cursor() as cursor:
        cursor.execute(_inserting(("received_at", *rows[0]), len(rows)), values)
        return {(site_id, uid): pk for site_id, uid, pk in cursor.fetchall()}
