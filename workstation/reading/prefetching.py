"""The next case of the worklist, made ready before it is opened.

Nothing of it goes to the browser: what a browser may keep from one page to the next lies on its
disk, and a case that nobody opened leaves no patient data there. Instead the server's own memory is
filled: the operating system reads the volumes' coarse levels, and as much of the fine one as
allowed, so that the first slices need no disk.
"""

from __future__ import annotations

import os

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from workstation.accounts.models import User
from workstation.accounts.permissions import requires
from workstation.analyzing.shown import current_run
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable, open_layer
from workstation.reading.asking import NO_STORE
from workstation.worklist.filters import remembered_query
from workstation.worklist.models import Case
from workstation.worklist.services import upcoming_case

MOST_BYTES = 256 * 1024 * 1024
"""Per case: a CT and its PET wholly, not forty phases."""


def _warm(volume: StoredVolume, most: int) -> int:
    """Ask the system to read a volume's file, its coarse end first; the bytes asked for."""
    size = volume.levels[-1].offsets[-1]
    coarse = volume.levels[-1].offsets[0]
    volume.will_need(coarse, size - coarse)
    volume.will_need(0, min(coarse, most))
    return min(size, most)


def warm_case(case: Case) -> int:
    """Bytes that the system was asked to have ready; returns at once, the disk works meanwhile."""
    run = current_run(case)
    if run is None or not hasattr(os, "posix_fadvise"):
        return 0
    asked = 0
    for layer in run.layers.select_related("run").order_by("-is_reference", "position"):
        if layer.is_sibling or asked >= MOST_BYTES:
            continue
        try:
            with open_layer(layer) as volume:
                asked += _warm(volume, MOST_BYTES - asked)
        except VolumeUnreadable:
            continue  # said when the case is opened
    return asked


@require_POST
@requires("case.view")
def warm_next_case(request: HttpRequest) -> JsonResponse:
    """The case on top of the caller's list gets ready. The answer says whether there was one, and
    nothing about it."""
    assert isinstance(request.user, User)
    case = upcoming_case(request.user, remembered_query(request))
    warmed = warm_case(case) if case is not None else 0
    return JsonResponse({"ready": warmed > 0}, headers=NO_STORE)
