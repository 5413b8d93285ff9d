"""Take objects in: stored, repeated, quarantined with a reason, or ignored.

Bytes are written before rows: a crash between the two leaves a file that the next sending of the
same bytes adopts, never a row without its bytes. Many objects share one transaction, so that its
cost and its waiting for the disk are paid once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.db import IntegrityError, transaction

from workstation.accounts.models import Site
from workstation.receiving import storage
from workstation.receiving.columns import instance_columns
from workstation.receiving.contents import same_object
from workstation.receiving.headers import Header, Ignored, NotAccepted, read_header
from workstation.receiving.models import (
    DeidentificationProfile,
    Instance,
    NoticeLevel,
    Series,
    Upload,
)
from workstation.receiving.outcomes import Outcome, Result
from workstation.receiving.services.adding import Object, add
from workstation.receiving.services.conflicts import note, note_refusal
from workstation.receiving.services.deidentifying import (
    deidentified,
    mark_deidentified,
    profile_for,
)
from workstation.receiving.services.holding import quarantine
from workstation.receiving.services.placing import Places


@dataclass(frozen=True)
class Arrival:
    """One staged file, and who sent it to whom."""

    site: Site
    staged: storage.Staged
    source: str
    filename: str = ""
    upload: Upload | None = None
    header: Header | None = None
    """If it was read already."""


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
    [outcome] = store_many([Arrival(site, staged, source, filename, upload)])
    return outcome


def store_many(arrivals: Sequence[Arrival]) -> list[Outcome]:
    """Take staged files in, many in one transaction; one outcome for each, in their order.

    Where the sender or the site has a de-identification profile, only the de-identified form is
    archived. Bytes that are refused are quarantined as they came, in transactions of their own.
    Raises :class:`storage.StorageFull` or a database error. Some of the files may be in the archive
    by then; taking them in once more, one by one, tells what became of each.
    """
    results: list[Outcome | NotAccepted | None] = [None] * len(arrivals)
    objects = _read_already(arrivals)
    for number, outcome in add(objects).items():
        results[number] = outcome
        del objects[number]
    profiles: dict[tuple[int, str], DeidentificationProfile | None] = {}
    for number, arrival in enumerate(arrivals):
        if results[number] is not None:
            continue
        way = (arrival.site.pk, arrival.source)
        if way not in profiles:
            profiles[way] = profile_for(arrival.site, arrival.source)
        profile = profiles[way]
        try:
            if profile is not None:
                objects.pop(number, None)
                results[number] = accept_deidentified(
                    arrival.site, arrival.staged, profile, arrival.source
                )
            elif number not in objects:
                header = read_header(arrival.staged.path)
                objects[number] = Object(arrival.site, arrival.staged, header, arrival.source)
        except NotAccepted as refusal:
            results[number] = refusal
    taken = _take(_settled(objects.values()))
    for number, result in zip(objects, taken, strict=True):
        results[number] = result
    outcomes = []
    for number, (arrival, result) in enumerate(zip(arrivals, results, strict=True)):
        assert result is not None
        if isinstance(result, NotAccepted):
            result = _refused(arrival, objects.get(number), result)
        outcomes.append(result)
    return outcomes


def _read_already(arrivals: Sequence[Arrival]) -> dict[int, Object]:
    """By number in ``arrivals``."""
    read = {
        number: Object(arrival.site, arrival.staged, arrival.header, arrival.source)
        for number, arrival in enumerate(arrivals)
        if arrival.header is not None
    }
    return dict(zip(read, _settled(read.values()), strict=True))


def _settled(objects: Iterable[Object]) -> list[Object]:
    """With their content on the disk: before the transaction, so that nobody else waits for it.
    What is there already waits for nothing."""
    objects = list(objects)
    settled = storage.settled([found.staged for found in objects])
    return [
        replace(found, staged=staged) for found, staged in zip(objects, settled, strict=True)
    ]


def _refused(arrival: Arrival, found: Object | None, refusal: NotAccepted) -> Outcome:
    if isinstance(refusal, Ignored):
        return Outcome(Result.IGNORED, refusal.code, refusal.reason)
    if found is not None:
        note_refusal(
            arrival.site, refusal.code, found.header.study_instance_uid,
            found.header.series_instance_uid, found.header.sop_instance_uid,
        )  # fmt: skip
    return quarantine(
        arrival.site,
        arrival.staged,
        refusal,
        source=arrival.source,
        filename=arrival.filename,
        upload=arrival.upload,
    )


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
    with deidentified(site, staged, profile, pass_burned_in=pass_burned_in) as (clean, found):
        outcome = accept(site, clean, read_header(clean.path), source)
    if outcome.result is Result.STORED and outcome.study_id is not None:
        mark_deidentified(outcome.study_id, found.burned_in)
    return outcome


def accept(site: Site, staged: storage.Staged, header: Header, source: str) -> Outcome:
    """Store an object whose header was read. Raises :class:`NotAccepted`."""
    [result] = _take([Object(site, staged, header, source)])
    if isinstance(result, NotAccepted):
        raise result
    return result


def _take(objects: list[Object]) -> list[Outcome | NotAccepted]:
    if not objects:
        return []
    with transaction.atomic():
        known = _known(objects)
        stored, refused = _write_new(objects, known)
        known.update({objects[number].key: row for number, row in stored.items()})
    results: list[Outcome | NotAccepted] = []
    for number, found in enumerate(objects):
        if number in refused:
            results.append(refused[number])
        elif number in stored:
            results.append(_outcome(Result.STORED, stored[number]))
        else:
            results.append(_judge_repetition(found, known[found.key]))
    return results


def _outcome(result: Result, row: Instance) -> Outcome:
    return Outcome(result, instance_id=row.pk, study_id=row.series.study_id)


def _judge_repetition(found: Object, row: Instance) -> Outcome | NotAccepted:
    if row.sha256 == found.staged.sha256:
        # Bytes that a failing disk has lost come back with the next sending.
        storage.archive(found.staged)
        return _outcome(Result.REPEATED, row)
    try:
        same = same_object(found.staged.path, storage.path_of(row.sha256))
    except storage.BytesMissing:
        same = False
    if same:
        return _outcome(Result.REPEATED, row)
    return NotAccepted(
        "conflicting",
        "Another object with this instance UID, but other content, was received before. "
        "The first one stays.",
    )


def _known(objects: Iterable[Object]) -> dict[tuple[int, str], Instance]:
    """The rows under these instance UIDs, in one query."""
    rows = (
        Instance.objects.filter(
            site_id__in={found.site.pk for found in objects},
            sop_instance_uid__in={found.header.sop_instance_uid for found in objects},
        )
        .select_related("series")
        .only("site", "sop_instance_uid", "sha256", "series__study")
    )
    return {(row.site_id, row.sop_instance_uid): row for row in rows}


def _write_new(
    objects: list[Object], known: dict[tuple[int, str], Instance]
) -> tuple[dict[int, Instance], dict[int, NotAccepted]]:
    """Write the rows of what is new, move its bytes into the archive: (stored, refused), by
    number.

    Of several objects under one UID one is stored. What another process stored since ``known``
    was read is added to ``known``.
    """
    new = sorted(
        (number for number, found in enumerate(objects) if found.key not in known),
        key=lambda number: (*objects[number].order, number),
    )
    if not new:
        return {}, {}
    places = Places((objects[number].site, objects[number].header) for number in new)
    refused: dict[int, NotAccepted] = {}
    rows: dict[int, Instance] = {}
    taken: set[tuple[int, str]] = set()
    for number in new:
        found = objects[number]
        if found.key in taken:
            continue
        try:
            rows[number] = _row(found, places.series_for(found.site, found.header))
            taken.add(found.key)
        except NotAccepted as refusal:
            refused[number] = refusal
    stored = _insert(rows, known)
    storage.archive(*(objects[number].staged for number in stored))
    for number, row in stored.items():
        if not row.is_image:
            note(
                row.series.study, "not_an_image", NoticeLevel.INFO,
                f"{objects[number].header.sop_class_name}: this object holds no images. "
                "It is kept with the study.",
            )  # fmt: skip
    places.touch({row.series.study_id for row in stored.values()})
    return stored, refused


def _row(found: Object, series: Series) -> Instance:
    return Instance(
        site=found.site,
        series=series,
        sha256=found.staged.sha256,
        size=found.staged.size,
        source=found.source,
        **instance_columns(found.header),
    )


def _insert(
    rows: dict[int, Instance], known: dict[tuple[int, str], Instance]
) -> dict[int, Instance]:
    """Insert the rows at once; if another process was first with some, one by one.

    Only who wins the row moves the bytes into the archive, before the row is committed.
    """
    try:
        with transaction.atomic():
            Instance.objects.bulk_create(rows.values())
        return rows
    except IntegrityError:
        pass
    stored = {}
    for number, row in rows.items():
        row.pk = None
        try:
            with transaction.atomic():
                row.save(force_insert=True)
            stored[number] = row
        except IntegrityError:
            known[row.site_id, row.sop_instance_uid] = Instance.objects.select_related(
                "series"
            ).get(site_id=row.site_id, sop_instance_uid=row.sop_instance_uid)
    return stored
