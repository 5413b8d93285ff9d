"""Key images through the API."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from tests.reading.acts import ok, post, refused, view_of
from tests.reading.house import House
from tests.reading.measured import (
    marks,
    rerun,
    state_of,
)
from workstation.analyzing.models import Layer
from workstation.reading.models import KeyImage


def png(size: tuple[int, int] = (4, 3)) -> str:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 10, 10)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def test_a_key_image_comes_back_as_it_was_seen(api: Client, house: House) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    body = ok(post(api, path, {"state": state_of(house), "label": "node", "picture": png()}), 201)
    assert (body["name"], body["label"], body["drawn"]) == ("K1", "node", True)
    assert [one["layer"] for one in body["state"]["layers"]] == [house.ct.pk, house.pet.pk]
    assert body["state"]["layers"][1]["window"] == [6, 3] and body["state"]["view"] == {"zoom": 1.5}
    answer = api.get(body["picture"])
    assert (answer["Content-Type"], answer["Cache-Control"]) == ("image/png", "no-store")
    assert Image.open(io.BytesIO(answer.content)).size == (4, 3)
    plain = ok(post(api, path, {"state": state_of(house)}), 201)
    assert plain["picture"] is None
    assert api.get(f"/api/key-images/{plain['id']}/picture/").status_code == 404
    named = api.patch(
        f"/api/key-images/{plain['id']}/", {"label": "hilum"}, content_type="application/json"
    )
    assert ok(named)["label"] == "hilum"
    assert api.delete(f"/api/key-images/{body['id']}/").status_code == 204
    assert [one["name"] for one in view_of(api, house)["key_images"]] == ["K2"]
    assert [one["kind"] for one in marks(api, house)["hidden"]] == ["key_image"]
    assert ok(post(api, f"/api/key-images/{body['id']}/restore/")) == body
    rerun(house)
    newest = {layer.label: layer.pk for layer in Layer.objects.order_by("pk")}
    first = view_of(api, house)["key_images"][0]
    assert [one["layer"] for one in first["state"]["layers"]] == [newest["CT"], newest["PET"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"point": None}, "A point is"),
        ({"extra": 1}, "point, normal, up"),
        ({"layers": []}, "1 to 20 layers"),
        ({"layers": [{"layer": 10**9, "window": [1, 1]}]}, "not on screen"),
        ({"view": {"x": "y" * 9000}}, "8 kB"),
        ({"view": {"x": "\0"}}, "8 kB"),
    ],
)
def test_key_images_that_show_nothing_are_refused(
    api: Client, house: House, change: dict[str, Any], words: str
) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    refused(post(api, path, {"state": {**state_of(house), **change}}), words)


def test_a_picture_must_be_one(api: Client, house: House) -> None:
    path = f"/api/cases/{house.case.pk}/key-images/"
    script = base64.b64encode(b"<svg onload='alert(1)'/>").decode()
    for picture in (
        "data:image/svg+xml;base64," + script,
        "data:image/png;base64," + script,
        "data:image/png;base64,???",
        png((300, 300))[:400],
        "https://elsewhere/picture.png",
    ):
        answer = post(api, path, {"state": state_of(house), "picture": picture})
        refused(answer, "picture")
    assert not KeyImage.objects.exists()
