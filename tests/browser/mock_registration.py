"""The registration tools of the mock server: decisions, landmarks, refinements, carried points.

It answers as ``workstation/reading/README.md`` ("API of the registration tools") says, for the one
registration of the synthetic case. A refinement advances by a third each time it is asked for.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from tests.browser.mock_volumes import NODULE, Array

REGISTRATION = 3
BY = {"by": "Dr Demo", "at": "2026-11-22T12:00:00Z"}
BEND = np.array([0.0, 0.0, 10.0])
"""mm that the mock's deformation moves the nodule by."""
ERROR = {
    "name": "estimated_target_error", "value": 1.31, "unit": "mm",
    "basis": "perturbed starts, 95th percentile", "passed": True,
}  # fmt: skip


def displacement(points: Array) -> Array:
    """mm to add to points of the reference, [n, 3]: a smooth bump at the nodule."""
    away = np.sum((points - np.array(NODULE)) ** 2, axis=-1, keepdims=True)
    return BEND * np.exp(-away / (2 * 40.0**2))


def carry(matrix: Array, points: Array) -> Array:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def rigid_fit(moving: Array, reference: Array) -> Array:
    """Least-squares rigid 4x4 that carries moving onto reference (Kabsch)."""
    from_mean, to_mean = moving.mean(axis=0), reference.mean(axis=0)
    u, _, vt = np.linalg.svd((moving - from_mean).T @ (reference - to_mean))
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, to_mean - turn @ from_mean
    return matrix


class Tools:
    """State of the one registration, and what the server answers about it."""

    def __init__(self, matrix: Array) -> None:
        self.computed = matrix.copy()
        self.reset()

    def reset(self) -> None:
        self.matrix = self.computed.copy()
        self.pairs: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.refinements: list[dict[str, Any]] = []
        self.verdict = "usable"
        self.asked: list[tuple[str, Any]] = []
        self.problem = ""
        self.notices: list[dict[str, str]] = []

    # ---- what is on record -------------------------------------------------------------------

    @property
    def decision(self) -> dict[str, Any] | None:
        latest = self.decisions[0] if self.decisions else None
        return None if latest is None or latest["decision"] == "withdrawn" else latest

    @property
    def accepted(self) -> dict[str, Any] | None:
        wanted = self.decision["refinement"] if self.decision else None
        return next((one for one in self.refinements if one["id"] == wanted), None)

    def fusion(self) -> dict[str, Any]:
        latest, refined = self.decision, self.accepted
        rejected = latest is not None and latest["decision"] == "rejected"
        badge = "Registered"
        if rejected:
            badge = "Not registered: not fused"
        elif refined is not None:
            start = {"hand": "hand alignment", "landmarks": "landmarks"}.get(
                refined["start"]["method"], "the computed alignment"
            )
            badge = f"Registered: refined from {start}, accepted by Dr Demo"
        elif latest is not None and latest["decision"] == "nudged":
            badge = "Registered by hand by Dr Demo"
        result = refined["result"] if refined else None
        return {
            "state": "registered",
            "fused": not rejected and (self.verdict == "usable" or latest is not None),
            "method": result["method"] if result else "Rigid, Mattes mutual information",
            "badge": badge,
            "version": "registration 1.0",
            "verdict": result["verdict"] if result else self.verdict,
            "model": result["model"] if result else "rigid",
            "refinement": refined["id"] if refined else None,
            "decision": latest,
            "reasons": ["Converged at every level"],
            "quality": [
                {"name": "mutual_information_gain", "value": 0.412, "unit": "1",
                 "basis": "after minus before", "passed": True},
                ERROR,
            ],
        }  # fmt: skip

    def landmarks(self) -> dict[str, Any] | None:
        if not self.pairs:
            return None
        rows = []
        for pair in self.pairs:
            there = carry(self.matrix, np.array([pair["moving"]]))[0]
            rows.append({**pair, "residual_mm": float(np.linalg.norm(there - pair["reference"]))})
        away = [row["residual_mm"] for row in rows]
        return {
            "pairs": rows, "count": len(rows), "mean_mm": float(np.mean(away)),
            "rms_mm": float(np.sqrt(np.mean(np.square(away)))), "max_mm": max(away),
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        for one in self.refinements:
            self.advance(one)
        return {
            "id": REGISTRATION, "layer": 13, "series": 13, "label": "PET",
            "computed": {
                "state": "registered", "verdict": self.verdict, "model": "rigid",
                "method": "Rigid, Mattes mutual information", "version": "registration 1.0",
                "matrix": self.computed.tolist(), "reasons": ["Converged at every level"],
                "quality": [ERROR], "can_accept": self.verdict != "refused",
            },
            "matrix": self.matrix.tolist(), "fusion": self.fusion(),
            "deformed_layer": self.accepted["result"]["layer"] if self.accepted else None,
            "problem": self.problem, "landmarks": self.landmarks(),
            "refinements": copy.deepcopy(self.refinements),
            "decisions": self.decisions,
        }  # fmt: skip

    # ---- what a reader does ------------------------------------------------------------------

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        self.asked.append((path, body))
        if parts[1] == "refinements":
            return self.act(int(parts[2]), parts[3])
        verb = "/".join(parts[3:])
        if verb == "decision":
            return self.decide(body)
        if verb == "landmarks":
            pair = {"id": len(self.asked), "label": "", **body, **BY}
            self.pairs.append(pair)
            return 201, self.landmarks()
        if verb == "landmarks/fit":
            return self.fit()
        if verb == "refinements":
            return self.refine(body)
        if verb == "map":
            return 200, self.map(body)
        return 404, {"detail": "Not found."}

    def delete_landmark(self, wanted: int) -> tuple[int, Any]:
        self.pairs = [pair for pair in self.pairs if pair["id"] != wanted]
        empty = {"pairs": [], "count": 0, "mean_mm": None, "rms_mm": None, "max_mm": None}
        return 200, self.landmarks() or empty

    def fitted(self) -> Array:
        ends = [np.array([pair[end] for pair in self.pairs]) for end in ("moving", "reference")]
        return rigid_fit(*ends)

    def fit(self) -> tuple[int, Any]:
        if len(self.pairs) < 3:
            return 409, {"detail": "A fit needs at least three pairs."}
        matrix = self.fitted()
        away = [
            float(np.linalg.norm(carry(matrix, np.array([p["moving"]]))[0] - p["reference"]))
            for p in self.pairs
        ]
        return 200, {
            "matrix": matrix.tolist(), "count": len(away), "mean_mm": float(np.mean(away)),
            "rms_mm": float(np.sqrt(np.mean(np.square(away)))), "max_mm": max(away),
            "pairs": [
                {"id": p["id"], "residual_mm": r} for p, r in zip(self.pairs, away, strict=True)
            ],
        }  # fmt: skip

    def decide(self, body: dict[str, Any]) -> tuple[int, Any]:
        method, matrix, evidence = "", None, {}
        if body["decision"] == "nudged":
            method = body.get("method", "hand")
            matrix = self.fitted() if method == "landmarks" else np.array(body["matrix"])
            evidence = {"count": len(self.pairs)} if method == "landmarks" else {}
        elif body.get("refinement"):
            method = "refined"
            chosen = next(one for one in self.refinements if one["id"] == body["refinement"])
            matrix = np.array(chosen["result"]["matrix"])
        self.decisions.insert(0, {
            "id": len(self.decisions) + 1, "decision": body["decision"], "method": method,
            "reason": body.get("reason", ""), "matrix": None if matrix is None else matrix.tolist(),
            "refinement": body.get("refinement"), "evidence": evidence, **BY,
        })  # fmt: skip
        for one in self.refinements:
            one["accepted"] = one["id"] == body.get("refinement")
        self.matrix = self.computed.copy() if matrix is None else matrix
        return 200, {"fusion": self.fusion(), "matrix": self.matrix.tolist()}

    def refine(self, body: dict[str, Any]) -> tuple[int, Any]:
        by_hand = body["matrix"] is not None
        self.refinements.insert(0, {
            "id": len(self.refinements) + 1, "registration": REGISTRATION, "model": body["model"],
            "state": "queued", "progress": 0.0, "text": "Waiting for a worker", "error": "",
            "attempts": 1, "accepted": False, "can_accept": False, "finished_at": None,
            "start": {
                "matrix": body["matrix"] if by_hand else self.matrix.tolist(),
                "method": "hand" if by_hand else "computed",
            },
            "result": None, **BY,
        })  # fmt: skip
        return 202, self.refinements[0]

    def advance(self, one: dict[str, Any]) -> None:
        if one["state"] not in ("queued", "running"):
            return
        one["state"], one["text"] = "running", "Level 2 of 3"
        one["progress"] = round(one["progress"] + 0.34, 2)
        if one["progress"] < 1:
            return
        one.update(state="done", progress=1.0, can_accept=True, finished_at=BY["at"])
        deformable = one["model"] == "deformable"
        one["result"] = {
            "matrix": self.computed.tolist(), "model": one["model"], "version": "registration 1.1",
            "method": f"{one['model'].capitalize()}, local refinement", "verdict": "usable",
            "reasons": ["The start was close"], "quality": [ERROR],
            "layer": 30 if deformable else None,
        }  # fmt: skip

    def act(self, wanted: int, verb: str) -> tuple[int, Any]:
        one = next(one for one in self.refinements if one["id"] == wanted)
        one["state"] = {"cancel": "cancelled", "retry": "queued", "discard": "discarded"}[verb]
        return 200, one

    def map(self, body: dict[str, Any]) -> dict[str, Any]:
        points = np.array(body["points"], dtype=float)
        bent = self.accepted is not None and self.accepted["model"] == "deformable"
        if body["from"] == "reference":
            there = carry(np.linalg.inv(self.matrix), points + displacement(points) * bent)
        else:
            goal = carry(self.matrix, points)
            there = goal.copy()
            for _ in range(20 * bent):
                there = goal - displacement(there)
        to = "moving" if body["from"] == "reference" else "reference"
        return {"points": there.tolist(), "to": to, "model": self.fusion()["model"]}
