"""Key images: what the reader saw, kept as data, and as the browser's picture if it sent one."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from typing import Any

from django.db import transaction
from django.utils.translation import gettext
from PIL import Image, UnidentifiedImageError

from workstation.accounts.models import User
from workstation.reading.marks import lock_case, next_number, note_mark, statuses_of
from workstation.reading.measurement_view import Screen
from workstation.reading.models import KeyImage
from workstation.reading.services import ReviewRefused, check_points
from workstation.worklist.models import Case

MOST_BYTES = 4 * 2**20
MOST_PIXELS = 5000 * 5000
MOST_STATE = 8192
MOST_LAYERS = 20
NUL = "\\u0000"
FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg"}
PREFIXES = ("data:image/png;base64,", "data:image/jpeg;base64,")


@transaction.atomic
def make_key_image(
    case: Case,
    user: User,
    *,
    state: Any,
    label: str = "",
    picture: str = "",
    address: str = "",
) -> KeyImage:
    """Keep what the reader saw (README, Measurements). Raises :class:`ReviewRefused`."""
    locked = lock_case(case.pk, user)
    run, statuses = statuses_of(locked)
    screen = Screen(statuses)
    row = KeyImage(
        case=locked,
        number=next_number(locked.key_images),
        label=label.strip()[:200],
        state=_state(state, screen),
        evidence={"run": run.number if run else None, "reference": screen.reference},
        by=user,
    )
    if picture:
        row.picture, row.picture_type = _picture(picture)
    row.save()
    note_mark("made", row, locked, user, address)
    return row


@transaction.atomic
def label_key_image(image: KeyImage, user: User, *, label: str, address: str = "") -> KeyImage:
    """Other words for a key image."""
    locked = lock_case(image.case_id, user)
    row = KeyImage.objects.select_for_update().defer("picture").get(pk=image.pk)
    if row.hidden_at is not None:
        raise ReviewRefused(gettext("This key image was deleted. Restore it first."))
    row.label = label.strip()[:200]
    row.save(update_fields=["label"])
    note_mark("changed", row, locked, user, address)
    return row


def _state(state: Any, screen: Screen) -> dict[str, Any]:
    """Plane and layers checked, layers by series key; the rest of the view as it came."""
    if not isinstance(state, dict) or set(state) - {"point", "normal", "up", "layers", "view"}:
        raise ReviewRefused(gettext("The state has point, normal, up, layers and view."))
    point, normal, up = check_points([state.get(name) for name in ("point", "normal", "up")], 3)
    view = state.get("view", {})
    # PostgreSQL keeps no NUL in its JSON.
    if not isinstance(view, dict) or len(text := json.dumps(view)) > MOST_STATE or NUL in text:
        raise ReviewRefused(gettext("The view of a key image has at most 8 kB."))
    layers = state.get("layers")
    if not isinstance(layers, list) or not 0 < len(layers) <= MOST_LAYERS:
        raise ReviewRefused(
            gettext("A key image shows 1 to {most_layers} layers.").format(most_layers=MOST_LAYERS)
        )
    return {
        "point": point,
        "normal": normal,
        "up": up,
        "layers": [_layer(one, screen) for one in layers],
        "view": view,
    }


def _layer(given: Any, screen: Screen) -> dict[str, Any]:
    layer = given.get("layer") if isinstance(given, dict) else None
    key = screen.key(layer) if isinstance(layer, int) else None
    if key is None:
        raise ReviewRefused(gettext("A layer of the key image is not on screen in this case."))
    window = given.get("window")
    if not isinstance(window, list) or len(window) != 2 or not all(map(_is_number, window)):
        raise ReviewRefused(gettext("A window is [width, centre]."))
    opacity, colormap = given.get("opacity", 1.0), given.get("colormap", "")
    if not _is_number(opacity) or not 0 <= opacity <= 1:
        raise ReviewRefused(gettext("An opacity is 0 to 1."))
    if not isinstance(colormap, str) or len(colormap) > 40 or not colormap.isprintable():
        raise ReviewRefused(gettext("A colormap is a name."))
    return {"key": key, "window": window, "opacity": opacity, "colormap": colormap}


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and -1e9 <= value <= 1e9
        and math.isfinite(value)
    )


def _picture(url: str) -> tuple[bytes, str]:
    """The bytes of a data URL that really is a PNG or JPEG, and its type."""
    prefix = next((p for p in PREFIXES if url.startswith(p)), None)
    if prefix is None or len(url) > 4 * MOST_BYTES // 3 + 100:
        raise ReviewRefused(gettext("The picture is a PNG or JPEG of at most 4 MB."))
    try:
        data = base64.b64decode(url[len(prefix) :], validate=True)
        with Image.open(io.BytesIO(data)) as picture:
            kind, size = picture.format or "", picture.width * picture.height
            if kind in FORMATS and size <= MOST_PIXELS:
                picture.load()
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError, OSError,
            SyntaxError, ValueError):  # fmt: skip
        raise ReviewRefused(gettext("The picture cannot be read. Take it again.")) from None
    if kind not in FORMATS or size > MOST_PIXELS or len(data) > MOST_BYTES:
        raise ReviewRefused(gettext("The picture is a PNG or JPEG of at most 4 MB."))
    return data, FORMATS[kind]
