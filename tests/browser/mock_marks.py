"""Measurements and key images of the mock server, in memory.

Values are numpy's over the mock's own arrays, told with three decimals: no number that a browser
made could look like that.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

CT, PET = 12, 13
Answer = tuple[int, Any]


class Marks:
    def __init__(self, case: Any) -> None:
        self.case = case
        self.rows: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []
        self.pictures: dict[int, str] = {}
        self.hidden: list[tuple[str, dict[str, Any]]] = []
        self.refusal = ""
        """Why the next changes are refused."""
        self.delay = 0.0
        """Seconds that measuring takes."""
        self.said: list[tuple[str, str, Any]] = []
        """Requests as they came: method, path, body."""

    def everything(self) -> dict[str, Any]:
        return {"measurements": self.rows, "key_images": self.images}

    def answer(self, method: str, path: str, body: Any) -> Answer:
        parts = path.strip("/").split("/")
        if method == "GET":
            return 200, {**self.everything(), "hidden": [self.gone(*one) for one in self.hidden]}
        self.said.append((method, path, body))
        if self.refusal:
            return 409, {"detail": self.refusal}
        time.sleep(self.delay)
        is_image = "key-images" in parts
        kept = self.images if is_image else self.rows
        if parts[1] == "cases":
            made = self.image(body) if is_image else self.measure(body, {})
            if isinstance(made, str):
                return 409, {"detail": made}
            kept.append(made)
            return 201, made
        number = int(parts[2])
        if parts[-1] == "restore":
            at = next(n for n, (_, row) in enumerate(self.hidden) if row["id"] == number)
            row = self.hidden.pop(at)[1]
            kept.append(row)
            kept.sort(key=lambda one: one["id"])
            return 200, row
        row = next(one for one in kept if one["id"] == number)
        if method == "DELETE":
            kept.remove(row)
            self.hidden.append(("key_image" if is_image else "measurement", row))
            return 204, None
        row.update(body if is_image or set(body) == {"label"} else self.measure(body, row))
        return 200, row

    @staticmethod
    def gone(kind: str, row: dict[str, Any]) -> dict[str, Any]:
        told = {"tool": row.get("tool", ""), "text": row.get("text", row["label"])}
        at = "2026-11-22T12:30:00Z"
        return {"id": row["id"], "kind": kind, "name": row["name"], **told, "by": "Dr D", "at": at}

    def next_id(self, kind: str) -> int:
        kept = self.images if kind == "key_image" else self.rows
        return 1 + len(kept) + sum(1 for other, _ in self.hidden if other == kind)

    def measure(self, body: dict[str, Any], old: dict[str, Any]) -> Any:
        number = old.get("number") or self.next_id("measurement")
        row = {
            "purpose": "", "plane": None, "threshold": None, "label": "", "layers": [], **old,
            **body,
        }  # fmt: skip
        if row["tool"] == "threshold" and row["threshold"]["method"] == "percist":
            liver = any(one["purpose"] == "liver" for one in self.rows)
            if not liver:
                return "PERCIST needs the liver: place a sphere of 3 cm in healthy liver."
        values, mask = self.values(row)
        return {
            **row,
            "id": old.get("id", number),
            "number": number,
            "name": f"M{number}",
            "value": values[0]["value"] if values else None,
            "unit": values[0]["unit"] if values else "",
            "text": ", ".join(one["text"] for one in values) or row["label"],
            "values": values,
            "notes": [],
            "outline": None,
            "mask": mask,
            "drawn": True,
            "outdated": "",
            "run": 1,
            "by": "Dr Demo",
            "at": "2026-11-22T12:00:00Z",
            "changed_at": "2026-11-22T12:00:00Z",
        }

    def values(self, row: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        points, tool = np.array(row["points"]), row["tool"]
        if tool == "length":
            return [value("length", np.linalg.norm(points[1] - points[0]), "mm")], None
        if tool == "bidirectional":
            axes = [np.linalg.norm(points[n + 1] - points[n]) for n in (0, 2)]
            return [value("long_axis", max(axes), "mm"), value("short_axis", min(axes), "mm")], None
        if tool == "angle":
            one, two = points[0] - points[1], points[2] - points[1]
            cosine = one @ two / np.linalg.norm(one) / np.linalg.norm(two)
            return [value("angle", np.degrees(np.arccos(cosine)), "deg")], None
        if tool == "probe":
            found = [(layer, self.case.sample(layer, row["points"][0])) for layer in (CT, PET)]
            told = [(n, v * SCALE[n]) for n, v in found if v is not None]
            return [value("value", v, UNIT[n], n) for n, v in told], None
        if tool in ("arrow", "text"):
            return [], None
        if tool == "threshold":
            return self.grown(points, row["threshold"])
        inside = [self.ball(layer, points, row) for layer in (CT, PET)]
        told = [value("area" if tool in ("ellipse", "freehand") else "volume", 1.234, "mm2")]
        for layer, numbers in zip((CT, PET), inside, strict=True):
            names = ("mean", "sd", "min", "max")
            made = (numbers.mean(), numbers.std(), numbers.min(), numbers.max())
            told += [value(n, v, UNIT[layer], layer) for n, v in zip(names, made, strict=True)]
        return told, None

    def ball(self, layer: int, points: np.ndarray, row: dict[str, Any]) -> np.ndarray:
        """Voxels near the first point: enough for a stand-in, and known to the tests."""
        radius = np.linalg.norm(points[1] - points[0]) if len(points) > 1 else 5.0
        at = self.places(layer)
        numbers = self.case.arrays[layer] * SCALE[layer]
        near = np.linalg.norm(at - points[0], axis=-1) <= max(radius, 5.0)
        return numbers[near] if near.any() else numbers[:1, :1, :1].ravel()

    def places(self, layer: int) -> np.ndarray:
        """LPS of every voxel in the reference space, [k, j, i, 3]."""
        carried = self.case.matrices[layer] @ self.case.affines[layer]
        k, j, i = np.indices(self.case.arrays[layer].shape)
        return np.stack([i, j, k], axis=-1) @ carried[:3, :3].T + carried[:3, 3]

    def grown(self, points: np.ndarray, threshold: dict[str, Any]) -> Any:
        radius = np.linalg.norm(points[1] - points[0])
        suv = self.case.arrays[PET] * SCALE[PET]
        ball = np.linalg.norm(self.places(PET) - points[0], axis=-1) <= radius
        top = suv[ball].max()
        level = {"41%": 0.41 * top, "50%": 0.5 * top, "fixed": threshold.get("value") or 0}
        mask = ball & (suv >= level.get(threshold["method"], 2.0))
        kji = np.argwhere(mask)
        low, high = kji.min(axis=0), kji.max(axis=0) + 1
        flat = mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].ravel()
        edges = np.concatenate([[0], np.flatnonzero(np.diff(flat)) + 1, [flat.size]])
        counts = ([0] if flat[0] else []) + np.diff(edges).tolist()
        ml = float(mask.sum()) * abs(np.linalg.det(self.case.affines[PET][:3, :3])) / 1000
        values = [
            value("max", top, UNIT[PET], PET),
            value("mean", suv[mask].mean(), UNIT[PET], PET),
            value("volume", ml, "ml", PET),
        ]
        box = [low[::-1].tolist(), high[::-1].tolist()]
        shape = list(self.case.arrays[PET].shape)
        return values, {"layer": PET, "key": str(PET), "shape": shape, "box": box, "counts": counts}

    def image(self, body: dict[str, Any]) -> dict[str, Any]:
        number = self.next_id("key_image")
        self.pictures[number] = body["picture"]
        return {
            "id": number, "number": number, "name": f"K{number}", "label": body["label"],
            "state": body["state"], "picture": f"/api/key-images/{number}/picture/", "drawn": True,
            "by": "Dr Demo", "at": "2026-11-22T12:00:00Z",
        }  # fmt: skip


UNIT = {CT: "[hnsf'U]", PET: "g/ml{SUVbw}"}
SCALE = {CT: 1.0, PET: 0.001}
WORDS = {"[hnsf'U]": "HU", "g/ml{SUVbw}": "SUVbw", "mm2": "mm²", "deg": "°"}
TITLES = {"long_axis": "Long axis", "short_axis": "Short axis"}
LABELS = {CT: "CT", PET: "PET"}


def value(name: str, number: float, unit: str, layer: int | None = None) -> dict[str, Any]:
    suv = unit.startswith("g/ml") and name in ("max", "peak", "mean", "min")
    title = f"SUV{name}" if suv else TITLES.get(name, name.capitalize())
    return {
        "layer": layer, "key": str(layer) if layer else "",
        "layer_label": LABELS.get(layer or 0, ""), "name": name, "title": title,
        "value": float(number), "unit": unit, "text": f"{number:.3f} {WORDS.get(unit, unit)}",
        "reason": "", "method": "mock", "voxels": 1, "voxel": None, "position": None,
    }  # fmt: skip
