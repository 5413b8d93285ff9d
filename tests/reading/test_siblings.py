"""Several volumes of one series: one registration, one row, and only the main one speaks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client

from tests.analyzing.results import FIELD_SHIFT, ramp, stored
from tests.factories import LayerFactory
from tests.reading.acts import refine
from tests.reading.house import INSIDE, SHIFT, House, as_json, build
from tests.reading.test_stream import Peer
from workstation.analyzing.models import Layer
from workstation.analyzing.requests import run_folder
from workstation.reading.aligning import decide_registration
from workstation.reporting.content import registrations_of
from workstation.reporting.services import prepare_report

pytestmark = pytest.mark.django_db(transaction=True)


def with_sibling() -> tuple[House, Layer]:
    """The PET of the house becomes the last of two frames over time; its sibling has other
    values."""
    house = build()
    uid = house.pet.series.series_instance_uid
    record = stored(
        run_folder(house.run), f"{uid}#1", ramp() + 1000, path="assemble/sibling.rfv", slope=0.01,
        role="PET", unit="g/ml{SUVbw}",
    )  # fmt: skip
    record = replace(
        record, series_instance_uid=uid, number=1, count=2, setting="phase 1 of 2, 0.0 s"
    )
    sibling = LayerFactory(
        run=house.run, series=house.pet.series, key=record.key, position=5, role="PET",
        label="PET phase 1 of 2, 0.0 s", unit="g/ml{SUVbw}", record=as_json(record),
    )  # fmt: skip
    house.pet.record |= {"number": 2, "count": 2, "setting": "phase 2 of 2, 60.0 s"}
    house.pet.save()
    return house, sibling


@pytest.fixture
def house() -> tuple[House, Layer]:
    return with_sibling()


@pytest.fixture
def api(house: tuple[House, Layer]) -> Client:
    client = Client()
    client.force_login(house[0].reader)
    return client


def post(api: Client, path: str, data: Any) -> Any:
    return api.post(path, json.dumps(data), content_type="application/json")


def test_all_volumes_follow_an_accepted_deformation_and_the_one_that_is_not_drawn_bent_says_so(
    house: tuple[House, Layer], api: Client
) -> None:
    case, sibling = house
    path = f"/api/registrations/{case.registration.pk}/"
    asked = refine(api, path, "deformable")
    post(api, f"{path}decision/", {"decision": "accepted", "refinement": asked["id"]})
    view = api.get(f"/api/cases/{case.case.pk}/view/").json()
    layers = {layer["id"]: layer for layer in view["layers"]}
    other = layers[sibling.pk]
    # The cursor of either volume asks the server for the way through this registration.
    assert (other["registration_id"], other["fusion"]["model"]) == (
        case.registration.pk, "deformable",
    )  # fmt: skip
    [there] = post(api, f"{path}map/", {"points": [INSIDE], "from": "reference"}).json()["points"]
    assert there == pytest.approx([INSIDE[0] - SHIFT[0][3], INSIDE[1], INSIDE[2] + FIELD_SHIFT[2]])
    # Only the main volume is drawn bent: the badge of the other one does not claim it.
    [bent] = [layer for layer in view["layers"] if layer["kind"] == "deformed"]
    assert bent["deformed"]["of"] == case.pet.pk
    assert other["fusion"]["badge"].startswith("Registered without its deformation")


def test_siblings_are_layers_that_share_a_registration(
    house: tuple[House, Layer], api: Client
) -> None:
    case, sibling = house
    view = api.get(f"/api/cases/{case.case.pk}/view/").json()
    main, other = (
        next(layer for layer in view["layers"] if layer["id"] == pk)
        for pk in (case.pet.pk, sibling.pk)
    )
    assert main["series"] == other["series"] == case.pet.series_id
    assert main["volume"] == {
        "number": 2, "count": 2, "setting": "phase 2 of 2, 60.0 s", "main": True,
    }  # fmt: skip
    assert other["volume"] == {
        "number": 1, "count": 2, "setting": "phase 1 of 2, 0.0 s", "main": False,
    }  # fmt: skip
    assert main["registration_id"] == other["registration_id"] == case.registration.pk
    assert main["matrix"] == other["matrix"] == SHIFT
    assert main["fusion"] == other["fusion"]
    assert view["layers"][0]["volume"] == {"number": 1, "count": 1, "setting": "", "main": True}


def test_one_decision_holds_for_all_volumes_of_the_series(
    house: tuple[House, Layer], api: Client
) -> None:
    case, sibling = house
    decide_registration(case.registration, case.reader, decision="rejected", reason="wrong")
    layers = api.get(f"/api/cases/{case.case.pk}/view/").json()["layers"]
    fused = {layer["id"]: layer["fusion"]["fused"] for layer in layers}
    assert (fused[case.pet.pk], fused[sibling.pk], fused[case.ct.pk]) == (False, False, True)


def test_a_probe_asks_the_main_volume_or_those_on_screen(
    house: tuple[House, Layer], api: Client
) -> None:
    case, sibling = house
    path = f"/api/cases/{case.case.pk}/probe/"
    at_first = {v["layer"]: v["value"] for v in post(api, path, {"point": INSIDE}).json()["values"]}
    assert case.pet.pk in at_first and sibling.pk not in at_first
    answer = post(api, path, {"point": INSIDE, "layers": [case.ct.pk, sibling.pk]})
    values = {v["layer"]: v["value"] for v in answer.json()["values"]}
    assert set(values) == {case.ct.pk, sibling.pk}
    assert values[sibling.pk] == pytest.approx(at_first[case.pet.pk] + 10.0)
    kept = post(
        api, f"/api/cases/{case.case.pk}/measurements/",
        {"tool": "probe", "points": [INSIDE], "layers": [sibling.pk]},
    )  # fmt: skip
    assert kept.json()["text"].startswith("PET phase 1 of 2, 0.0 s ")
    assert post(api, path, {"point": INSIDE, "layers": ["x"]}).status_code == 400


def test_a_report_lists_the_series_once(house: tuple[House, Layer]) -> None:
    case, _ = house
    prepare_report(case.run)
    rows = registrations_of(case.case.report)
    assert [row["series_instance_uid"] for row in rows] == [case.ct.key, case.pet.key]


async def test_the_stream_opens_a_sibling_when_it_is_wanted() -> None:
    case, sibling = await sync_to_async(with_sibling)()
    peer = Peer(f"/ws/cases/{case.case.pk}/slices/", case.reader)
    await peer.connect()
    await peer.say(type="open", versions=[2], window=1 << 20, layers=[case.pet.pk])
    assert await peer.hear() == {"type": "ready", "version": 2}
    assert {slot[0] for slot, *_ in await peer.frames()} == {case.pet.pk}
    await peer.say(type="layers", layers=[sibling.pk])
    slots = sorted(slot for slot, *_ in await peer.frames())
    assert slots == [(sibling.pk, 0, k) for k in range(4)]
    await peer.close()
