"""A small picture of a case, drawn on the server: for lists and browsers without WebGL2."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from workstation.analyzing.models import Layer
from workstation.analyzing.shown import current_run
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable, open_layer
from workstation.worklist.models import Case

LONGEST_SIDE = 192


class NoPicture(Exception):
    """Nothing to draw yet."""


def _level(volume: StoredVolume) -> int:
    """The coarsest level that still has a picture's pixels."""
    enough = [n for n, level in enumerate(volume.levels) if max(level.shape[1:]) >= LONGEST_SIDE]
    return enough[-1] if enough else 0


def thumbnail_png(case: Case) -> bytes:
    """The middle slice of the reference series at its default window, true proportions."""
    run = current_run(case)
    layer = (
        Layer.objects.filter(run=run, is_reference=True).select_related("run").first()
        if run
        else None
    )
    if layer is None:
        raise NoPicture
    try:
        with open_layer(layer) as volume:
            record = volume.record
            level = _level(volume)
            entry = record.levels[level]
            stored = volume.decode(entry.shape[0] // 2, level)
    except VolumeUnreadable as error:
        raise NoPicture from error
    width, centre = record.window
    values = stored.astype(np.float32) * record.slope + record.intercept
    grey = np.clip((values - (centre - width / 2)) / max(width, 1e-6), 0, 1)
    picture = Image.fromarray((grey * 255).astype(np.uint8), "L")
    columns = np.linalg.norm(np.array(record.affine)[:3, 0]) * entry.factors[2] * entry.shape[2]
    rows = np.linalg.norm(np.array(record.affine)[:3, 1]) * entry.factors[1] * entry.shape[1]
    scale = LONGEST_SIDE / max(columns, rows)
    picture = picture.resize((max(1, round(columns * scale)), max(1, round(rows * scale))))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
