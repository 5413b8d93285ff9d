"""The second step of a run: every series into the reference's space, each by its best way.

In this order, for each series: what the reader decided; a registration object made elsewhere, if
the images confirm it; a chain by way of a series that is better placed; a registration of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from analysis.contracts import (
    DEFORMED,
    IDENTITY,
    AssembleResult,
    FieldRecord,
    Matrix,
    Notice,
    RegisterResult,
    RegistrationRecord,
    StepRequest,
    VolumeRecord,
)
from analysis.deformation import Deformation
from analysis.deformed_layers import write_deformed
from analysis.geometry import Volume
from analysis.progress import Progress
from analysis.registration import REGISTRATION_VERSION, register_series
from analysis.registration.cache import CachedRegister
from analysis.registration.chains import better, compose
from analysis.registration.claims import DeliveredRegistrations
from analysis.registration.delivered import field_store, register_with_objects
from analysis.registration.spatial_registration import read_registrations
from analysis.volume_store import read_volume

FUNCTIONAL = ("PT", "NM")
"""Modalities with little anatomy: their place is better known from the CT they came with."""


@dataclass(frozen=True)
class Way:
    """A series by way of which another one is registered, and why."""

    middle: VolumeRecord
    rule: str


@dataclass
class _Case:
    request: StepRequest
    folder: Path
    reference: VolumeRecord
    series: list[VolumeRecord]
    """All but the reference."""
    register: CachedRegister
    delivered: DeliveredRegistrations
    records: dict[str, RegistrationRecord] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)

    def read(self, record: VolumeRecord) -> Volume:
        return self.register.know(read_volume(Path(self.request.run_dir), record), record)


def register(
    request: StepRequest, folder: Path, progress: Progress, assembled: AssembleResult
) -> RegisterResult:
    """Register every series that speaks (siblings share its place) to the reference.

    A series by way of which others may go is done before them. Registrations are kept in
    ``request.cache_dir`` and not computed twice. Equal input gives an equal result, from the
    cache or not.
    """
    speakers = [v for v in assembled.volumes if v.speaks]
    reference = next(v for v in speakers if v.key == assembled.reference_series_uid)
    objects, unread = read_registrations(request.series)
    case = _Case(
        request, folder, reference, [v for v in speakers if v is not reference],
        CachedRegister(Path(request.cache_dir) if request.cache_dir else None, register_series),
        DeliveredRegistrations(objects), notices=list(unread),
    )  # fmt: skip
    fixed = case.read(reference)
    ordered = sorted(case.series, key=lambda v: (v.prior, v.modality in FUNCTIONAL))
    for done, record in enumerate(ordered):

        def show(share: float, text: str, done: int = done, label: str = record.label) -> None:
            progress((done + share) / len(ordered), f"{label}: {text}")

        uid = record.series_instance_uid
        decided = request.fixed_registrations.get(uid)
        if decided is not None and decided.reference_series_uid == reference.key:
            case.delivered.claim(record, reference)  # asked, so that no notice calls it a stranger
            case.records[uid] = decided
        else:
            case.records[uid] = _place(case, record, fixed, show)
    records = tuple(case.records[v.series_instance_uid] for v in case.series)
    doubts = tuple(
        _doubt(case.records[v.series_instance_uid], v.label)
        for v in case.series
        if case.records[v.series_instance_uid].verdict != "usable"
    )
    notices = (*case.notices, *case.delivered.notices, *doubts)
    deformed = tuple(
        _draw(case, v, fixed, case.records[v.series_instance_uid])
        for v in case.series
        if case.records[v.series_instance_uid].deformation is not None
    )
    return RegisterResult((_itself(reference), *records), notices, deformed)


def _draw(
    case: _Case, moving: VolumeRecord, fixed: Volume, record: RegistrationRecord
) -> VolumeRecord:
    """The layer of a series whose deformation was delivered."""
    assert record.deformation is not None
    run_dir = Path(case.request.run_dir)
    key = f"{DEFORMED}{moving.series_instance_uid}"
    return write_deformed(
        case.folder / f"{key}.rfv", case.read(moving), moving,
        Deformation.read(run_dir / record.deformation.path, sha256=record.deformation.sha256),
        reference=fixed.grid, frame_of_reference_uid=case.reference.frame_of_reference_uid,
        run_dir=run_dir, key=key,
    )  # fmt: skip


def ways(
    record: VolumeRecord,
    reference: VolumeRecord,
    series: list[VolumeRecord],
    records: dict[str, RegistrationRecord],
) -> list[Way]:
    """By way of which registered series ``record`` may go to the reference, best first.

    None for a series in the reference's own frame. Else, of what is registered and not refused:
    first an anatomical series in the same frame of reference; then, for a prior, a current series
    of the same kind, which resembles it more than a reference of another kind does.
    """
    frame = record.frame_of_reference_uid
    if frame and frame == reference.frame_of_reference_uid:
        return []

    def error_rank(volume: VolumeRecord) -> tuple[bool, str]:
        return records[volume.key].verdict != "usable", volume.key

    placed = sorted(
        (
            v for v in series
            if v.key != record.key and v.key in records and records[v.key].verdict != "refused"
            and v.modality not in FUNCTIONAL
        ),
        key=error_rank,
    )  # fmt: skip
    found = [
        Way(v, f"it shares its frame of reference with {v.label}")
        for v in placed
        if frame and v.frame_of_reference_uid == frame
    ]
    if record.prior and record.modality != reference.modality:
        found += [
            Way(v, f"the current {v.label} resembles it more than the reference does")
            for v in placed
            if not v.prior and v.modality == record.modality and v.role == record.role
        ]
    return found


def _place(
    case: _Case, record: VolumeRecord, fixed: Volume, progress: Progress
) -> RegistrationRecord:
    moving = case.read(record)
    registered, notices = register_with_objects(
        case.delivered,
        (record, moving),
        (case.reference, fixed),
        lambda show: _own(case, record, moving, fixed, show),
        seed=case.request.seed,
        threads=case.request.threads,
        run_dir=Path(case.request.run_dir),
        folder=case.folder,
        register=case.register,
        progress=progress,
    )
    case.notices += notices
    return registered


def _own(
    case: _Case, record: VolumeRecord, moving: Volume, fixed: Volume, progress: Progress
) -> RegistrationRecord:
    """By chain where there is one and it is the better way, else directly.

    What carries little anatomy, and a prior of another kind than the reference, tries the chain
    first and is registered directly only if that is not usable. Any other series is registered
    directly and tries the chain only if that is not usable.
    """
    found = ways(record, case.reference, case.series, case.records)
    if not found:
        return _pair(case, record, moving, case.reference, fixed, progress)

    def half(second: bool) -> Progress:
        return lambda share, text: progress(0.5 * (share + second), text)

    def chain(show: Progress) -> RegistrationRecord:
        way = found[0]
        middle = case.read(way.middle)
        first = _pair(case, record, moving, way.middle, middle, show)

        def keep(field: FieldRecord, matrix: Matrix) -> FieldRecord:
            run_dir = Path(case.request.run_dir)
            stored = Deformation.read(run_dir / field.path, sha256=field.sha256)
            own = Deformation(stored.displacement, stored.grid, matrix)
            return field_store(run_dir, case.folder, record.key, "chain")(own)

        return compose(first, case.records[way.middle.key], rule=way.rule, keep_field=keep)

    def direct(show: Progress) -> RegistrationRecord:
        return _pair(case, record, moving, case.reference, fixed, show)

    chain_first = record.prior or record.modality in FUNCTIONAL
    tried = chain(half(False)) if chain_first else direct(half(False))
    if tried.verdict == "usable":
        return tried
    if not chain_first and case.records[found[0].middle.key].verdict != "usable":
        return tried
    return better(tried, (direct if chain_first else chain)(half(True)))


def _pair(
    case: _Case,
    record: VolumeRecord,
    moving: Volume,
    middle: VolumeRecord,
    fixed: Volume,
    progress: Progress,
) -> RegistrationRecord:
    frame = record.frame_of_reference_uid
    return case.register(
        moving,
        fixed,
        moving_uid=record.series_instance_uid,
        reference_uid=middle.series_instance_uid,
        same_frame=bool(frame) and frame == middle.frame_of_reference_uid,
        seed=case.request.seed,
        threads=case.request.threads,
        progress=progress,
    )


def _itself(reference: VolumeRecord) -> RegistrationRecord:
    uid = reference.series_instance_uid
    return RegistrationRecord(
        uid, uid, "reference", IDENTITY, "reference series", REGISTRATION_VERSION, "usable"
    )


def _doubt(registration: RegistrationRecord, label: str) -> Notice:
    doubtful = registration.verdict == "doubtful"
    fused = "is not fused until you accept it" if doubtful else "is not fused"
    why = f": {'; '.join(registration.reasons)}" if registration.reasons else ""
    return Notice(
        f"registration_{registration.verdict}",
        f"{label} {fused}{why}.",
        "warning",
        registration.series_instance_uid,
    )
