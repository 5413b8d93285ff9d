"""QIDO-RS: search for studies, series and instances (PS3.18 10.6).

Study and series answers come from the tables alone; counts are asked for the page's studies only.
Headers are read only for instance searches that ask for attributes no column holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, time
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import QueryDict
from pydicom.datadict import dictionary_VR, tag_for_keyword

from workstation.receiving.dicomweb.attributes import (
    BY_KEYWORD,
    KEYS,
    MODALITIES_IN_STUDY,
    ONLY_IF_ASKED,
    Level,
    is_private_tag,
    keyword_of,
)
from workstation.receiving.dicomweb.encoding import Json, element
from workstation.receiving.dicomweb.matching import BadQuery, condition, is_wild, several, text
from workstation.receiving.dicomweb.metadata import metadata
from workstation.receiving.models import Instance, Series, Study

RESERVED = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "accept", "charset", "site",
     "emptyvaluematching", "multiplevaluematching"}
)  # fmt: skip
MOST = {Level.STUDY: 500, Level.SERIES: 1000, Level.INSTANCE: 5000}
"""Results of one answer, whatever limit was asked for."""
MOST_WITH_HEADERS = 200
STUDY_OF = {Level.STUDY: "", Level.SERIES: "study__", Level.INSTANCE: "series__study__"}
SERIES_OF = {Level.SERIES: "", Level.INSTANCE: "series__"}


@dataclass
class Search:
    """A search as it was understood."""

    level: Level
    matches: Q = field(default_factory=Q)
    offset: int = 0
    limit: int = 0
    capped: bool = False
    """The server's limit is lower than the client's."""
    included: set[str] = field(default_factory=set)
    everything: bool = False
    warnings: list[str] = field(default_factory=list)


def parse(parameters: QueryDict, level: Level) -> Search:
    """Raises :class:`BadQuery` for what is no DICOM attribute or has an impossible value.

    Attributes that no column holds are not matched, and the answer says so in a Warning header.
    """
    search = Search(level)
    fuzzy = _boolean(parameters, "fuzzymatching")
    for name in parameters:
        if name in RESERVED:
            continue
        for value in parameters.getlist(name):
            _add_key(search, name, value.strip(), fuzzy=fuzzy)
    _add_included(search, parameters)
    asked = _whole(parameters, "limit", None)
    most = MOST_WITH_HEADERS if needs_headers(search) else MOST[level]
    search.offset = _whole(parameters, "offset", 0) or 0
    search.limit = most if asked is None else min(asked, most)
    search.capped = asked is None or asked > most
    return search


def _boolean(parameters: QueryDict, name: str) -> bool:
    value = parameters.get(name, "false").lower()
    if value not in ("true", "false"):
        raise BadQuery(f"{name} is true or false.")
    return value == "true"


def _whole(parameters: QueryDict, name: str, default: int | None) -> int | None:
    value = parameters.get(name, "")
    if value == "":
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise BadQuery(f"{name} is a whole number, 0 or more.")
    return int(value)


def _add_key(search: Search, name: str, value: str, *, fuzzy: bool) -> None:
    keyword = keyword_of(name)
    if not keyword:
        if is_private_tag(name):
            search.warnings.append(f"{name} is not supported for matching and was ignored")
            return
        raise BadQuery(f"{name[:64]!r} is neither a DICOM attribute nor a parameter of a search.")
    search.included.add(keyword)
    if value in ("", '""'):
        return
    if keyword == MODALITIES_IN_STUDY:
        search.matches &= _in_study(search.level, value)
        return
    key = BY_KEYWORD.get(keyword)
    if key is None or key.level > search.level:
        search.warnings.append(f"{keyword} is not supported for matching and was ignored")
        return
    column = f"{_prefix(key.level, search.level)}{key.column}"
    search.matches &= condition(key, column, value, fuzzy=fuzzy)


def _prefix(of: Level, level: Level) -> str:
    if of is Level.STUDY:
        return STUDY_OF[level]
    return SERIES_OF[level] if of is Level.SERIES else ""


def _in_study(level: Level, value: str) -> Q:
    series = Series.objects.filter(study=OuterRef(f"{STUDY_OF[level]}pk"))
    if is_wild(value):
        return Q(Exists(series.filter(text("modality", value))))
    return Q(Exists(series.filter(modality__in=several(value))))


def _add_included(search: Search, parameters: QueryDict) -> None:
    for entry in parameters.getlist("includefield"):
        for name in filter(None, (part.strip() for part in entry.split(","))):
            if name == "all":
                search.everything = True
            elif keyword := keyword_of(name):
                search.included.add(keyword)
            elif is_private_tag(name):
                search.included.add(name.upper())
            else:
                raise BadQuery(f"includefield names no DICOM attribute: {name[:64]!r}.")


def needs_headers(search: Search) -> bool:
    """Whether an instance search asks for attributes that no column holds."""
    if search.level is not Level.INSTANCE:
        return False
    known = BY_KEYWORD.keys() | {MODALITIES_IN_STUDY, *STUDY_COUNTS}
    return search.everything or bool(search.included - known)


STUDY_COUNTS = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")


def rows_of(search: Search, rows: QuerySet[Any], *, within: bool) -> list[Any]:
    """The page, and one row more if there is one. ``within``: the path names a study."""
    rows = rows.filter(search.matches)
    if search.level is Level.STUDY:
        rows = rows.select_related("patient").order_by("-study_date", "-id")
    elif search.level is Level.SERIES:
        order = ("series_number", "id") if within else ("id",)
        rows = rows.select_related("study__patient").order_by(*order)
    else:
        order = ("series__series_number", "series_id", "instance_number", "id")
        rows = rows.select_related("series__study__patient", "series__study__received_as")
        rows = rows.order_by(*(order if within else ("id",)))
    return list(rows[search.offset : search.offset + search.limit + 1])


@dataclass
class StudyFacts:
    """What a page needs to know of each study, asked for the whole page at once."""

    modalities: dict[int, list[str]]
    series: dict[int, int]
    instances: dict[int, int]


def facts_of(studies: Iterable[int]) -> StudyFacts:
    ids = set(studies)
    modalities: dict[int, list[str]] = defaultdict(list)
    series: dict[int, int] = defaultdict(int)
    grouped = Series.objects.filter(study__in=ids).values_list("study", "modality")
    for study, modality, count in grouped.annotate(count=Count("pk")).order_by("modality"):
        modalities[study].append(modality)
        series[study] += count
    counted = Instance.objects.filter(series__study__in=ids).values_list("series__study")
    return StudyFacts(modalities, series, dict(counted.annotate(count=Count("pk")).order_by()))


def counts_of_series(series: Iterable[int]) -> dict[int, int]:
    rows = Instance.objects.filter(series__in=set(series)).values_list("series")
    return dict(rows.annotate(count=Count("pk")).order_by())


def results(search: Search, page: list[Any], root: str, *, within: bool) -> list[Json]:
    """The page as DICOM JSON. ``root`` is the service's URL."""
    with_study = not within or search.level is Level.STUDY
    wanted = with_study or search.everything or bool(
        search.included & {MODALITIES_IN_STUDY, *STUDY_COUNTS}
    )
    studies = {_study_of(row, search.level).pk for row in page} if wanted else set()
    facts = facts_of(studies)
    counts: dict[int, int] = {}
    if search.level is Level.SERIES or (search.level is Level.INSTANCE and not within):
        counts = counts_of_series(_series_of(row, search.level).pk for row in page)
    found = []
    for row in page:
        study = _study_of(row, search.level)
        item: Json = {}
        if needs_headers(search):
            item = _from_header(search, row, root)
        item.update(_columns(row, search, with_study=with_study))
        if wanted:
            item.update(_counts(study, facts))
        if search.level is not Level.STUDY:
            series = _series_of(row, search.level)
            item["0020000D"] = element("UI", study.study_instance_uid)
            item["0020000E"] = element("UI", series.series_instance_uid)
            if series.pk in counts:
                item["00201209"] = element("IS", counts[series.pk])
        item["00080005"] = element("CS", "ISO_IR 192")
        item["00080056"] = element("CS", "ONLINE")
        item["00081190"] = element("UR", url_of(row, root))
        if search.level is Level.STUDY:
            item.update(_evidence(study, search))
        found.append(dict(sorted(item.items())))
    return found


def _study_of(row: Any, level: Level) -> Study:
    if level is Level.STUDY:
        return row
    return row.study if level is Level.SERIES else row.series.study


def _series_of(row: Any, level: Level) -> Series:
    return row if level is Level.SERIES else row.series


def url_of(row: Study | Series | Instance, root: str) -> str:
    """The RetrieveURL of a study, series or instance."""
    if isinstance(row, Study):
        return f"{root}/studies/{row.study_instance_uid}"
    if isinstance(row, Series):
        return f"{url_of(row.study, root)}/series/{row.series_instance_uid}"
    return f"{url_of(row.series, root)}/instances/{row.sop_instance_uid}"


def _columns(row: Any, search: Search, *, with_study: bool) -> Json:
    """Levels above the search's own: all if the path does not name them, else what is asked."""
    found: Json = {}
    for key in KEYS:
        asked = search.everything or key.keyword in search.included
        own = key.level is search.level or with_study
        if key.level > search.level or not (asked or (own and key.keyword not in ONLY_IF_ASKED)):
            continue
        found[key.tag] = element(key.vr, *_column(row, search.level, key.level, key.column))
    return found


def _column(row: Any, level: Level, of: Level, column: str) -> tuple[Any, ...]:
    holder: Any = row
    if of is not level:
        holder = _study_of(row, level) if of is Level.STUDY else _series_of(row, level)
    for step in column.split("__"):
        holder = holder.get(step) if isinstance(holder, dict) else getattr(holder, step)
    if isinstance(holder, date):
        holder = holder.strftime("%Y%m%d")
    elif isinstance(holder, time):
        holder = holder.strftime("%H%M%S.%f" if holder.microsecond else "%H%M%S")
    return (holder,)


def _counts(study: Study, facts: StudyFacts) -> Json:
    return {
        "00080061": element("CS", *facts.modalities.get(study.pk, [])),
        "00201206": element("IS", facts.series.get(study.pk, 0)),
        "00201208": element("IS", facts.instances.get(study.pk, 0)),
    }


def _evidence(study: Study, search: Search) -> Json:
    """Attributes of the first header that the study's row keeps as evidence."""
    found: Json = {}
    for keyword, value in study.header.items():
        tag = tag_for_keyword(keyword)
        if tag is None or keyword in BY_KEYWORD or keyword == "SpecificCharacterSet":
            continue
        if search.everything or keyword in search.included or keyword == "TimezoneOffsetFromUTC":
            found[f"{tag:08X}"] = element(str(dictionary_VR(tag)), value)
    return found


def _from_header(search: Search, instance: Instance, root: str) -> Json:
    whole = metadata(instance, url_of(instance, root))
    if search.everything:
        return whole
    tags = {
        name if is_private_tag(name) else f"{tag_for_keyword(name.partition('.')[0]) or 0:08X}"
        for name in search.included
    }
    return {tag: value for tag, value in whole.items() if tag in tags}
