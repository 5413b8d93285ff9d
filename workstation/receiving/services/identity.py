"""Who is who: merge two patients, move a study, link patients of two sites; each with an undo.

A study remembers whom its headers name (:func:`named_by_headers`), so that a change can be taken
back exactly and images that arrive later find their study. Reports that are signed are never
given another patient behind the signer's back: see :func:`_refuse_signed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import allowed
from workstation.accounts.services import record
from workstation.broker import nudge
from workstation.live import publish
from workstation.receiving.models import (
    ChangeKind,
    IdentityChange,
    Patient,
    PatientLink,
    Study,
)
from workstation.receiving.services.conflicts import note_study_conflicts

SIGNED = "signed"
"""A signed case without addendum. With one, the correction is on record and may follow."""


class CannotChange(Exception):
    """The patients or studies do not allow this; the text says what to do instead."""


def resolve(patient: Patient) -> Patient:
    """The patient that this ID stands for today: itself, or whom it was merged into."""
    while patient.merged_into is not None:
        patient = patient.merged_into
    return patient


def named_by_headers(study: Study) -> Patient:
    """The patient row that the images of the study name, wherever the study lies today."""
    return study.received_as or study.patient


def takes(study: Study, named: Patient) -> bool:
    """Whether images whose headers name ``named`` belong to this study: it is the study's patient,
    was merged into it, or is whom the study's first images named before it was moved."""
    if named.pk in (study.patient_id, study.received_as_id):
        return True
    return resolve(named).pk == study.patient_id


@transaction.atomic
def merge_patients(
    source: Patient, target: Patient, user: User, reason: str, *, address: str = ""
) -> IdentityChange:
    """Two IDs of one site are one person: ``source``'s studies, also later ones, are ``target``'s.

    Raises :class:`CannotChange`.
    """
    source, target = _locked(source, target)
    reason = _reason(reason)
    _same_site(source, target)
    for patient in (source, target):
        if patient.merged_into_id:
            raise CannotChange(
                gettext("One of these IDs was merged already: use the one it belongs to.")
            )
    studies = list(Study.objects.select_for_update().filter(patient=source))
    _refuse_signed(studies)
    source.merged_into = target
    source.save(update_fields=["merged_into"])
    return _change(ChangeKind.MERGE, source, target, studies, user, reason, address)


@transaction.atomic
def move_study(
    study: Study, target: Patient, user: User, reason: str, *, address: str = ""
) -> IdentityChange:
    """The images are of another person of the site than their headers say.

    Raises :class:`CannotChange`.
    """
    reason = _reason(reason)
    locked = Study.objects.select_for_update().get(pk=study.pk)
    source, target = _locked(locked.patient, resolve(target))
    _same_site(source, target)
    _refuse_signed([locked])
    return _change(ChangeKind.MOVE, source, target, [locked], user, reason, address)


@transaction.atomic
def undo_change(change: IdentityChange, user: User, *, address: str = "") -> None:
    """Take a merge or move back; studies that followed it later go back as well.

    Raises :class:`CannotChange` if something later builds on it.
    """
    row = IdentityChange.objects.select_for_update().get(pk=change.pk)
    if row.undone_at is not None:
        raise CannotChange(gettext("This was taken back already."))
    source, target = _locked(row.from_patient, row.to_patient)
    changed = list(row.studies.select_for_update())
    later = "Something later builds on this. Take the later change back first."
    if any(study.patient_id != target.pk for study in changed):
        raise CannotChange(later)
    if row.kind == ChangeKind.MERGE:
        if source.merged_into_id != target.pk or target.merged_into_id:
            raise CannotChange(later)
        changed += _followers(row, source, target, changed)
    _refuse_signed(changed)
    if row.kind == ChangeKind.MERGE:
        source.merged_into = None
        source.save(update_fields=["merged_into"])
    _give(changed, source)
    row.undone_by, row.undone_at = user, timezone.now()
    row.save(update_fields=["undone_by", "undone_at"])
    record(
        "identify", user=user, site=row.site, obj=row, remote_address=address,
        detail={"action": f"undo {row.kind}", "studies": [s.pk for s in changed]},
    )  # fmt: skip
    _tell(row.site_id, changed)


def follow_merges() -> int:
    """Studies that were being stored while their patient was merged follow the others; how many.

    Whoever stored them had looked at the patient a moment before the merge.
    """
    late = Study.objects.filter(patient__merged_into__isnull=False).order_by("pk")
    return sum(_follow_merge(pk) for pk in list(late.values_list("pk", flat=True)[:100]))


@transaction.atomic
def _follow_merge(study_id: int) -> bool:
    study = Study.objects.select_for_update().get(pk=study_id)
    merged = study.patient
    while merged.merged_into is not None:
        change = IdentityChange.objects.filter(
            kind=ChangeKind.MERGE, from_patient=merged, undone_at=None
        ).latest("pk")
        change.studies.add(study)  # so it goes back with them as well
        merged = merged.merged_into
    if merged.pk == study.patient_id:
        return False  # taken back in this moment
    _give([study], merged)
    _tell(study.site_id, [study])
    return True


@transaction.atomic
def link_patients(
    one: Patient, other: Patient, user: User, reason: str, *, address: str = ""
) -> PatientLink:
    """Two patients, usually of two sites, are one person; both keep their ID and their studies.

    Only an administrator of both sites may say so. Raises :class:`CannotChange`.
    """
    reason = _reason(reason)
    one, other = _locked(resolve(one), resolve(other))
    _administers(user, one.site, other.site)
    if one.pk == other.pk:
        raise CannotChange(gettext("This is one patient already."))
    if PatientLink.objects.filter(patient=one, other=other, undone_at=None).exists():
        raise CannotChange(gettext("These patients are linked already."))
    rows = [
        PatientLink.objects.create(
            site=patient.site, patient=patient, other=person, reason=reason, by=user
        )
        for patient, person in ((one, other), (other, one))
    ]
    for row in rows:
        record(
            "identify", user=user, site=row.site, obj=row, remote_address=address,
            detail={"action": "link", "patient": row.patient_id, "other": row.other_id},
        )  # fmt: skip
    _tell_of_link(one, other)
    return rows[0]


@transaction.atomic
def undo_link(link: PatientLink, user: User, *, address: str = "") -> None:
    """The two are two persons after all; both directions end. Raises :class:`CannotChange`."""
    one, other = link.patient, link.other
    _administers(user, one.site, other.site)
    rows = list(
        PatientLink.objects.select_for_update().filter(
            Q(patient=one, other=other) | Q(patient=other, other=one), undone_at=None
        )
    )
    if not rows:
        raise CannotChange(gettext("This link was taken back already."))
    for row in rows:
        row.undone_by, row.undone_at = user, timezone.now()
        row.save(update_fields=["undone_by", "undone_at"])
        record(
            "identify", user=user, site=row.site, obj=row, remote_address=address,
            detail={"action": "unlink", "patient": row.patient_id, "other": row.other_id},
        )  # fmt: skip
    _tell_of_link(one, other)


def linked_to(patient: Patient) -> list[Patient]:
    """Patients an administrator linked to this one, under the IDs they have today."""
    links = PatientLink.objects.filter(
        Q(patient=patient) | Q(patient__merged_into=patient), undone_at=None
    )
    found = {resolve(link.other) for link in links.select_related("other__merged_into")}
    return sorted(found - {patient}, key=lambda other: other.pk)


def possibly_same(patient: Patient, user: User) -> list[Patient]:
    """Other patients of the user's sites with the same name, birth date and sex; a suggestion."""
    if not patient.name_key or patient.birth_date is None or patient.merged_into_id:
        return []
    linked = {other.pk for other in linked_to(patient)}
    return list(
        Patient.objects.for_user(user)
        .filter(
            name_key=patient.name_key, birth_date=patient.birth_date, sex=patient.sex,
            merged_into=None,
        )
        .exclude(pk__in=[patient.pk, *linked])
        .select_related("site")
        .order_by("pk")[:20]
    )  # fmt: skip


def _locked(one: Patient, other: Patient) -> tuple[Patient, Patient]:
    """Both rows, locked in the order of their keys, so that two people never wait in a circle."""
    rows = {
        row.pk: row
        for row in Patient.objects.select_for_update().filter(
            pk__in=[one.pk, other.pk]).order_by("pk")
    }  # fmt: skip
    return rows[one.pk], rows[other.pk]


def _reason(reason: str) -> str:
    if not reason.strip():
        raise CannotChange(gettext("Say why; the reason stays in the history."))
    return reason.strip()[:255]


def _same_site(source: Patient, target: Patient) -> None:
    if source.pk == target.pk:
        raise CannotChange(gettext("This is the same patient."))
    if source.site_id != target.site_id:
        raise CannotChange(
            gettext(
                "These patients belong to two sites, and an ID means something only at its own "
                "site. "
                "An administrator of both sites can link them."
            )
        )


def _administers(user: User, *sites: Site) -> None:
    own = set(user.sites.values_list("pk", flat=True))
    if not allowed(user, "patient.link") or not {site.pk for site in sites} <= own:
        raise CannotChange(gettext("Only an administrator of both sites can link their patients."))


def _refuse_signed(studies: Iterable[Study]) -> None:
    """A signed report names a patient. Its signer has to put a correction on record first."""
    held = Study.objects.filter(pk__in=[s.pk for s in studies], cases__state=SIGNED)
    cases = sorted(set(held.values_list("cases__pk", flat=True)))
    if cases:
        numbers = ", ".join(str(number) for number in cases)
        raise CannotChange(
            gettext(
                "A report on these images is signed (case {numbers}). A radiologist has to sign an "
                "addendum there that says whose images they are; then this can be done."
            ).format(numbers=numbers)
        )


def _followers(
    row: IdentityChange, source: Patient, target: Patient, changed: list[Study]
) -> list[Study]:
    """Studies that arrived under the merged ID after the merge."""
    moved = IdentityChange.objects.filter(
        kind=ChangeKind.MOVE, to_patient=target, undone_at=None
    ).values("studies")
    candidates = (
        Study.objects.select_for_update(of=("self",))
        .filter(patient=target, received_as__isnull=False, received_at__gte=row.at)
        .exclude(pk__in=[study.pk for study in changed])
        .exclude(pk__in=moved)
    )
    return [study for study in candidates if _passes(study.received_as, source)]


def _passes(named: Patient | None, source: Patient) -> bool:
    """Whether the way from this ID to whom it stands for leads over ``source``."""
    while named is not None and named.pk != source.pk:
        named = named.merged_into
    return named is not None


def _change(
    kind: ChangeKind, source: Patient, target: Patient, studies: list[Study],
    user: User, reason: str, address: str,
) -> IdentityChange:  # fmt: skip
    row = IdentityChange.objects.create(
        site=source.site, kind=kind, from_patient=source, to_patient=target, reason=reason, by=user
    )
    row.studies.set(studies)
    _give(studies, target)
    record(
        "identify", user=user, site=row.site, obj=row, remote_address=address,
        detail={
            "action": str(kind), "from": source.pk, "to": target.pk,
            "studies": [study.pk for study in studies],
        },
    )  # fmt: skip
    _tell(row.site_id, studies)
    return row


def _give(studies: list[Study], patient: Patient) -> None:
    """Set the patient; the headers' own patient stays known, so nothing else needs undoing."""
    for study in studies:
        named = named_by_headers(study)
        study.patient = patient
        study.received_as = None if named.pk == patient.pk else named
        study.save(update_fields=["patient", "received_as"])
    for study in studies:
        note_study_conflicts(study)


def _tell(site_id: int, studies: list[Study]) -> None:
    """Cases follow by the flow, which reads what is true now."""
    publish(site_id, "upload")
    for study in studies:
        for case_id in study.cases.values_list("pk", flat=True):
            transaction.on_commit(partial(nudge, case_id))


def _tell_of_link(*patients: Patient) -> None:
    for patient in patients:
        publish(patient.site_id, "upload")
        for case_id in patient.cases.values_list("pk", flat=True):
            transaction.on_commit(partial(nudge, case_id))
