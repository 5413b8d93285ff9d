"""A stand-in for the product's server, so that the viewer can be driven without one.

``python -m tests.browser.mock_server [port]`` serves the built frontend with the product's content
security policy, one synthetic case (view JSON, measurements, reviews, decisions in memory) and the
slice stream of ``workstation/reading/README.md``. It holds no product code: what it answers is
made from the arrays below, so that tests know every voxel.
"""

from __future__ import annotations

import asyncio
import json
import math
import mimetypes
import struct
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.volume_store import encode_slice

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Array = npt.NDArray[Any]

DIST = Path(__file__).resolve().parents[2] / "frontend" / "dist"
CSP = (
    "default-src 'self'; connect-src 'self' data: ws: wss:; img-src 'self' blob: data:; "
    "script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "worker-src 'self' blob:"
)
CT, PET, HEATMAP, LABELS, LOOSE = 12, 13, 20, 21, 14
NODULE = (60.0, -10.0, 12.0)
"""LPS mm of the nodule in the reference frame."""


def _affine(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Array:
    """Axis-aligned lattice centred on LPS 0."""
    nz, ny, nx = shape
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * s for n, s in zip((nx, ny, nz), spacing, strict=True)]
    return affine


def _points(shape: tuple[int, int, int], affine: Array) -> tuple[Array, Array, Array]:
    k, j, i = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    rows = [affine[r, 0] * i + affine[r, 1] * j + affine[r, 2] * k + affine[r, 3] for r in range(3)]
    return rows[0], rows[1], rows[2]


def _ball(at: tuple[Array, Array, Array], centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    return sum(((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True))


def rotation(degrees: float, shift: tuple[float, float, float]) -> Array:
    """Rigid 4x4: a turn about the head-feet axis, then a shift in mm."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    matrix[:3, 3] = shift
    return matrix


def ct_volume(shape: tuple[int, int, int], affine: Array) -> Array:
    """A chest of ellipsoids in HU, int16."""
    at = _points(shape, affine)
    rng = np.random.default_rng(7)
    hu = np.full(shape, -1000.0, dtype=np.float32)
    body = _ball(at, (0, 0, 0), (175, 115, 600))
    hu[body < 1] = -90
    hu[_ball(at, (0, 2, 0), (160, 100, 600)) < 1] = 45
    for side in (-1, 1):
        lung = _ball(at, (side * 72, -8, 10), (62, 78, 150)) < 1
        hu[lung] = -850
        vessels = (np.sin(at[0] / 7) * np.sin(at[1] / 9 + at[2] / 23) * np.sin(at[2] / 11)) > 0.62
        hu[lung & vessels] = -250
    hu[_ball(at, (18, -28, -20), (48, 40, 60)) < 1] = 40
    hu[_ball(at, (8, 30, 0), (13, 13, 600)) < 1] = 130
    hu[_ball(at, (0, 70, 0), (20, 20, 600)) < 1] = 320
    hu[_ball(at, (0, 70, 0), (8, 8, 600)) < 1] = 30
    shell = np.abs(np.sqrt(_ball(at, (0, 2, 0), (150, 92, 600))) - 1) < 0.03
    hu[shell & (np.mod(at[2] + np.abs(at[0]) * 0.25, 24) < 9)] = 550
    hu[_ball(at, NODULE, (11, 11, 11)) < 1] = 38
    hu += rng.normal(0, 12, shape).astype(np.float32)
    return np.clip(np.rint(hu), -1024, 3000).astype(np.int16)


def pet_volume(shape: tuple[int, int, int], affine: Array, matrix: Array) -> Array:
    """SUV x 1000 on its own grid and frame (``matrix`` carries it to the reference), int16."""
    at = _points(shape, matrix @ affine)
    suv = np.where(_ball(at, (0, 2, 0), (160, 100, 600)) < 1, 0.8, 0.02).astype(np.float32)
    for side in (-1, 1):
        suv[_ball(at, (side * 72, -8, 10), (62, 78, 150)) < 1] = 0.35
    heart = _ball(at, (18, -28, -20), (44, 36, 52))
    suv[heart < 1] = 2.4
    suv += 9.0 * np.exp(-_ball(at, NODULE, (11, 11, 11)))
    suv += np.random.default_rng(8).normal(0, 0.05, shape).astype(np.float32)
    return np.clip(np.rint(suv * 1000), 0, 32767).astype(np.int16)


def coarsen(array: Array, factors: tuple[int, int, int]) -> Array:
    """Block means, edges with what is left (labels are small here: maximum)."""
    fz, fy, fx = factors
    out = array.astype(np.float32)
    for axis, f in enumerate((fz, fy, fx)):
        starts = np.arange(0, array.shape[axis], f)
        if array.dtype == np.uint8:
            out = np.maximum.reduceat(out, starts, axis=axis)
        else:
            total = np.add.reduceat(out, starts, axis=axis)
            lengths = np.diff(np.append(starts, array.shape[axis]))
            out = total / lengths.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.rint(out).astype(array.dtype)


class Case:
    """Volumes, their encoded slices and the answers of the API."""

    def __init__(self, size: int = 256, slices: int = 120) -> None:
        mm = 384.0 / size
        shape = (slices, size, size)
        self.affines = {CT: _affine(shape, (mm, mm, 3.0))}
        self.matrices = {CT: np.eye(4), PET: rotation(8, (6.0, -4.0, 5.0))}
        ct = ct_volume(shape, self.affines[CT])
        pet_shape = (80, 96, 96)
        self.affines[PET] = _affine(pet_shape, (4.0, 4.0, 4.5))
        pet = pet_volume(pet_shape, self.affines[PET], self.matrices[PET])
        at = _points(shape, self.affines[CT])
        ball = _ball(at, NODULE, (11, 11, 11))
        heat = np.rint(255 * np.exp(-ball * 0.7)).astype(np.uint8)
        self.arrays: dict[int, Array] = {
            CT: ct, PET: pet, HEATMAP: heat, LABELS: (ball < 1).astype(np.uint8), LOOSE: pet,
        }
        for layer in (HEATMAP, LABELS):
            self.affines[layer], self.matrices[layer] = self.affines[CT], np.eye(4)
        self.affines[LOOSE], self.matrices[LOOSE] = self.affines[PET], np.eye(4)
        self.factors = {CT: (1, 4, 4), PET: (2, 2, 2), HEATMAP: (1, 4, 4), LABELS: (1, 4, 4), LOOSE: (2, 2, 2)}
        self.measurements: list[dict[str, Any]] = []
        self.reviews: dict[int, dict[str, Any]] = {}
        self.decision: dict[str, Any] | None = None
        self.payloads: dict[tuple[int, int, int], bytes] = {}
        self.drop_after = 0
        self.delay = 0.0
        self.opens: list[dict[str, Any]] = []
        for layer, array in self.arrays.items():
            for level, pixels in enumerate((array, coarsen(array, self.factors[layer]))):
                for k in range(pixels.shape[0]):
                    self.payloads[layer, level, k] = encode_slice(np.ascontiguousarray(pixels[k]))

    def shapes(self, layer: int) -> list[list[int]]:
        fine = self.arrays[layer].shape
        coarse = [-(-n // f) for n, f in zip(fine, self.factors[layer], strict=True)]
        return [list(fine), coarse]

    def _layer(self, layer: int, **rest: Any) -> dict[str, Any]:
        array = self.arrays[layer]
        fine, coarse = self.shapes(layer)
        fusion = {
            "state": "same_frame", "fused": True, "badge": "Same frame of reference", "method": "",
            "version": "", "verdict": "usable", "reasons": [], "quality": [], "decision": None,
        }
        return {
            "id": layer, "key": str(layer), "kind": "series", "role": "OTHER", "unit": "1",
            "modality": "OT", "shape": fine, "affine": self.affines[layer].tolist(),
            "dtype": str(array.dtype), "codec": 1 if array.dtype == np.int16 else 2, "slope": 1.0,
            "intercept": 0.0, "value_range": [0, 1], "window": [1, 0.5], "synthetic": True,
            "levels": [{"shape": fine, "factors": [1, 1, 1]},
                       {"shape": coarse, "factors": list(self.factors[layer])}],
            "lossy": "", "matrix": self.matrices[layer].tolist(), "registration_id": None,
            "notices": [], "model": "", **rest, "fusion": {**fusion, **rest.get("fusion", {})},
        }

    def pet_fusion(self) -> dict[str, Any]:
        rejected = bool(self.decision) and self.decision["decision"] == "rejected"
        return {
            "state": "registered", "fused": not rejected, "method": "Rigid, Mattes mutual information",
            "badge": "Not registered: not fused" if rejected else "Registered",
            "version": "registration 1.0", "verdict": "usable", "decision": self.decision,
            "reasons": ["Converged at every level"],
            "quality": [
                {"name": "Mutual information gain", "value": 0.412, "unit": "1", "basis": "after minus before", "passed": True},
                {"name": "Landmark-free error estimate", "value": 1.31, "unit": "mm", "basis": "inverse consistency", "passed": True},
            ],
        }

    def finding(self) -> dict[str, Any]:
        review = {"state": "pending", "by": "", "at": None, "comment": "", "label": "", "location": ""}
        return {
            "id": 5, "number": 1, "label": "Solid nodule", "location": "Left upper lobe",
            "laterality": "left", "probability": 0.93, "position": list(NODULE),
            "long_axis_mm": 22.0, "short_axis_mm": 21.6, "volume_ml": 5.58, "suv_max": 8.9,
            "suv_peak": 7.8, "suv_mean": 5.1, "method": "radfuse-lung-unet 0.1.0, threshold 0.5",
            "review": {**review, **self.reviews.get(5, {})},
        }

    def view(self) -> dict[str, Any]:
        angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        x, y, z = NODULE
        polygons = []
        for dz in np.arange(-12, 12.1, 3.0):
            radius = 15 * math.sqrt(max(0.0, 1 - (dz / 13) ** 2))
            ring = [[x + radius * math.cos(a), y + radius * 1.1 * math.sin(a), z + dz] for a in angles]
            polygons.append(ring)
        unfused = {
            "state": "not_registered", "fused": False, "badge": "Not registered: not fused",
            "verdict": "refused", "reasons": ["Overlap with the reference is only 12 %"],
        }
        return {
            "case": {"id": 1, "title": "Chest PET/CT", "state": "reading", "priority": "routine",
                     "pathway": "lung", "held_by": "Dr Demo", "held_by_me": True,
                     "can": dict.fromkeys(("review", "measure", "decide_registration", "report", "sign"), True)},
            "patient": {"name": "SYNTHETIC^ADA", "patient_id": "SYN-1", "issuer": "", "sex": "F",
                        "birth_date": "1970-01-01", "age": "56", "site": "Demo", "synthetic": True},
            "studies": [], "run": {"id": 1, "number": 1, "state": "done", "steps": []},
            "reference": CT,
            "layers": [
                self._layer(CT, label="CT", role="CT", modality="CT", unit="[hnsf'U]",
                            window=[400, 40], value_range=[-1024, 3000],
                            fusion={"state": "reference", "badge": "Reference"}),
                self._layer(PET, label="PET", role="PET", modality="PT", unit="g/ml{SUVbw}",
                            slope=0.001, window=[5, 2.5], value_range=[0, 10], registration_id=3,
                            fusion=self.pet_fusion()),
                self._layer(HEATMAP, kind="heatmap", label="Heatmap", unit="1", slope=1 / 255,
                            model="radfuse-lung-unet 0.1.0"),
                self._layer(LABELS, kind="segmentation", label="Segmentation", window=[1, 0.5]),
                self._layer(LOOSE, label="MR T2", role="T2", modality="MR", window=[4000, 2000],
                            fusion=unfused),
            ],
            "outlines": [{"number": 1, "name": "GTV", "color": "#ff5c5c", "layer": CT,
                          "fused": True, "polygons": polygons}],
            "findings": [self.finding()], "measurements": self.measurements,
            "notices": [], "stream": {"path": "/ws/cases/1/slices/", "version": 1},
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
        if path.endswith("/measurements/"):
            points = body["points"]
            if body["tool"] == "length":
                value = float(np.linalg.norm(np.subtract(points[0], points[1])))
                text, unit = f"{value:.1f} mm", "mm"
            else:
                value = self.sample(CT, points[0]) or 0.0
                text, unit = f"{value:.0f} HU", "[hnsf'U]"
            self.measurements.append({"id": len(self.measurements) + 1, "tool": body["tool"], "unit": unit,
                                      "points": points, "value": value, "text": text, "by": "Dr Demo", "at": "2026-11-22T12:00:00Z"})
            return 201, self.measurements[-1]
        if path.endswith("/probe/"):
            hu, suv = self.sample(CT, body["point"]), self.sample(PET, body["point"])
            values = [
                {"layer": CT, "label": "CT", "value": hu, "unit": "[hnsf'U]", "text": "outside" if hu is None else f"{hu:.0f} HU"},
                {"layer": PET, "label": "PET", "value": suv, "unit": "g/ml{SUVbw}", "text": "outside" if suv is None else f"{suv / 1000:.2f} SUVbw"},
            ]
            return 200, {"point": body["point"], "values": values}
        if path.endswith("/review/"):
            self.reviews[5] = {**body, "by": "Dr Demo", "at": "2026-11-22T12:00:00Z"}
            return 200, self.finding()
        if path.endswith("/decision/"):
            self.decision = {"decision": body["decision"], "by": "Dr Demo", "at": "2026-11-22T12:00:00Z", "reason": body["reason"]}
            if body["matrix"]:
                self.matrices[PET] = np.array(body["matrix"])
            return 200, {"fusion": self.pet_fusion(), "matrix": self.matrices[PET].tolist()}
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
                planned += [(layer, level, k) for k in sorted(range(count), key=lambda k: abs(k - middle))]
        return planned


class App:
    """The ASGI application."""

    def __init__(self, case: Case) -> None:
        self.case = case

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "websocket" and "slices" in scope["path"]:
            await self.slices(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] != "websocket.disconnect":
                pass

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        status, kind, content = 200, "application/json", b""
        if path == "/":
            kind, content = "text/html; charset=utf-8", page().encode()
        elif path.startswith("/static/viewer/"):
            file = DIST / path.removeprefix("/static/viewer/")
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            content = file.read_bytes() if file.is_file() else b""
            status = 200 if file.is_file() else 404
        elif path == "/api/cases/1/view/":
            content = json.dumps(self.case.view()).encode()
        elif method == "POST":
            status, answer = self.case.post(path, json.loads(body))
            content = json.dumps(answer).encode()
        elif method == "DELETE":
            wanted = int(path.rstrip("/").rsplit("/", 1)[1])
            self.case.measurements = [m for m in self.case.measurements if m["id"] != wanted]
            status = 204
        else:
            status = 404
        headers = [(b"content-type", kind.encode()), (b"content-security-policy", CSP.encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def slices(self, receive: Receive, send: Send) -> None:
        case = self.case
        await receive()
        await send({"type": "websocket.accept"})
        opened = json.loads((await receive())["text"])
        case.opens.append(opened)
        held = {
            (int(layer), int(level), k)
            for layer, levels in opened["have"].items()
            for level, ranges in levels.items()
            for low, high in ranges
            for k in range(low, high + 1)
        }
        state = {"credit": opened["credit"], "focus": opened["focus"], "layers": opened["layers"], "open": True}
        sent = set(held)
        wake = asyncio.Event()

        async def listen() -> None:
            while state["open"]:
                event = await receive()
                if event["type"] == "websocket.disconnect":
                    state["open"] = False
                else:
                    message = json.loads(event["text"])
                    if message["type"] == "credit":
                        state["credit"] += message["frames"]
                    elif message["type"] == "focus":
                        state["focus"] = {"layer": message["layer"], "slice": message["slice"]}
                    elif message["type"] == "layers":
                        state["layers"] = message["layers"]
                wake.set()

        listener = asyncio.create_task(listen())
        await send({"type": "websocket.send", "text": json.dumps({"type": "ready", "version": 1})})
        sequence, told = 0, False
        while state["open"]:
            todo = next((item for item in case.order(state["layers"], state["focus"]) if item not in sent), None)
            if todo is None or state["credit"] <= 0:
                if todo is None and not told:
                    told = True
                    await send({"type": "websocket.send", "text": '{"type":"done"}'})
                wake.clear()
                await wake.wait()
                continue
            told = False
            layer, level, k = todo
            payload = case.payloads[todo]
            codec = 1 if case.arrays[layer].dtype == np.int16 else 2
            header = struct.pack("<HBBIHHIII", 0x4652, 1, codec, layer, level, 0, k, len(payload), sequence)
            await send({"type": "websocket.send", "bytes": header + payload})
            sent.add(todo)
            sequence += 1
            state["credit"] -= 1
            if case.delay:
                await asyncio.sleep(case.delay)
            if case.drop_after and sequence >= case.drop_after:
                case.drop_after = 0
                await send({"type": "websocket.close", "code": 1011})
                break
        listener.cancel()


def page() -> str:
    """The case page as the product lays it out."""
    manifest = json.loads((DIST / "manifest.json").read_text())
    tags = ""
    for entry in ("src/pages.ts", "src/viewer/main.ts"):
        tags += "".join(f'<link rel="stylesheet" href="/static/viewer/{css}">' for css in manifest[entry].get("css", []))
        tags += f'<script type="module" src="/static/viewer/{manifest[entry]["file"]}"></script>'
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Radfuse</title>
<meta name="csrf-token" content="mock">{tags}</head><body class="case-page" data-live="0">
<header class="app-header"><a class="brand" href="/">Radfuse</a>
<ul class="nav"><li><a href="/" aria-current="page">Worklist</a></li></ul>
<div class="user"><span data-live-state></span>Dr Demo</div></header>
<div class="banner"><span class="patient-name">SYNTHETIC^ADA</span>
<span class="item"><span class="key">ID</span>SYN-1</span>
<span class="item"><span class="key">Born</span>1970-01-01 (56 y)</span>
<span class="item"><span class="key">Sex</span>F</span><span class="badge badge--synthetic">SYNTHETIC</span></div>
<main class="case-layout"><section class="case-viewer" aria-label="Images">
<div id="viewer" data-case="1" data-view-url="/api/cases/1/view/"></div></section>
<aside class="case-panel" aria-label="Report"><h2>Report</h2>
<div class="field"><label for="text">Findings</label><textarea id="text"></textarea></div></aside></main>
</body></html>"""


def main() -> None:
    import uvicorn

    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    uvicorn.run(App(Case()), port=port, ws="websockets-sansio", ws_per_message_deflate=False, log_level="warning")


if __name__ == "__main__":
    main()
