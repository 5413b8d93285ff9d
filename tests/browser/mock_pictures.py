"""The mock's server-drawn slices: the CT's own voxels in grey, for the three planes."""

from __future__ import annotations

import io
import json
from urllib.parse import parse_qs

import numpy as np
from PIL import Image

from tests.browser.mock_case import CT, Case

LETTERS = {"axial": "A,L,P,R", "coronal": "H,L,F,R", "sagittal": "H,P,F,A"}


def server_picture(case: Case, query: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """PNG of the CT (its affine is diagonal) and the headers that describe it."""
    asked = {key: values[0] for key, values in parse_qs(query).items()}
    array, plane = case.arrays[CT], asked["plane"]
    axis = {"axial": 0, "coronal": 1, "sagittal": 2}[plane]
    count = array.shape[axis]
    position = int(asked.get("position", (count + 1) // 2))
    k = count - position if plane == "axial" else position - 1
    picture = np.take(array, k, axis=axis).astype(float)
    if plane != "axial":
        picture = picture[::-1]
    width, centre = next(
        (float(w), float(c))
        for layer, w, c in (one.split(":") for one in asked["window"].split(","))
        if int(layer) == CT
    )
    grey = np.clip((picture - centre) / width + 0.5, 0, 1) * 255
    out = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8), "L").resize((256, 256)).save(out, "PNG")
    _, ny, nx = array.shape
    start = (case.affines[CT] @ [-0.5, -0.5, k, 1])[:3].tolist()
    sx, sy, _ = np.diag(case.affines[CT])[:3].tolist()
    sides = [start, [sx * nx, 0, 0], [0, sy * ny, 0]]
    headers = {
        "X-Radfuse-Position": str(position), "X-Radfuse-Count": str(count),
        "X-Radfuse-Letters": LETTERS[plane], "X-Radfuse-Plane": json.dumps(sides),
        "ETag": f'"{hash(query)}"',
    }  # fmt: skip
    return out.getvalue(), [(k.lower().encode(), v.encode()) for k, v in headers.items()]
