"""The order of the stream: coarse before fine, near before far, nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workstation.reading.pacing import MOST_WINDOW, Window
from workstation.reading.sending import Sender
from workstation.reading.stream import HEADER, Order, Slot, StreamLayer, pack_header, slots_of

VECTORS = Path(__file__).parent / "vectors" / "frames.json"


def layer(number: int, slices: int, *, spacing: float = 2.0, coarse: int = 0) -> StreamLayer:
    affine = np.diag([1.0, 1.0, spacing, 1.0])
    if coarse:
        return StreamLayer(number, (slices, -(-slices // coarse)), affine, (8, 8), (1, coarse))
    return StreamLayer(number, (slices,), affine, (8, 8), (1,))


def drain(order: Order) -> list[Slot]:
    taken = []
    while (slot := order.take()) is not None:
        taken.append(slot)
    return taken


def test_coarsest_level_of_every_layer_first_then_middle_out() -> None:
    order = Order([layer(1, 8, coarse=4), layer(2, 4, spacing=4.0)])
    order.focus(1, 5)
    taken = drain(order)
    assert taken[:2] == [(1, 1, 1), (1, 1, 0)]
    fine = [slot for slot in taken[2:] if slot[0] == 1]
    assert [k for _, _, k in fine] == [5, 4, 6, 3, 7, 2, 1, 0]


def test_layers_are_interleaved_by_distance_in_millimetres() -> None:
    order = Order([layer(1, 9, spacing=1.0), layer(2, 3, spacing=4.0)])
    order.focus(1, 4)
    positions = [k * (1.0 if number == 1 else 4.0) for number, _, k in drain(order)]
    distances = [abs(p - 4.0) for p in positions]
    assert distances == sorted(distances)


def test_focus_changes_what_comes_next() -> None:
    order = Order([layer(1, 100)])
    order.focus(1, 10)
    assert order.take() == (1, 0, 10)
    order.focus(1, 90)
    assert order.take() == (1, 0, 90)


def test_a_resumed_stream_sends_only_what_is_missing() -> None:
    one = layer(1, 10)
    held = slots_of({"1": {"0": [[0, 3], [6, 7]]}}, [one])
    assert sorted(k for _, _, k in drain(Order([one], held))) == [4, 5, 8, 9]


def test_unwanted_layers_wait_until_they_are_wanted() -> None:
    order = Order([layer(1, 2), layer(2, 2)])
    order.want([2, 77])
    assert {number for number, _, _ in drain(order)} == {2}
    order.want([1, 2])
    assert {number for number, _, _ in drain(order)} == {1}


@pytest.mark.parametrize("bad", [[[3, 1]], [[-1, 2]], [[0, 1]] * 5_001])
def test_impossible_holdings_are_refused(bad: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="range"):
        slots_of({"1": {"0": bad}}, [layer(1, 10)])


def test_holdings_of_what_does_not_exist_cost_nothing() -> None:
    have = {"1": {"0": [[8, 10**12]], "9": [[0, 10**12]]}, "77": {"0": [[0, 10**12]]}}
    assert slots_of(have, [layer(1, 10)]) == {(1, 0, 8), (1, 0, 9)}


def test_a_layer_that_comes_later_is_streamed_and_one_that_breaks_is_dropped() -> None:
    order = Order([layer(1, 2)])
    order.add([layer(2, 2)])
    assert {number for number, _, _ in drain(order)} == {1}
    order.want([1, 2])
    assert {number for number, _, _ in [order.take()]} == {2}
    order.drop(2)
    assert order.take() is None


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    moves=st.lists(st.tuples(st.integers(0, 5), st.integers(-5, 40)), max_size=10),
)
def test_everything_is_sent_exactly_once_however_the_reader_scrolls(
    sizes: list[int], moves: list[tuple[int, int]]
) -> None:
    layers = [layer(n, size, coarse=2 if n % 2 else 0) for n, size in enumerate(sizes)]
    order = Order(layers)
    taken: list[Slot] = []
    for number, k in moves:
        order.focus(number, k)
        slot = order.take()
        if slot is not None:
            taken.append(slot)
    taken += drain(order)
    expected = {
        (one.id, level, k)
        for one in layers
        for level in range(len(one.slices))
        for k in range(one.slices[level])
    }
    assert len(taken) == len(set(taken))
    assert set(taken) == expected


def test_on_a_slow_line_levels_in_between_reach_further_than_the_next_finer() -> None:
    one = StreamLayer(1, (32, 16, 8), np.eye(4), (8, 8), (1, 2, 4))
    order = Order([one])
    order.focus(1, 0)
    assert {level for _, level, _ in drain(order)} == {0, 2}
    order = Order([one])
    order.focus(1, 0)
    order.line(250_000)
    taken = drain(order)
    assert [level for _, level, _ in taken[:8]] == [2] * 8
    fine = [slot for slot in taken[8:] if slot[1] == 0]
    middle = [slot for slot in taken[8:] if slot[1] == 1]
    assert len(fine) == 32
    assert len(middle) == 16
    reached = taken.index((1, 0, 4))
    sent_before = [k for _, level, k in taken[:reached] if level == 1]
    assert max(sent_before) * 2 >= 4 * 4 - 2


def test_a_line_that_turns_slow_or_fast_changes_what_is_left_only() -> None:
    one = StreamLayer(1, (32, 16, 8), np.eye(4), (8, 8), (1, 2, 4))
    order = Order([one])
    order.focus(1, 0)
    taken = [order.take() for _ in range(8 + 6)]
    order.line(100_000)
    rest = drain(order)
    middle = [k for _, level, k in rest if level == 1]
    # Slices 0 to 5 were sent in full: levels in between are for the others.
    assert middle == list(range(3, 16))
    order.line(50_000_000)
    assert len(set(taken) | set(rest)) == len(taken) + len(rest)


def test_what_is_covered_by_finer_slices_is_not_sent_coarse_after_a_drop() -> None:
    one = layer(1, 8, coarse=4)
    held = slots_of({"1": {"0": [[0, 3]]}}, [one])
    assert drain(Order([one], held))[0] == (1, 1, 1)
    assert (1, 1, 0) not in drain(Order([one], held))


def test_what_is_no_longer_held_is_sent_again_and_damaged_is_left_out() -> None:
    order = Order([layer(1, 4)])
    drain(order)
    order.again([(1, 0, 2), (1, 0, 3)])
    assert order.peek() == (1, 0, 2)
    order.leave_out((1, 0, 2))
    assert drain(order) == [(1, 0, 3)]


@given(
    window=st.integers(1, 400),
    frames=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    data=st.data(),
)
def test_window_and_acknowledgements_never_wait_for_each_other(
    window: int, frames: list[int], data: st.DataObject
) -> None:
    """The client acknowledges once a quarter of the window is due; the server always gets on, and
    at most the window or one frame and a quarter is on its way."""
    line = Window(window)
    for size in frames:
        arrived = data.draw(st.integers(line.received, line.sent))
        if (arrived - line.received) * 4 >= window:
            line.acknowledge(arrived)
        if not line.has_room(size):
            # All that was sent arrives sooner or later, and is acknowledged if it is a quarter.
            assert (line.sent - line.received) * 4 >= window
            line.acknowledge(line.sent)
        assert line.has_room(size)
        line.sent += size
        assert line.under_way <= max(window, window // 4 + size)


def test_acknowledgements_that_cannot_be_are_refused() -> None:
    line = Window(100)
    line.sent = 50
    line.acknowledge(40)
    for wrong in (39, 51):
        with pytest.raises(ValueError, match="received"):
            line.acknowledge(wrong)
    for wrong in (0, MOST_WINDOW + 1):
        with pytest.raises(ValueError, match="window"):
            line.resize(wrong)


def test_headers_match_the_vectors_shared_with_the_browser() -> None:
    cases = json.loads(VECTORS.read_text())
    assert cases
    for case in cases:
        fields, payload = case["fields"], bytes.fromhex(case["payload"])
        header = pack_header(
            codec=fields["codec"],
            layer=fields["layer"],
            level=fields["level"],
            index=fields["slice"],
            sequence=fields["sequence"],
            size=len(payload),
            checksum=zlib.crc32(payload),
        )
        assert fields["checksum"] == zlib.crc32(payload)
        assert header.hex() == case["header"]
    assert HEADER.size == 32


def test_levels_finer_than_the_client_has_room_for_are_left_out() -> None:
    layer = StreamLayer(1, (8, 8, 4), np.eye(4), (64, 64), (1, 1, 2))
    for rate, levels in ((0, {1, 2}), (100_000, {1, 2})):
        order = Order([layer])
        order.want([1], {1: 1})
        order.line(rate)
        taken = list(iter(order.take, None))
        assert {level for _, level, _ in taken} == levels
        assert sorted(k for _, level, k in taken if level == 1) == list(range(8))
    # Room again: the rest comes.
    order.want([1])
    order.line(0)
    assert {level for _, level, _ in iter(order.take, None)} == {0}


def test_what_changed_while_access_was_being_proved_is_what_is_sent() -> None:
    """A frame for one slice must never be counted as another one."""
    order = Order([layer(1, 9)])
    order.focus(1, 0)
    sent: list[int] = []

    class Asked:
        fresh = False

        async def proved(self) -> bool:
            order.focus(1, 8)
            self.fresh = True
            return True

    class Cached:
        codec = 1

        def span(self, level: int, k: int) -> tuple[int, int]:
            return 0, 4

        def checksum(self, level: int, k: int) -> int:
            return 0

        def read_cached(self, level: int, k: int, into: memoryview) -> bool:
            return True

    async def write(message: dict[str, Any]) -> None:
        sent.append(HEADER.unpack(message["bytes"][: HEADER.size])[6])

    async def tell(kind: str, **fields: Any) -> None:
        raise asyncio.CancelledError

    volumes: Any = {1: Cached()}
    asked: Any = Asked()
    sender = Sender(order, Window(2**20), volumes, asked, write, tell)
    with suppress(asyncio.CancelledError):
        asyncio.run(sender.run())
    assert sent == [8, 7, 6, 5, 4, 3, 2, 1, 0]
