"""The mock case with an earlier case of the same patient: other voxels, its own stream."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from tests.browser.mock_case import CT, Case
from tests.browser.mock_server import App, Receive, Scope, Send
from tests.browser.mock_stream import MockStream

STUDY, EARLIER_CASE = 70, 2
BRIGHTER = 200
"""HU that the earlier CT lies above the current one, so that a pixel tells which it is."""
DATE = "2026-05-26"


def named(kind: str, pk: int, case: int, label: str) -> dict[str, Any]:
    name = f"M{pk}" if kind == "measurement" else f"Finding {pk}"
    return {
        "kind": kind, "id": pk, "name": name, "label": label, "case": case,
        "date": "2026-11-22" if case == 1 else DATE, "position": None, "outdated": "",
    }  # fmt: skip


NOW = named("finding", 5, 1, "Solid nodule")
THEN = named("finding", 9, EARLIER_CASE, "Nodule")


class PriorCase(Case):
    """What the server tells of priors; ``earlier`` is the other case."""

    def __init__(self) -> None:
        super().__init__(size=64, slices=30)
        self.earlier = Case(size=64, slices=30)
        self.earlier.arrays[CT] = self.arrays[CT] + np.int16(BRIGHTER)
        self.earlier.encode(CT)
        self.pairs: list[dict[str, Any]] = []
        self.hidden_pairs: list[dict[str, Any]] = []
        self.registered: list[int] = []
        self.stranger = False
        """True: the other case answers with another patient."""
        self.has_priors = True

    def reset(self) -> None:
        super().reset()
        self.pairs, self.hidden_pairs, self.registered = [], [], []
        self.stranger, self.has_priors = False, True

    def earlier_view(self) -> dict[str, Any]:
        view = self.earlier.view()
        view["case"] = {**view["case"], "id": EARLIER_CASE, "state": "signed"}
        view["layers"] = [layer for layer in view["layers"] if layer["id"] == CT]
        view["stream"] = {"path": f"/ws/cases/{EARLIER_CASE}/slices/", "version": 2}
        if self.stranger:
            view["patient"] = {**view["patient"], "patient_id": "SYN-2"}
        return view

    def priors(self) -> dict[str, Any]:
        entry = {
            "study": STUDY, "date": DATE, "description": "Chest CT", "accession": "",
            "modalities": ["CT"], "site": "", "linked": False,
            "patient": {"name": "SYNTHETIC^ADA", "patient_id": "SYN-1", "issuer": ""},
            "reason": "same body part, same modality (CT), 180 days earlier", "days": 180,
            "case": EARLIER_CASE, "case_state": "Signed",
            "view": f"/api/cases/{EARLIER_CASE}/view/", "in_case": bool(self.registered),
            "layers": [], "can_register": not self.registered, "why_not": "",
            "can_take_out": bool(self.registered),
        }  # fmt: skip
        sums = [{**row(20.5, 22.0, "+1.5 mm", "+7.3 %"), "study": STUDY, "date": DATE, "count": 1,
                 "title": "Sum of diameters", "notes": ["Change against this one study."]}]
        return {
            "case": 1, "date": "2026-11-22", "can": {"pair": True, "register": True},
            "priors": [entry] if self.has_priors else [], "current": [NOW],
            "earlier": {str(EARLIER_CASE): [THEN]}, "pairs": self.pairs,
            "sums": sums if self.pairs else [], "proposals": [],
        }  # fmt: skip

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/priors/"):
            return 200, self.priors()
        if f"/priors/{STUDY}/" in path:
            self.registered = [STUDY] if method == "POST" else []
            return 202 if method == "POST" else 204, None
        if path.endswith("/prior-pairs/"):
            self.pairs.append(pair(body["is_node"]))
            return 201, self.pairs[-1]
        if path.endswith("/restore/"):
            self.pairs.append(self.hidden_pairs.pop())
            return 200, self.pairs[-1]
        self.hidden_pairs.append(self.pairs.pop())
        return 204, None


def row(before: float, after: float, change: str, percent: str) -> dict[str, Any]:
    return {
        "name": "long_axis", "title": "Long axis", "unit": "mm", "before": before, "after": after,
        "before_text": f"{before} mm", "after_text": f"{after} mm", "change": after - before,
        "percent": 0.0, "change_text": change, "percent_text": percent,
    }  # fmt: skip


def pair(is_node: bool) -> dict[str, Any]:
    """The numbers of a server: no browser could make them from what it was told."""
    doubling = {
        "days": 412.345, "basis": "of the volumes", "reason": "", "text": "412 days",
        "grown": True, "growth_text": "Growth: at least 25 % more volume (BTS).",
    }  # fmt: skip
    change = {
        "date": DATE, "days": 180, "rows": [row(20.5, 22.0, "+1.5 mm", "+7.3 %")],
        "doubling": doubling, "notes": [], "sentence": "Finding 5: long axis 20.5 mm → 22.0 mm.",
    }  # fmt: skip
    return {
        "id": 31, "study": STUDY, "is_node": is_node, "proposed_mm": None, "by": "Dr Demo",
        "at": "2026-11-22T12:00:00Z", "current": NOW, "earlier": THEN, "change": change,
        "history": [],
    }  # fmt: skip


def of_priors(path: str) -> bool:
    return f"/cases/{EARLIER_CASE}/" in path or "/prior" in path


class PriorApp(App):
    """As the mock server, and what priors need."""

    case: PriorCase

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "websocket" and path.startswith(f"/ws/cases/{EARLIER_CASE}/"):
            await MockStream(self.case.earlier, receive, send).run()
        elif scope["type"] == "http" and path.startswith("/api/") and of_priors(path):
            await self.tell(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def tell(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        if scope["path"].endswith("/view/"):
            status, answer = 200, self.case.earlier_view()
        else:
            asked = json.loads(body) if body else None
            status, answer = self.case.answer(scope["method"], scope["path"], asked)
        content = b"" if answer is None else json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json")] if content else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})
