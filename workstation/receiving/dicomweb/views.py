"""The DICOMweb routes: who may, which rows, which audit row; the work is in the other modules."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings
from django.db import Error
from django.http import HttpResponse, HttpResponseBase
from drf_spectacular.utils import extend_schema_view
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import APIException, NotFound, ParseError, UnsupportedMediaType
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.models import Site
from workstation.accounts.services import address_of, record
from workstation.accounts.tokens import TokenAuthentication
from workstation.receiving.dicomweb import describing, retrieving, searching, stow
from workstation.receiving.dicomweb.accepting import json_type
from workstation.receiving.dicomweb.answering import streamed
from workstation.receiving.dicomweb.attributes import Level
from workstation.receiving.dicomweb.finding import (
    instances_of,
    series_of,
    study_of,
    visible,
)
from workstation.receiving.dicomweb.frames import NoFrames, NotDecodable
from workstation.receiving.dicomweb.matching import BadQuery
from workstation.receiving.dicomweb.metadata import JSON, as_array, metadata
from workstation.receiving.dicomweb.parsing import Bounded, NotMultipart, boundary_of, parts
from workstation.receiving.dicomweb.rendering import BadView
from workstation.receiving.models import Instance, Series, Study
from workstation.receiving.storage import BytesMissing

log = logging.getLogger(__name__)
ROWS = {Level.STUDY: Study, Level.SERIES: Series, Level.INSTANCE: Instance}
LONGEST_WARNING = 900
TOO_LARGE = "The request is larger than this server takes in one. Send it in parts."


class Gone(APIException):
    status_code = 410
    default_code = "gone"


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"


class Unavailable(APIException):
    status_code = 503
    default_code = "unavailable"


class CannotShow(APIException):
    status_code = 406
    default_code = "cannot_show"


class Session(SessionAuthentication):
    """A signed-in browser, with its CSRF token in the header."""

    def enforce_csrf(self, request: Request) -> None:
        # REST framework's own would parse the body to look for a form field.
        super().enforce_csrf(request._request)


class ErrorsInJson(BaseContentNegotiation):
    """Each view reads the Accept header itself; only errors are rendered by the framework."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class DicomwebView(APIView):
    """Base of every route. Errors are JSON with a ``detail`` that says what to do."""

    authentication_classes = [TokenAuthentication, Session]
    content_negotiation_class = ErrorsInJson
    permission = "dicomweb.read"

    def handle_exception(self, exc: Exception) -> Response:
        return super().handle_exception(_for_clients(exc))

    def note(self, action: str, obj: Any = None, **detail: Any) -> None:
        """One audit row for this request."""
        token = self.request.user.token
        record(
            action,
            user=self.request.user,
            site=token.site if token else None,
            obj=obj,
            remote_address=address_of(self.request._request),
            detail={"dicomweb": True, **({"token": token.pk} if token else {}), **detail},
        )


def _for_clients(error: Exception) -> Exception:
    """What the modules raise, as an answer."""
    known: dict[type[Exception], type[APIException]] = {
        BadQuery: ParseError,
        BadView: ParseError,
        NotMultipart: ParseError,
        NoFrames: NotFound,
        NotDecodable: CannotShow,
        BytesMissing: Gone,
    }
    kind = known.get(type(error))
    return error if kind is None else kind(str(error))


def root_of(request: Request) -> str:
    """The URL of the service as the client sees it."""
    return request.build_absolute_uri("/dicomweb")


# --- store and search -------------------------------------------------------------------------


class SearchView(DicomwebView):
    """Base of the searches; a subclass names the level."""

    level: Level

    def get(self, request: Request, **path: str) -> HttpResponseBase:
        content_type = json_type(request)
        search = searching.parse(request.GET, self.level)
        rows = visible(request, ROWS[self.level])
        parent: Any = None
        if "series_uid" in path:
            parent = series_of(request, path["study_uid"], path["series_uid"])
            rows = rows.filter(series=parent)
        elif "study_uid" in path:
            parent = study_of(request, path["study_uid"])
            rows = rows.filter(**{f"{'series__' * (self.level is Level.INSTANCE)}study": parent})
        found = searching.rows_of(search, rows, within=parent is not None)
        page = found[: search.limit]
        self.note("list", parent, level=self.level.name.lower(), results=len(page))
        warnings = list(search.warnings)
        if search.capped and len(found) > search.limit:
            warnings.append(
                "The number of results exceeded the maximum supported by the server. Additional "
                "results can be requested"
            )
        headers = {"Warning": _warning(request, warnings)} if warnings else {}
        if not page:
            return HttpResponse(status=204, headers=headers)
        items = searching.results(search, page, root_of(request), within=parent is not None)
        body = b"".join(as_array(items))
        return HttpResponse(body, content_type=content_type, headers=headers)


def _warning(request: Request, texts: list[str]) -> str:
    text = ". ".join(texts)[:LONGEST_WARNING].encode("ascii", "replace").decode()
    return f'299 {root_of(request)}: "{text}."'.replace("\r", " ").replace("\n", " ")


@extend_schema_view(get=describing.SEARCH_STUDIES, post=describing.STORE)
class StudiesView(SearchView):
    """Search for studies; store instances of any study."""

    level = Level.STUDY
    permissions = {"POST": "dicomweb.write"}

    def post(self, request: Request) -> HttpResponseBase:
        return _store(self, request)


@extend_schema_view(get=describing.SEARCH_SERIES)
class SeriesView(SearchView):
    """Search for series, of one study or of all."""

    level = Level.SERIES


@extend_schema_view(get=describing.SEARCH_INSTANCES)
class InstancesView(SearchView):
    """Search for instances, of one series, of one study or of all."""

    level = Level.INSTANCE


def _store(view: DicomwebView, request: Request, study: str = "") -> HttpResponseBase:
    content_type = json_type(request)
    site = _site_of(request)
    if int(request.META.get("CONTENT_LENGTH") or 0) > settings.MAX_UPLOAD_BYTES:
        raise TooLarge(TOO_LARGE)
    if not request.headers.get("Content-Type", "").lower().startswith("multipart/related"):
        raise UnsupportedMediaType(
            request.headers.get("Content-Type", "")[:100],
            'Send multipart/related; type="application/dicom"; boundary=...',
        )
    _, parameters, boundary = boundary_of(request.headers["Content-Type"])
    if parameters.get("type", stow.DICOM).lower() != stow.DICOM:
        raise UnsupportedMediaType(parameters["type"][:100], "Parts are application/dicom files.")
    token = request.user.token
    source = f"stow:{token.prefix}" if token else f"stow:{request.user.username}"[:80]
    try:
        body = Bounded(request._request, settings.MAX_UPLOAD_BYTES)
        answer = stow.store(site, parts(body, boundary), source=source, study=study)
    except (Error, OSError) as error:
        # Batches before this one are kept; the sender keeps its copies and sends again.
        log.error("STOW request not finished: %s", type(error).__name__)
        raise Unavailable("The archive is not available at the moment. Send it again.") from None
    view.note("upload", site, stored=len(answer.stored), failed=len(answer.failed))
    if body.exceeded and not answer.stored:
        raise TooLarge(TOO_LARGE)
    if not answer.stored and not answer.failed:
        raise ParseError("The request holds no instance.")
    if set(answer.codes) == {"disk_full"} and not answer.stored:
        raise Unavailable("The archive disk is full. Nothing was stored.")
    warnings = [TOO_LARGE] if body.exceeded else []
    if answer.codes:
        told = ", ".join(f"{count} {code}" for code, count in sorted(answer.codes.items()))
        warnings.append(f"Not stored, see the quarantine page: {told}")
    headers = {"Warning": _warning(request, warnings)} if warnings else {}
    body = JSON.encode(stow.as_json(answer, root_of(request)))
    return HttpResponse(body, status=answer.status, content_type=content_type, headers=headers)


def _site_of(request: Request) -> Site:
    """Where a STOW request stores: the token's site, or the session user's only or named one."""
    token = request.user.token
    if token is not None:
        return token.site
    sites = request.user.sites.all()
    if code := request.GET.get("site", ""):
        sites = sites.filter(code=code)
    found = list(sites[:2])
    if len(found) != 1:
        raise ParseError("Say which of your sites is to store this: ?site=CODE.")
    return found[0]


# --- retrieve ---------------------------------------------------------------------------------


class PathView(DicomwebView):
    """Base of what a path of study, series and instance retrieves."""

    def found(self, path: dict[str, str]) -> tuple[Any, list[Instance]]:
        named = {key.removesuffix("_uid"): value for key, value in path.items()}
        return instances_of(self.request, named)


@extend_schema_view(get=describing.RETRIEVE)
class RetrieveView(PathView):
    """Instances as Part 10 files."""

    def get(self, request: Request, **path: str) -> HttpResponseBase:
        row, found = self.found(path)
        answer = retrieving.instances(request, found)
        self.note("download", row, instances=len(found))
        return answer


@extend_schema_view(get=describing.RETRIEVE, post=describing.STORE)
class StudyView(RetrieveView):
    """Retrieve a study, or store instances that all belong to it."""

    permissions = {"POST": "dicomweb.write"}

    def post(self, request: Request, study_uid: str) -> HttpResponseBase:
        return _store(self, request, study_uid)


@extend_schema_view(get=describing.METADATA)
class MetadataView(PathView):
    def get(self, request: Request, **path: str) -> HttpResponseBase:
        content_type = json_type(request)
        row, found = self.found(path)
        root = root_of(request)
        items = (metadata(one, searching.url_of(one, root)) for one in found)
        if len(found) == 1:
            # Bytes that are missing are told before the answer begins.
            items = iter([next(items)])
        self.note("view", row, instances=len(found))
        return streamed(request, as_array(items), content_type)


@extend_schema_view(get=describing.FRAMES)
class FramesView(PathView):
    def get(self, request: Request, frame_list: str, **path: str) -> HttpResponseBase:
        row, found = self.found(path)
        answer = retrieving.frames(request, found[0], retrieving.numbers_from(frame_list))
        self.note("download", row, frames=frame_list[:200])
        return answer


@extend_schema_view(get=describing.BULKDATA)
class BulkdataView(PathView):
    def get(self, request: Request, element_path: str, **path: str) -> HttpResponseBase:
        row, found = self.found(path)
        answer = retrieving.bulkdata(request, found[0], element_path)
        self.note("download", row, element=element_path[:200])
        return answer


@extend_schema_view(get=describing.RENDERED)
class RenderedView(PathView):
    def get(
        self, request: Request, frame_list: str | None = None, **path: str
    ) -> HttpResponseBase:
        row, found = self.found(path)
        numbers = None if frame_list is None else retrieving.numbers_from(frame_list)
        answer = retrieving.pictures(request, found, numbers)
        self.note("download", row, rendered=True)
        return answer


@extend_schema_view(get=describing.THUMBNAIL)
class ThumbnailView(PathView):
    def get(self, request: Request, **path: str) -> HttpResponseBase:
        row, found = self.found(path)
        answer = retrieving.thumbnail(request, found)
        self.note("download", row, thumbnail=True)
        return answer
