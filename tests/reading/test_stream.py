"""The slice socket from the outside: who gets in, what comes, in which order, how much."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.db import OperationalError

from tests.analyzing.results import ramp, stored
from tests.factories import LayerFactory, UserFactory
from tests.reading.house import House, as_json, build
from workstation.accounts import access
from workstation.accounts.models import AuditRecord, Role
from workstation.analyzing.requests import run_folder
from workstation.reading import open_volumes
from workstation.reading.consumers import SliceConsumer
from workstation.reading.stream import HEADER, MAGIC, VERSION
from workstation.reading.stream_case import StreamedCase
from workstation.sockets import websocket_urlpatterns
from workstation.worklist import consumers as live

pytestmark = pytest.mark.django_db(transaction=True)
router = URLRouter(websocket_urlpatterns)


class Peer:
    """A browser's end of the socket. (channels.testing would need daphne.)"""

    def __init__(self, path: str, user: Any) -> None:
        session = SimpleNamespace(session_key="none")
        scope = {
            "type": "websocket", "path": path, "user": user, "client": ("10.0.0.7", 1),
            "session": session,
        }  # fmt: skip
        self.socket = ApplicationCommunicator(router, scope)
        self.bytes = 0

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
        magic, version, codec, layer, level, reserved, index, size, sequence, check, own = (
            HEADER.unpack(data[: HEADER.size])
        )
        assert (magic, version, reserved) == (MAGIC, VERSION, 0)
        payload = data[HEADER.size :]
        assert len(payload) == size
        assert zlib.crc32(payload) == check
        assert zlib.crc32(data[: HEADER.size - 4]) == own
        self.bytes += len(data)
        return (layer, level, index), codec, sequence, payload

    async def frames(self) -> list[Any]:
        """Everything until ``done``."""
        found = []
        while True:
            message = await self.hear()
            if isinstance(message, dict) and message["type"] == "done":
                return found
            assert isinstance(message, tuple), message
            found.append(message)

    async def silent(self) -> bool:
        return bool(await self.socket.receive_nothing(timeout=0.3))

    async def close(self) -> None:
        if not self.socket.future.done():
            await self.socket.send_input({"type": "websocket.disconnect", "code": 1000})
            await self.socket.wait(timeout=10)


@pytest.fixture(autouse=True)
def _access_is_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "verdicts", lambda grants: dict.fromkeys(grants, 0))


@pytest.fixture
async def house() -> House:
    return await sync_to_async(build)()


Open = Callable[..., Awaitable[Peer]]


@pytest.fixture
async def opened(house: House) -> Any:
    """A connected reader; ``opened(layers=[...], window=...)`` has sent ``open``. Access of these
    peers, who have no session, is not what these tests look at (``test_stream_access.py``)."""
    peers: list[Peer] = []

    async def make(**message: Any) -> Peer:
        peer = Peer(f"/ws/cases/{house.case.pk}/slices/", house.reader)
        peers.append(peer)
        await peer.connect()
        await peer.say(**{"type": "open", "versions": [2], "window": 2**20, **message})
        assert await peer.hear() == {"type": "ready", "version": 2}
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


async def test_never_more_than_the_window_is_on_its_way(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], window=1)
    assert isinstance(await peer.hear(), tuple)
    assert await peer.silent()
    await peer.say(type="credit", received=peer.bytes, window=1)
    assert isinstance(await peer.hear(), tuple)
    assert await peer.silent()
    await peer.say(type="credit", received=peer.bytes, window=2**20)
    assert len(await peer.frames()) == 6 - 2


async def test_scrolling_moves_what_comes_next(house: House, opened: Open) -> None:
    focus = {"layer": house.heatmap.pk, "slice": 0}
    peer = await opened(layers=[house.heatmap.pk], window=1, focus=focus)
    assert (await peer.hear())[0] == (house.heatmap.pk, 0, 0)
    await peer.say(type="focus", layer=house.heatmap.pk, slice=3)
    await peer.say(type="credit", received=peer.bytes, window=2**20)
    assert [slot[2] for slot, *_ in await peer.frames()] == [3, 2, 1]


async def test_a_dropped_socket_resumes_where_it_was(house: House, opened: Open) -> None:
    first = await opened(layers=[house.ct.pk], window=1)
    held = []
    for _ in range(3):
        held.append((await first.hear())[0])
        await first.say(type="credit", received=first.bytes, window=1)
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
        '{"type": "credit", "received": 0, "window": 0}',
        '{"type": "credit", "received": 0, "window": 100000000}',
        '{"type": "credit", "received": -1, "window": 10}',
        '{"type": "credit", "received": 100000, "window": 10}',
        '{"type": "credit", "received": "many", "window": 10}',
        '{"type": "credit", "received": 0, "window": 1, "rate": "fast"}',
        '{"type": "focus", "layer": 1}', '{"type": "again", "slices": {"1": {"0": [[2, 1]]}}}',
        '{"type": "again", "slices": [1]}',
        '{"type": "focus", "layer": Infinity, "slice": 0}', '{"type": "layers", "layers": 7}',
        '{"type": "open", "versions": [2], "window": 1, "layers": []}',
    ],
)  # fmt: skip
async def test_bad_messages_are_answered_and_the_stream_goes_on(
    house: House, opened: Open, text: str
) -> None:
    peer = await opened(layers=[house.ct.pk], window=1)
    await peer.hear()
    await peer.raw(text)
    answer = await peer.hear()
    assert (answer["type"], answer["code"]) == ("error", "bad_message")
    await peer.say(type="credit", received=peer.bytes, window=2**20)
    assert len(await peer.frames()) == 5


async def test_nothing_is_sent_before_open(house: House) -> None:
    peer = Peer(f"/ws/cases/{house.case.pk}/slices/", house.reader)
    await peer.connect()
    await peer.say(type="credit", received=0, window=5)
    assert (await peer.hear())["detail"] == "send open first"
    assert await peer.silent()
    await peer.close()


@pytest.mark.parametrize("offer", [{"version": 1, "credit": 32}, {"versions": [1, 3]}])
async def test_without_a_common_version_the_page_is_told_and_closed(
    house: House, offer: dict[str, Any]
) -> None:
    peer = Peer(f"/ws/cases/{house.case.pk}/slices/", house.reader)
    await peer.connect()
    await peer.say(type="open", layers=[house.ct.pk], window=100, **offer)
    answer = await peer.hear()
    assert (answer["code"], answer["versions"]) == ("version", [2])
    assert (await peer.output())["code"] == 4406
    await peer.close()


async def test_the_highest_common_version_is_taken(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], versions=[1, 2, 3])
    assert len(await peer.frames()) == 6


async def test_cancel_stops_at_once_and_layers_goes_on(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], window=1)
    first = await peer.hear()
    await peer.say(type="cancel")
    assert await peer.hear() == {"type": "cancelled", "frames": 1}
    await peer.say(type="credit", received=peer.bytes, window=2**20)
    assert await peer.silent()
    await peer.say(type="layers", layers=[house.ct.pk])
    rest = [slot for slot, *_ in await peer.frames()]
    assert len(rest) == 5
    assert first[0] not in rest


async def test_what_came_damaged_or_was_given_back_is_sent_again(
    house: House, opened: Open
) -> None:
    peer = await opened(layers=[house.ct.pk])
    before = {slot: payload for slot, _, _, payload in await peer.frames()}
    wrong = {str(house.ct.pk): {"0": [[1, 2]]}}
    for damaged in (True, False):
        await peer.say(type="again", slices=wrong, damaged=damaged)
        again = {slot: payload for slot, _, _, payload in await peer.frames()}
        assert set(again) == {(house.ct.pk, 0, 1), (house.ct.pk, 0, 2)}
        assert all(before[slot] == payload for slot, payload in again.items())


async def test_a_slice_damaged_on_the_disk_is_said_so_and_never_sent_as_good(
    house: House, opened: Open
) -> None:
    offsets = house.ct.record["levels"][0]["offsets"]
    path = run_folder(house.run) / house.ct.record["path"]
    data = bytearray(path.read_bytes())
    data[offsets[2] + 5] ^= 0x40
    path.write_bytes(bytes(data))
    peer = await opened(layers=[house.ct.pk], window=2**20)
    bad = []
    while (message := await peer.output())["type"] == "websocket.send" and message.get("bytes"):
        frame = HEADER.unpack(message["bytes"][: HEADER.size])
        if zlib.crc32(message["bytes"][HEADER.size :]) != frame[9]:
            bad.append((frame[3], frame[4], frame[6]))
    assert bad == [(house.ct.pk, 0, 2)]
    await peer.say(type="again", slices={str(house.ct.pk): {"0": [[2, 2]]}}, damaged=True)
    answer = await peer.hear()
    assert answer["code"] == "damaged"
    assert (answer["layer"], answer["level"], answer["slice"]) == bad[0]
    assert (await peer.hear())["type"] == "done"


async def test_volumes_without_checksums_are_sent_with_computed_ones(
    house: House, opened: Open
) -> None:
    def without() -> None:
        for level in house.ct.record["levels"]:
            del level["checksums"]
        house.ct.save()

    await sync_to_async(without)()
    assert len(await (await opened(layers=[house.ct.pk])).frames()) == 6


async def test_a_missing_file_is_said(house: House, opened: Open) -> None:
    (run_folder(house.run) / house.pet.record["path"]).unlink()
    peer = await opened(layers=[house.ct.pk, house.pet.pk])
    told = await peer.hear()
    assert (told["code"], told["layer"]) == ("unreadable", house.pet.pk)
    assert len(await peer.frames()) == 6


async def test_a_damaged_file_loses_its_layer_and_no_other(house: House, opened: Open) -> None:
    path = run_folder(house.run) / house.pet.record["path"]
    path.write_bytes(path.read_bytes()[:40])
    peer = await opened(layers=[house.ct.pk, house.pet.pk])
    got, errors = [], []
    while True:
        message = await peer.hear()
        if isinstance(message, dict) and message["type"] == "done":
            break
        (got if isinstance(message, tuple) else errors).append(message)
    assert [error["code"] for error in errors] == ["unreadable"]
    assert sum(slot[0] == house.ct.pk for slot, *_ in got) == 6


async def test_the_stream_needs_no_channel_layer(house: House, opened: Open, settings: Any) -> None:
    assert SliceConsumer.channel_layer_alias is None
    settings.CHANNEL_LAYERS = {}
    peer = await opened(layers=[house.ct.pk])
    assert len(await peer.frames()) == 6


async def test_files_are_closed_with_the_socket(house: House, opened: Open) -> None:
    peer = await opened(layers=[house.ct.pk], window=1)
    await peer.hear()
    folder = f"/proc/{os.getpid()}/fd"

    def open_volumes() -> int:
        return sum(str(path.resolve()).endswith(".rfv") for path in Path(folder).iterdir())

    assert open_volumes() == 4
    # Every reader of the case shares them.
    other = await opened(layers=[house.ct.pk], window=1)
    assert open_volumes() == 4
    await peer.close()
    assert len((await other.hear())[3]) > 0
    await other.close()
    assert open_volumes() == 0


async def test_a_socket_that_breaks_leaves_nothing_behind(
    house: House, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No disconnect follows an error: here a database that went away."""
    peer = await opened(layers=[house.ct.pk], window=1)
    watched = access._watch().grants
    assert len(watched) == 1

    def away(*_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(StreamedCase, "open", away)
    await peer.say(type="layers", layers=[10**6])
    with pytest.raises(OperationalError):
        await peer.socket.wait(timeout=10)
    assert not watched
    assert not open_volumes._open


async def test_so_does_a_live_socket_that_breaks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(live, "missed", away)
    peer = Peer("/ws/live/", house.reader)
    await peer.connect()
    await peer.say(since=0)
    with pytest.raises(OperationalError):
        await peer.socket.wait(timeout=10)
    assert not access._watch().grants
