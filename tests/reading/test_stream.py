"""The slice socket from the outside: who gets in, what comes, in which order, how much."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser

from tests.analyzing.results import ramp, stored
from tests.factories import LayerFactory, UserFactory
from tests.reading.house import House, as_json, build
from workstation.accounts.models import AuditRecord, Role
from workstation.analyzing.requests import run_folder
from workstation.reading.consumers import SliceConsumer
from workstation.reading.stream import HEADER, MAGIC, VERSION
from workstation.sockets import websocket_urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)
router = URLRouter(websocket_urlpatterns)


class Peer:
    """A browser's end of the socket. (channels.testing would need daphne.)"""

    def __init__(self, path: str, user: Any) -> None:
        scope = {"type": "websocket", "path": path, "user": user, "client": ("10.0.0.7", 1)}
        self.socket = ApplicationCommunicator(router, scope)

    async def connect(self) -> None:
        await self.socket.send_input({"type": "websocket.connect"})
        assert (await self.output())["type"] == "websocket.accept"

    async def output(self) -> dict[str, Any]:
        return dict(await self.socket.receive_output(timeout=10))

    async def say(self, **message: Any) -> None:
        await self.raw(json.dumps(message))

    async def raw(self, text: str) -> None:
        await self.socket.send_input({"type": "websocket.receive", "text": text})

    async def hear(self) -> Any:
        """The next message: a dict, or (slot, codec, sequence, payload) of a frame."""
        message = await self.output()
        assert message["type"] == "websocket.send", message
        if message.get("text") is not None:
            return json.loads(message["text"])
        data = message["bytes"]
        magic, version, codec, layer, level, reserved, index, size, sequence = HEADER.unpack(
            data[: HEADER.size]
        )
        assert (magic, version, reserved) == (MAGIC, VERSION, 0)
        payload = data[HEADER.size :]
        assert len(payload) == size
        return (layer, level, index), codec, sequence, payload

    async def frames(self) -> list[Any]:
        """Everything until ``done``."""
        found = []
        while True:
            message = await self.hear()
            if message == {"type": "done"}:
                return found
            assert isinstance(message, tuple), message
            found.append(message)

    async def silent(self) -> bool:
        return bool(await self.socket.receive_nothing(timeout=0.3))

    async def close(self) -> None:
        if not self.socket.future.done():
            await self.socket.send_input({"type": "websocket.disconnect", "code": 1000})
            await self.socket.wait(timeout=10)


@pytest.fixture
async def house() -> House:
    return await sync_to_async(build)()


Open = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def opened(house: House) -> Any:
    """A connected reader; ``opened(layers=[...], credit=...)`` has sent ``open``."""
    peers: list[Peer] = []

    async def make(**message: Any) -> Peer:
        peer = Peer(f"/ws/cases/{house.case.pk}/slices/", house.reader)
        peers.append(peer)
        await peer.connect()
        await peer.say(**{"type": "open", "version": 1, "credit": 512, **message})
        assert await peer.hear() == {"type": "ready", "version": 1}
        return peer

    yield make
    for peer in peers:
        await peer.close()


async def code_for(user: Any, case_id: int) -> int:
    peer = Peer(f"/ws/cases/{case_id}/slices/", user)
    await peer.connect()
    message = await peer.output()
    assert message["type"] == "websocket.close"
    await peer.close()
    return int(message["code"])


async def test_who_may_not_see_the_case_is_told_by_code(house: House) -> None:
    make = sync_to_async(lambda role, sites: UserFactory(role=role, sites=sites()))
    admin = await make(Role.ADMINISTRATOR, lambda: [house.case.site])
    stranger = await make(Role.RADIOLOGIST, list)
    assert await code_for(AnonymousUser(), house.case.pk) == 4401
    assert await code_for(admin, house.case.pk) == 4403
    assert await code_for(stranger, house.case.pk) == 4404
    assert await code_for(house.reader, 10**6) == 4404


async def test_every_slice_comes_once_with_the_bytes_of_the_file(
    house: House, opened: Open
) -> None:
    ids = [house.ct.pk, house.pet.pk, house.heatmap.pk]
    peer = await opened(layers=ids, focus={"layer": house.ct.pk, "slice": 1})
    frames = await peer.frames()
    slots = [slot for slot, *_ in frames]
    assert len(slots) == len(set(slots)) == 2 * (4 + 2) + 4
    assert [sequence for _, _, sequence, _ in frames] == list(range(len(frames)))
    # The coarse level of the reference first, nearest slice first.
    assert slots[0][:2] == (house.ct.pk, 1)
    coarse = [slot for slot in slots if slot[1] == 1]
    assert slots[: len(coarse)] == coarse
    for (number, level, index), codec, _, payload in frames:
        layer = next(one for one in (house.ct, house.pet, house.heatmap) if one.pk == number)
        data = (run_folder(house.run) / layer.record["path"]).read_bytes()
        offsets = layer.record["levels"][level]["offsets"]
        assert payload == data[offsets[index] : offsets[index + 1]]
        assert codec == (2 if layer.pk == house.heatmap.pk else 1)
    row = await AuditRecord.objects.aget(action="view")
    assert (row.detail, row.remote_address) == ({"what": "stream"}, "10.0.0.7")


async def test_never_more_than_was_granted(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], credit=2)
    for _ in range(2):
        assert isinstance(await peer.hear(), tuple)
    assert await peer.silent()
    await peer.say(type="credit", frames=1)
    assert isinstance(await peer.hear(), tuple)
    assert await peer.silent()
    await peer.say(type="credit", frames=100)
    assert len(await peer.frames()) == 6 - 3


async def test_scrolling_moves_what_comes_next(house: House, opened: Open) -> None:
    focus = {"layer": house.heatmap.pk, "slice": 0}
    peer = await opened(layers=[house.heatmap.pk], credit=1, focus=focus)
    assert (await peer.hear())[0] == (house.heatmap.pk, 0, 0)
    await peer.say(type="focus", layer=house.heatmap.pk, slice=3)
    await peer.say(type="credit", frames=10)
    assert [slot[2] for slot, *_ in await peer.frames()] == [3, 2, 1]


async def test_a_dropped_socket_resumes_where_it_was(house: House, opened: Open) -> None:
    first = await opened(layers=[house.ct.pk], credit=3)
    held = [(await first.hear())[0] for _ in range(3)]
    await first.close()
    have: dict[str, dict[str, list[list[int]]]] = {str(house.ct.pk): {}}
    for _, level, index in held:
        have[str(house.ct.pk)].setdefault(str(level), []).append([index, index])
    again = await opened(layers=[house.ct.pk], have=have)
    rest = [slot for slot, *_ in await again.frames()]
    assert not set(rest) & set(held)
    assert len(rest) + len(held) == 6


async def test_more_layers_may_be_wanted_later_even_ones_made_meanwhile(
    house: House, opened: Open
) -> None:
    peer = await opened(layers=[house.ct.pk])
    await peer.frames()

    def make() -> int:
        record = stored(run_folder(house.run), "late", ramp(), path="late.rfv")
        layer = LayerFactory(
            run=house.run, series=None, kind="heatmap", key="late", record=as_json(record)
        )
        return int(layer.pk)

    late = await sync_to_async(make)()
    await peer.say(type="layers", layers=[house.ct.pk, late])
    assert {slot[0] for slot, *_ in await peer.frames()} == {late}


@pytest.mark.parametrize(
    "text",
    [
        "not json", "[]", "{}", '{"type": "dance"}', '{"type": "credit"}',
        '{"type": "credit", "frames": 0}', '{"type": "credit", "frames": 10000}',
        '{"type": "credit", "frames": "many"}', '{"type": "focus", "layer": 1}',
        '{"type": "focus", "layer": Infinity, "slice": 0}', '{"type": "layers", "layers": 7}',
        '{"type": "open", "version": 2, "credit": 1, "layers": []}',
    ],
)  # fmt: skip
async def test_bad_messages_are_answered_and_the_stream_goes_on(
    house: House, opened: Open, text: str
) -> None:
    peer = await opened(layers=[house.ct.pk], credit=1)
    await peer.hear()
    await peer.raw(text)
    answer = await peer.hear()
    assert (answer["type"], answer["code"]) == ("error", "bad_message")
    await peer.say(type="credit", frames=100)
    assert len(await peer.frames()) == 5


async def test_nothing_is_sent_before_open(house: House) -> None:
    peer = Peer(f"/ws/cases/{house.case.pk}/slices/", house.reader)
    await peer.connect()
    await peer.say(type="credit", frames=5)
    assert (await peer.hear())["detail"] == "send open first"
    assert await peer.silent()
    await peer.close()


async def test_a_damaged_file_loses_its_layer_and_no_other(house: House, opened: Open) -> None:
    path = run_folder(house.run) / house.pet.record["path"]
    path.write_bytes(path.read_bytes()[:40])
    peer = await opened(layers=[house.ct.pk, house.pet.pk])
    got, errors = [], []
    while True:
        message = await peer.hear()
        if message == {"type": "done"}:
            break
        (got if isinstance(message, tuple) else errors).append(message)
    assert [error["code"] for error in errors] == ["unreadable"]
    assert sum(slot[0] == house.ct.pk for slot, *_ in got) == 6


async def test_the_stream_needs_no_channel_layer(
    house: House, opened: Open, settings: Any
) -> None:
    assert SliceConsumer.channel_layer_alias is None
    settings.CHANNEL_LAYERS = {}
    peer = await opened(layers=[house.ct.pk])
    assert len(await peer.frames()) == 6


async def test_files_are_closed_with_the_socket(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], credit=1)
    await peer.hear()
    folder = f"/proc/{os.getpid()}/fd"

    def open_volumes() -> int:
        return sum(str(path.resolve()).endswith(".rfv") for path in Path(folder).iterdir())

    assert open_volumes() == 4
    await peer.close()
    assert open_volumes() == 0
