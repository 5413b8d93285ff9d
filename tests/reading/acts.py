"""What a reader does with the registration tools, through the API."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from tests.analyzing.results import leave_refinement
from tests.reading.house import House
from workstation.analyzing.models import Refinement
from workstation.analyzing.recording import load_refinement
from workstation.analyzing.refinements import claim_refinement, finish_refinement
from workstation.analyzing.requests import refine_request

CORNERS = [[0.0, 0.0, 0.0], [50.0, 0.0, 0.0], [0.0, 50.0, 0.0], [0.0, 0.0, 50.0]]


def post(api: Client, path: str, data: Any = None) -> Any:
    return api.post(path, json.dumps(data or {}), content_type="application/json")


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json()


def refused(answer: Any, words: str) -> None:
    assert answer.status_code == 409, answer.content
    assert words in answer.json()["detail"]


def place(api: Client, path: str, shift: float = 4.0) -> Any:
    """Pairs that say: the PET lies ``shift`` mm further to the left."""
    for corner in CORNERS:
        there = [corner[0] + shift, *corner[1:]]
        body = {"reference": there, "moving": corner, "label": "vessel"}
        answer = ok(post(api, f"{path}landmarks/", body), 201)
    return answer


def refine(
    api: Client, path: str, model: str = "rigid", *, refused: bool = False, **body: Any
) -> Any:
    """Ask, let a worker do it, and the refinement as JSON."""
    asked = ok(post(api, f"{path}refinements/", {"model": model, **body}), 202)
    row = Refinement.objects.get(pk=asked["id"])
    token = claim_refinement(row.pk, "test")
    result = load_refinement(row, leave_refinement(refine_request(row), refused=refused))
    finish_refinement(row.pk, str(token), result)
    return ok(api.get(f"/api/refinements/{row.pk}/"))


def view_of(api: Client, house: House) -> dict[str, Any]:
    return dict(ok(api.get(f"/api/cases/{house.case.pk}/view/")))
