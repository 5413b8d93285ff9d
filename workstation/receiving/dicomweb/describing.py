"""The DICOMweb routes in the OpenAPI description."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

from workstation.receiving.dicomweb.attributes import KEYS, Level

TAGS = ["DICOMweb"]
DATASET = {"type": "object", "additionalProperties": {"type": "object"}}
DATASETS = {"type": "array", "items": DATASET}
PROBLEM = {"type": "object", "properties": {"detail": {"type": "string"}}}
PROBLEMS = {
    400: "A parameter is not what DICOM allows",
    401: "No session and no valid token",
    403: "The role, the token's scope or the CSRF token does not allow it",
    404: "Not there, or of another site",
    406: "None of the accepted media types is offered",
    409: "Two of the user's sites have it",
    410: "Its bytes are missing in the archive",
}


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "workstation.accounts.tokens.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "An access token of one site."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "workstation.receiving.dicomweb.views.Session"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def _query(name: str, description: str, kind: Any = str) -> OpenApiParameter:
    return OpenApiParameter(name, kind, OpenApiParameter.QUERY, description=description)


SITE = _query("site", "Code of one of the user's sites; a token has only one")
ACCEPT = _query("accept", "Instead of the Accept header")
SHOWING = [
    _query("window", "center,width,function: linear, linear-exact or sigmoid"),
    _query("viewport", "width,height[,x,y,width,height]: picture size and source region"),
    _query("quality", "JPEG quality, 1 to 100", int),
]


def _problems(*more: tuple[int, str]) -> dict[Any, OpenApiResponse]:
    return {
        status: OpenApiResponse(PROBLEM, description)
        for status, description in {**PROBLEMS, **dict(more)}.items()
    }


def _search(level: Level, summary: str) -> Any:
    keys = [_query(key.keyword, f"{key.tag}, {key.match} matching") for key in KEYS
            if key.level <= level]  # fmt: skip
    return extend_schema(
        tags=TAGS,
        summary=summary,
        parameters=[
            _query("limit", "Most results of this answer", int),
            _query("offset", "Results to pass over", int),
            _query("includefield", "Keywords or tags, or all; may be repeated"),
            _query("fuzzymatching", "Names by the beginnings of their words", bool),
            _query("ModalitiesInStudy", "00080061, list matching"),
            *keys, SITE, ACCEPT,
        ],
        responses={
            (200, "application/dicom+json"): OpenApiResponse(DATASETS, "The matches"),
            204: OpenApiResponse(description="No match"),
            **_problems(),
        },
    )  # fmt: skip


def _retrieve(summary: str, types: list[str], parameters: list[OpenApiParameter]) -> Any:
    return extend_schema(
        tags=TAGS,
        summary=summary,
        parameters=[*parameters, SITE, ACCEPT],
        responses={
            **{(200, kind): OpenApiResponse(OpenApiTypes.BINARY) for kind in types},
            **_problems(),
        },
    )


SEARCH_STUDIES = _search(Level.STUDY, "Search for studies (QIDO-RS)")
SEARCH_SERIES = _search(Level.SERIES, "Search for series (QIDO-RS)")
SEARCH_INSTANCES = _search(Level.INSTANCE, "Search for instances (QIDO-RS)")
STORE = extend_schema(
    tags=TAGS,
    summary="Store instances (STOW-RS)",
    parameters=[SITE],
    request={"multipart/related": OpenApiTypes.BINARY},
    responses={
        (200, "application/dicom+json"): OpenApiResponse(DATASET, "All were stored"),
        (202, "application/dicom+json"): OpenApiResponse(DATASET, "Some were stored"),
        **_problems(),
        (409, "application/dicom+json"): OpenApiResponse(DATASET, "None was stored"),
        413: OpenApiResponse(PROBLEM, "The request is too large"),
        415: OpenApiResponse(PROBLEM, "Not multipart/related of application/dicom"),
        503: OpenApiResponse(PROBLEM, "The archive cannot store at the moment"),
    },
)
RETRIEVE = _retrieve("Retrieve instances (WADO-RS)", ["multipart/related", "application/dicom"], [])
METADATA = extend_schema(
    tags=TAGS,
    summary="Headers as DICOM JSON (WADO-RS)",
    parameters=[SITE, ACCEPT],
    responses={
        (200, "application/dicom+json"): OpenApiResponse(DATASETS, "One dataset an instance"),
        **_problems(),
    },
)
FRAMES = _retrieve(
    "Frames, uncompressed or as stored (WADO-RS)",
    ["multipart/related", "application/octet-stream", "image/jpeg", "image/jls", "image/jp2"], [],
)  # fmt: skip
BULKDATA = _retrieve(
    "A large value, by the URI that metadata gives (WADO-RS)",
    ["multipart/related", "application/octet-stream"], [],
)  # fmt: skip
RENDERED = _retrieve(
    "Rendered for people (WADO-RS)", ["image/jpeg", "image/png", "multipart/related"], SHOWING
)
THUMBNAIL = _retrieve("A small picture", ["image/jpeg", "image/png"], SHOWING)
