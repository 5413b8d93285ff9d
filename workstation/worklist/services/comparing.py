"""Earlier studies that a case only compares with: registered as priors, read elsewhere."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext

from workstation.accounts.models import User
from workstation.receiving.models import Study
from workstation.receiving.services import linked_to
from workstation.worklist.models import Case, PlacementKind
from workstation.worklist.services.assembling import studies_of
from workstation.worklist.services.membership import (
    CannotPlace,
    add_study,
    audit,
    compared_studies,
    lock_open,
    remove_study,
)

K = PlacementKind


@transaction.atomic
def compare_with(case: Case, study: Study, user: User, *, address: str = "") -> None:
    """Look at an earlier study beside this case: its analysis registers the images as a prior,
    which are never its reference and given to no network. Where the study is read does not
    change. Raises :class:`CannotPlace`."""
    locked = lock_open(case)
    if locked.studies.filter(pk=study.pk).exists():
        raise CannotPlace(gettext("The study is in this case already."))
    people = {locked.patient_id, *(other.pk for other in linked_to(locked.patient))}
    if study.patient_id not in people or study.deleted_at is not None:
        raise CannotPlace(
            gettext("The study is of another patient. Only one person is read in a case.")
        )
    days = [one.study_date for one in studies_of(locked) if one.study_date]
    if study.study_date is None or not days or study.study_date > max(days):
        raise CannotPlace(gettext("Only an earlier study with a date can be a prior."))
    if study.completed_at is None:
        raise CannotPlace(gettext("The study is still arriving; try again when it is complete."))
    add_study(locked, study, K.COMPARED, "put in for comparison, as an earlier study", by=user)
    audit(locked, study, user, "compared", address)


@transaction.atomic
def stop_comparing(case: Case, study: Study, user: User, *, address: str = "") -> None:
    """Undo :func:`compare_with`. Raises :class:`CannotPlace`."""
    locked = lock_open(case)
    if not compared_studies(locked).filter(study=study).exists():
        raise CannotPlace(gettext("This study was not put in for comparison."))
    remove_study(locked, study, K.LEFT, "no longer compared", by=user)
    audit(locked, study, user, "no longer compared", address)
