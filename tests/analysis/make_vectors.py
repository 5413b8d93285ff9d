"""Write the vectors that Python and TypeScript share: ``python -m tests.analysis.make_vectors``.

Only needed when the codec or the geometry conventions change on purpose; the tests on both sides
read the stored files. The codec's raw pixels are the truth; the affine points come from plain
matrix arithmetic here, not from ``analysis.geometry``.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.slice_codec import codec_of, encode_slice

FOLDER = Path(__file__).parent / "vectors"


def codec_vectors() -> list[dict[str, object]]:
    rng = np.random.default_rng(20260101)
    y, x = np.mgrid[0:9, 0:13]
    slices = {
        "one voxel": np.array([[-1024]], np.int16),
        "flat": np.full((4, 6), 40, np.int16),
        "extremes": np.array([[-32768, 32767], [32767, -32768], [0, -1]], np.int16),
        "smooth CT": (40 + 100 * np.sin(x / 3) + 5 * y).astype(np.int16),
        "noise": rng.integers(-32768, 32768, (7, 5)).astype(np.int16),
        "one row": np.arange(-3, 4, dtype=np.int16)[None],
        "heatmap": (255 * np.exp(-((x - 6) ** 2 + (y - 4) ** 2) / 8)).astype(np.uint8),
        "labels": (x // 4).astype(np.uint8),
        "noise 8 bit": rng.integers(0, 256, (5, 8)).astype(np.uint8),
        "extremes 8 bit": np.array([[255, 0], [0, 255]], np.uint8),
    }
    return [
        {
            "name": name,
            "codec": codec_of(pixels.dtype),
            "shape": list(pixels.shape),
            "raw": base64.b64encode(pixels.astype(pixels.dtype.newbyteorder("<"))).decode(),
            "payload": base64.b64encode(encode_slice(pixels)).decode(),
        }
        for name, pixels in slices.items()
    ]


def affine_vectors() -> list[dict[str, object]]:
    oblique = np.eye(4)
    turn = Rotation.from_euler("zyx", [25, -10, 40], degrees=True).as_matrix()
    oblique[:3, :3] = turn * [0.7, 0.9, 3.0]
    oblique[:3, 3] = [-120.5, -80.25, 33.0]
    sagittal = np.array(
        [[0, 0, -1.2, 60], [0.5, 0, 0, -90], [0, -0.5, 0, 110], [0, 0, 0, 1]], dtype=float
    )
    axial = np.diag([0.9765625, 0.9765625, 3.27, 1.0])
    axial[:3, 3] = [-250, -250, -400]
    made = []
    for name, shape, affine, factors in (
        ("axial CT", (300, 512, 512), axial, (1, 4, 4)),
        ("sagittal MR", (160, 256, 256), sagittal, (2, 2, 2)),
        ("oblique MR", (25, 100, 101), oblique, (2, 4, 4)),
    ):
        nz, ny, nx = shape
        points = [[0, 0, 0], [nx - 1, ny - 1, nz - 1], [10.5, 3.25, 7.75], [-0.5, -0.5, -0.5]]
        fz, fy, fx = factors
        block = np.array(
            [[fx, 0, 0, (fx - 1) / 2], [0, fy, 0, (fy - 1) / 2], [0, 0, fz, (fz - 1) / 2],
             [0, 0, 0, 1]]
        )  # fmt: skip
        made.append(
            {
                "name": name,
                "shape": list(shape),
                "affine": affine.tolist(),
                "spacing": [float(np.sqrt((affine[:3, c] ** 2).sum())) for c in range(3)],
                "points": [
                    {"ijk": ijk, "lps": (affine @ [*ijk, 1])[:3].tolist()} for ijk in points
                ],
                "level": {
                    "factors": list(factors),
                    "shape": [-(-nz // fz), -(-ny // fy), -(-nx // fx)],
                    "affine": (affine @ block).tolist(),
                },
            }
        )
    return made


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, vectors in (("codec", codec_vectors()), ("affine", affine_vectors())):
        (FOLDER / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n")
