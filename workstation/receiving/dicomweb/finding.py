"""The rows a request may see, and the one that its path names.

``visible`` is the only way from a DICOMweb request to rows: the user's sites, narrowed to the
token's site (``SiteQuerySet.for_user``), and to ``?site=CODE`` if given.
"""

from __future__ import annotations

from typing import Any, TypeVar

from django.db.models import Model, QuerySet
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request

from workstation.receiving.models import Instance, Series, Study

Row = TypeVar("Row", bound=Model)


class Conflict(APIException):
    status_code = 409
    default_code = "conflict"


def visible(request: Request, model: type[Row]) -> QuerySet[Row]:
    """The rows of ``model`` that this request may see; deleted studies are not there."""
    rows = model.objects.for_user(request.user)  # type: ignore[attr-defined]
    path = {Study: "", Series: "study__", Instance: "series__study__"}[model]  # type: ignore[index]
    rows = rows.filter(**{f"{path}deleted_at__isnull": True})
    if code := request.GET.get("site", ""):
        rows = rows.filter(**{f"{model.SITE_PATH}__code": code})  # type: ignore[attr-defined]
    return rows


def study_of(request: Request, study: str) -> Study:
    """404 if it is not there for this user; 409 if two of the user's sites have it."""
    return _one(visible(request, Study).filter(study_instance_uid=study), "study")


def series_of(request: Request, study: str, series: str) -> Series:
    rows = visible(request, Series).filter(
        study__study_instance_uid=study, series_instance_uid=series
    )
    return _one(rows.select_related("study"), "series")


def instance_of(request: Request, study: str, series: str, instance: str) -> Instance:
    rows = visible(request, Instance).filter(
        sop_instance_uid=instance,
        series__series_instance_uid=series,
        series__study__study_instance_uid=study,
    )
    return _one(with_study(rows), "instance")


def _one(rows: QuerySet[Row], what: str) -> Row:
    found = list(rows[:2])
    if not found:
        raise NotFound(f"There is no such {what}.")
    if len(found) > 1:
        raise Conflict(f"Two of your sites have this {what}. Add ?site=CODE to choose one.")
    return found[0]


def with_study(rows: QuerySet[Instance]) -> QuerySet[Instance]:
    """Instances with all that is needed to deliver them."""
    return rows.select_related("series__study__patient", "series__study__received_as")


def instances_of(request: Request, path: dict[str, str]) -> tuple[Any, list[Instance]]:
    """The row that a path of study, series and instance names, and its instances in order."""
    if "instance" in path:
        instance = instance_of(request, **path)
        return instance, [instance]
    if "series" in path:
        row: Any = series_of(request, **path)
        rows = Instance.objects.filter(series=row)
    else:
        row = study_of(request, **path)
        rows = Instance.objects.filter(series__study=row)
    ordered = with_study(rows).order_by(
        "series__series_number", "series_id", "instance_number", "id"
    )
    return row, list(ordered)
