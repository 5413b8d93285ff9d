"""``GET /api/cases/<id>/slice.png`` and ``.webp``: slices drawn on the server."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_GET

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.reading.asking import NO_STORE, case_for
from workstation.reading.slice_pictures import FORMATS, SliceRefused, prepare, wanted_of
from workstation.worklist.models import Case

SEEN = "cases_drawn"
MOST_SEEN = 200


@require_GET
@requires("case.view")
def slice_picture(request: HttpRequest, case_id: int, kind: str) -> HttpResponse:
    """The picture, or 304; what it shows is in its headers. It is never stored by the browser: a
    page keeps its last pictures in memory and asks by their ETag."""
    case = case_for(request, case_id)
    try:
        drawing = prepare(case, wanted_of(request.GET.dict()))
        headers = {
            **NO_STORE,
            "ETag": drawing.etag,
            "X-Radfuse-Position": str(drawing.plane.position),
            "X-Radfuse-Count": str(drawing.plane.count),
            "X-Radfuse-Letters": ",".join(drawing.plane.letters),
            "X-Radfuse-Plane": json.dumps(
                [side.round(6).tolist() for side in drawing.plane.sides], separators=(",", ":")
            ),
        }
        if request.headers.get("If-None-Match") == drawing.etag:
            return HttpResponse(status=304, headers=headers)
        picture = drawing.encode(kind)
    except ValueError as error:
        return JsonResponse({"detail": str(error)}, status=400)
    except SliceRefused as reason:
        return JsonResponse({"detail": str(reason)}, status=409)
    _audit(request, case)
    return HttpResponse(picture, content_type=FORMATS[kind][1], headers=headers)


def _audit(request: HttpRequest, case: Case) -> None:
    """Once per session and case: a reader scrolls through hundreds of pictures."""
    seen: list[int] = request.session.get(SEEN, [])
    if case.pk in seen:
        return
    request.session[SEEN] = [*seen, case.pk][-MOST_SEEN:]
    record(
        "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
        remote_address=address_of(request), detail={"what": "server_drawn"},
    )  # fmt: skip
