"""One synthetic case with known voxels, and what a server would answer about it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates

from analysis.volume_store import encode_slice
from tests.browser.mock_marks import Marks
from tests.browser.mock_registration import Tools, carry, displacement
from tests.browser.mock_volumes import (
    NODULE,
    Array,
    ball_of,
    centred_affine,
    coarsen,
    ct_volume,
    lps_points,
    pet_volume,
    rotation,
)

CT, PET, HEATMAP, LABELS, LOOSE, EARLY, DEFORMED = 12, 13, 20, 21, 14, 15, 30
"""``EARLY`` is the first of two volumes over time of the PET series, ``PET`` the last."""

PREFERRED = {"viewer.layouts": {"lung": "mpr"}}
"""The plain three planes, which the older tests are written for."""


class Case:
    """Volumes, their encoded slices and the answers of the API."""

    def __init__(self, size: int = 256, slices: int = 120) -> None:
        mm = 384.0 / size
        shape = (slices, size, size)
        self.affines = {CT: centred_affine(shape, (mm, mm, 3.0))}
        self.matrices = {CT: np.eye(4), PET: rotation(8, (6.0, -4.0, 5.0))}
        ct = ct_volume(shape, self.affines[CT])
        pet_shape = (80, 96, 96)
        self.affines[PET] = centred_affine(pet_shape, (4.0, 4.0, 4.5))
        pet = pet_volume(pet_shape, self.affines[PET], self.matrices[PET])
        at = lps_points(shape, self.affines[CT])
        ball = ball_of(at, NODULE, (11, 11, 11))
        heat = np.rint(255 * np.exp(-ball * 0.7)).astype(np.uint8)
        self.arrays: dict[int, Array] = {
            CT: ct,
            PET: pet,
            HEATMAP: heat,
            LABELS: (ball < 1).astype(np.uint8),
            LOOSE: pet,
            EARLY: pet // 4,
        }
        self.affines[EARLY], self.matrices[EARLY] = self.affines[PET], self.matrices[PET]
        for layer in (HEATMAP, LABELS):
            self.affines[layer], self.matrices[layer] = self.affines[CT], np.eye(4)
        self.affines[LOOSE], self.matrices[LOOSE] = self.affines[PET], np.eye(4)
        self.factors = {
            CT: (1, 4, 4),
            PET: (2, 2, 2),
            HEATMAP: (1, 4, 4),
            LABELS: (1, 4, 4),
            LOOSE: (2, 2, 2),
            EARLY: (2, 2, 2),
        }
        self.marks = Marks(self)
        self.preferences: dict[str, Any] = {**PREFERRED}
        self.reviews: dict[int, dict[str, Any]] = {}
        self.tools = Tools(self.matrices[PET])
        self.payloads: dict[tuple[int, int, int], bytes] = {}
        self.drop_after: list[int] = []
        self.delay = 0.0
        self.spoil: dict[tuple[int, int], int] = {}
        """(socket, frame) from 1 -> byte that is wrong on its way."""
        self.asked_again: list[dict[str, Any]] = []
        self.warmed = 0
        """How often the next case was asked to get ready."""
        self.pictures: list[str] = []
        """Questions for pictures drawn on the server."""
        self.streams: set[Any] = set()
        """Open slice sockets, of ``mock_stream``."""
        self.opens: list[dict[str, Any]] = []
        for layer in self.arrays:
            self.encode(layer)

    def encode(self, layer: int) -> None:
        array = self.arrays[layer]
        for level, pixels in enumerate((array, coarsen(array, self.factors[layer]))):
            for k in range(pixels.shape[0]):
                self.payloads[layer, level, k] = encode_slice(np.ascontiguousarray(pixels[k]))

    @property
    def decision(self) -> dict[str, Any] | None:
        return self.tools.decision

    def reset(self) -> None:
        """As a reader finds it first."""
        self.marks, self.reviews, self.opens = Marks(self), {}, []
        self.preferences = {**PREFERRED}
        self.drop_after, self.delay = [], 0.0
        self.spoil, self.asked_again, self.pictures, self.warmed = {}, [], [], 0
        self.tools.reset()
        self.place()

    def place(self) -> None:
        self.matrices[PET] = self.matrices[EARLY] = self.tools.matrix

    def deform(self) -> None:
        """The deformed PET over the reference, on every second voxel of it; made when needed."""
        if DEFORMED in self.arrays:
            return
        shape = tuple(-(-n // 2) for n in self.arrays[CT].shape)
        self.affines[DEFORMED] = self.affines[CT] @ np.diag([2.0, 2.0, 2.0, 1.0])
        self.matrices[DEFORMED] = np.eye(4)
        self.factors[DEFORMED] = (1, 2, 2)
        at = np.stack(lps_points(shape, self.affines[DEFORMED]), axis=-1).reshape(-1, 3)
        back = np.linalg.inv(self.tools.computed @ self.affines[PET])
        ijk = carry(back, at + displacement(at))
        values = map_coordinates(self.arrays[PET].astype(np.float32), ijk.T[::-1], order=1)
        self.arrays[DEFORMED] = values.reshape(shape).astype(np.int16)
        self.encode(DEFORMED)

    def shapes(self, layer: int) -> list[list[int]]:
        fine = self.arrays[layer].shape
        coarse = [-(-n // f) for n, f in zip(fine, self.factors[layer], strict=True)]
        return [list(fine), coarse]

    def _layer(self, layer: int, **rest: Any) -> dict[str, Any]:
        array = self.arrays[layer]
        fine, coarse = self.shapes(layer)
        fusion = {
            "state": "same_frame",
            "fused": True,
            "badge": "Same frame of reference",
            "method": "",
            "version": "",
            "verdict": "usable",
            "reasons": [],
            "quality": [],
            "decision": None,
        }
        return {
            "id": layer,
            "key": str(layer),
            "series": layer,
            "volume": {"number": 1, "count": 1, "setting": "", "main": True},
            "kind": "series",
            "role": "OTHER",
            "unit": "1",
            "modality": "OT",
            "shape": fine,
            "affine": self.affines[layer].tolist(),
            "dtype": str(array.dtype),
            "codec": 1 if array.dtype == np.int16 else 2,
            "slope": 1.0,
            "intercept": 0.0,
            "value_range": [0, 1],
            "window": [1, 0.5],
            "synthetic": True,
            "levels": [
                {"shape": fine, "factors": [1, 1, 1]},
                {"shape": coarse, "factors": list(self.factors[layer])},
            ],
            "lossy": "",
            "matrix": self.matrices[layer].tolist(),
            "registration_id": None,
            "notices": [],
            "model": "",
            **rest,
            "fusion": {**fusion, **rest.get("fusion", {})},
        }

    def pet_fusion(self) -> dict[str, Any]:
        return self.tools.fusion()

    def deformed(self) -> list[dict[str, Any]]:
        """The layers of deformable results that are done."""
        done = [r for r in self.tools.refinements if r["result"] and r["result"]["layer"]]
        if not done:
            return []
        self.deform()
        accepted = self.tools.accepted
        fused = accepted is not None and accepted["model"] == "deformable"
        layer = self._layer(
            DEFORMED, kind="deformed", label="PET deformed", role="PET", modality="PT",
            unit="g/ml{SUVbw}", slope=0.001, window=[5, 2.5], value_range=[0, 10], series=PET,
            registration_id=3, fusion={**self.pet_fusion(), "fused": fused},
            deformed={
                "registration": 3, "refinement": done[0]["id"], "of": PET, "outside_share": 0.07,
            },
        )  # fmt: skip
        return [layer]

    def finding(self) -> dict[str, Any]:
        review = {
            "state": "pending",
            "by": "",
            "at": None,
            "comment": "",
            "label": "",
            "location": "",
        }
        return {
            "id": 5,
            "number": 1,
            "label": "Solid nodule",
            "location": "Left upper lobe",
            "laterality": "left",
            "probability": 0.93,
            "position": list(NODULE),
            "long_axis_mm": 22.0,
            "short_axis_mm": 21.6,
            "volume_ml": 5.58,
            "suv_max": 8.9,
            "suv_peak": 7.8,
            "suv_mean": 5.1,
            "method": "radfuse-lung-unet 0.1.0, threshold 0.5",
            "review": {**review, **self.reviews.get(5, {})},
        }

    def view(self) -> dict[str, Any]:
        angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        x, y, z = NODULE
        polygons = []
        for dz in np.arange(-12, 12.1, 3.0):
            radius = 15 * math.sqrt(max(0.0, 1 - (dz / 13) ** 2))
            ring = [
                [x + radius * math.cos(a), y + radius * 1.1 * math.sin(a), z + dz] for a in angles
            ]
            polygons.append(ring)
        unfused = {
            "state": "not_registered",
            "fused": False,
            "badge": "Not registered: not fused",
            "verdict": "refused",
            "reasons": ["Overlap with the reference is only 12 %"],
        }
        return {
            "case": {
                "id": 1,
                "title": "Chest PET/CT",
                "state": "reading",
                "priority": "routine",
                "pathway": "lung",
                "held_by": "Dr Demo",
                "held_by_me": True,
                "can": dict.fromkeys(
                    ("review", "measure", "decide_registration", "report", "sign"), True
                ),
            },
            "patient": {
                "name": "SYNTHETIC^ADA",
                "patient_id": "SYN-1",
                "issuer": "",
                "sex": "F",
                "birth_date": "1970-01-01",
                "age": "56",
                "site": "Demo",
                "synthetic": True,
            },
            "studies": [],
            "run": {"id": 1, "number": 1, "state": "done", "steps": []},
            "reference": CT,
            "layers": [
                self._layer(
                    CT,
                    label="CT",
                    role="CT",
                    modality="CT",
                    unit="[hnsf'U]",
                    window=[400, 40],
                    value_range=[-1024, 3000],
                    fusion={"state": "reference", "badge": "Reference"},
                ),
                *(
                    self._layer(
                        layer,
                        label=label,
                        series=PET,
                        volume={"number": n, "count": 2, "setting": setting, "main": n == 2},
                        role="PET",
                        modality="PT",
                        unit="g/ml{SUVbw}",
                        slope=0.001,
                        window=[5, 2.5],
                        value_range=[0, 10],
                        registration_id=3,
                        fusion=self.pet_fusion(),
                    )
                    for layer, label, n, setting in (
                        (EARLY, "PET early", 1, "phase 1 of 2, 0.0 s"),
                        (PET, "PET", 2, "phase 2 of 2, 60.0 s"),
                    )
                ),
                *self.deformed(),
                self._layer(
                    HEATMAP,
                    kind="heatmap",
                    label="Heatmap",
                    unit="1",
                    slope=1 / 255,
                    model="radfuse-lung-unet 0.1.0",
                ),
                self._layer(LABELS, kind="segmentation", label="Segmentation", window=[1, 0.5]),
                self._layer(
                    LOOSE,
                    label="MR T2",
                    role="T2",
                    modality="MR",
                    window=[4000, 2000],
                    fusion=unfused,
                ),
            ],
            "outlines": [
                {
                    "number": 1,
                    "name": "GTV",
                    "color": "#ff5c5c",
                    "layer": CT,
                    "fused": True,
                    "polygons": polygons,
                }
            ],
            "alignment": {"changed": [], "message": "", "can_run_again": False},
            "findings": [self.finding()],
            **self.marks.everything(),
            "preferences": self.preferences,
            "notices": self.tools.notices,
            "stream": {"path": "/ws/cases/1/slices/", "version": 2},
        }

    def sample(self, layer: int, point: list[float]) -> float | None:
        """Nearest voxel of a layer at an LPS point of the reference frame, in the layer's unit."""
        carried = self.matrices[layer] @ self.affines[layer]
        i, j, k = np.rint((np.linalg.inv(carried) @ [*point, 1.0])[:3]).astype(int)
        nz, ny, nx = self.arrays[layer].shape
        if not (0 <= i < nx and 0 <= j < ny and 0 <= k < nz):
            return None
        return float(self.arrays[layer][k, j, i])

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        if path.endswith("/probe/"):
            hu, suv = self.sample(CT, body["point"]), self.sample(PET, body["point"])
            values = [
                {
                    "layer": CT,
                    "label": "CT",
                    "value": hu,
                    "unit": "[hnsf'U]",
                    "text": "outside" if hu is None else f"{hu:.0f} HU",
                },
                {
                    "layer": PET,
                    "label": "PET",
                    "value": suv,
                    "unit": "g/ml{SUVbw}",
                    "text": "outside" if suv is None else f"{suv / 1000:.2f} SUVbw",
                },
            ]
            return 200, {"point": body["point"], "values": values}
        if path.endswith("/review/"):
            self.reviews[5] = {**body, "by": "Dr Demo", "at": "2026-11-22T12:00:00Z"}
            return 200, self.finding()
        if "/registrations/" in path or "/refinements/" in path:
            answer = self.tools.post(path, body)
            self.place()
            return answer
        return 404, {"detail": "Not found."}

    def order(self, layers: list[int], focus: dict[str, int]) -> list[tuple[int, int, int]]:
        """Coarse level of each layer, then full resolution, middle-out from the focus slice."""
        planned: list[tuple[int, int, int]] = []
        for level in (1, 0):
            for layer in layers:
                count = self.shapes(layer)[level][0]
                middle = count // 2
                if layer == focus["layer"]:
                    middle = focus["slice"] // (self.factors[layer][0] if level else 1)
                planned += [
                    (layer, level, k) for k in sorted(range(count), key=lambda k: abs(k - middle))
                ]
        return planned
