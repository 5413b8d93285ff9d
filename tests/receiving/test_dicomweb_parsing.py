"""Multipart bodies: what went in comes out, in whatever pieces; nonsense ends cleanly."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workstation.receiving.dicomweb.parsing import NotMultipart, boundary_of, parts

BOUNDARY = "b-0"
NEAR = [b"\r\n--b-", b"--b-0", b"\r\n--", b"\r", b"\n--b-0", b"\r\n\r\n", b"--b-0--"]
CONTENTS = st.lists(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(NEAR)), max_size=8).map(b"".join),
    min_size=1, max_size=5,
).filter(lambda found: not any(b"--b-0" in data for data in found))  # fmt: skip


class Slowly(io.BytesIO):
    """Gives what it likes, not what was asked for."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        super().__init__(data)
        self.sizes = sizes

    def read(self, size: int | None = -1, /) -> bytes:
        self.sizes.append(self.sizes.pop(0))
        return super().read(self.sizes[-1])


def body(contents: list[bytes], before: bytes = b"", after: bytes = b"") -> bytes:
    return (
        before
        + b"".join(b"--b-0\r\nContent-Type: a/b; c=d\r\n\r\n" + c + b"\r\n" for c in contents)
        + b"--b-0--"
        + after
    )


@given(
    contents=CONTENTS,
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    before=st.sampled_from([b"", b"\r\n", b"This is text.\r\n"]),
    after=st.sampled_from([b"", b"\r\n", b"\r\nmore text"]),
)
@settings(max_examples=300, deadline=None)
def test_what_goes_in_comes_out(
    contents: list[bytes], sizes: list[int], before: bytes, after: bytes
) -> None:
    stream = Slowly(body(contents, before, after), sizes)
    found = []
    for part in parts(stream, BOUNDARY):
        found.append(b"".join(part.pieces()))
        assert part.media_type == "a/b" and part.whole
    assert found == contents


@given(st.binary(max_size=300), st.integers(0, 200), CONTENTS)
@settings(max_examples=300, deadline=None)
def test_nonsense_ends(noise: bytes, cut: int, contents: list[bytes]) -> None:
    whole = body(contents)
    for data in (noise, whole[:cut], whole[:cut] + noise + whole[cut:]):
        try:
            for part in parts(io.BytesIO(data), BOUNDARY):
                assert isinstance(b"".join(part.pieces()), bytes)
        except NotMultipart as error:
            assert len(str(error)) > 20


def test_a_part_may_be_left_unread() -> None:
    found = [part.headers for part in parts(io.BytesIO(body([b"1" * 9999, b"2"])), BOUNDARY)]
    assert found == [{"content-type": "a/b; c=d"}] * 2


def test_a_cut_part_is_not_whole() -> None:
    cut = body([b"1", b"2" * 100])[:-50]
    assert [(b"".join(p.pieces())[:1], p.whole) for p in parts(io.BytesIO(cut), BOUNDARY)] == [
        (b"1", True), (b"2", False),
    ]  # fmt: skip


def test_memory_does_not_grow_with_the_body() -> None:
    stream = io.BytesIO(body([bytes(64 * 1024**2)]))
    tracemalloc.start()
    [size] = [sum(map(len, part.pieces())) for part in parts(stream, BOUNDARY)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 64 * 1024**2 and peak < 4 * 1024**2


def test_endless_headers_are_refused() -> None:
    data = b"--b-0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(20_000)) + b"\r\n"
    with pytest.raises(NotMultipart):
        list(parts(io.BytesIO(data), BOUNDARY))


@pytest.mark.parametrize("text", ["", "multipart/related", 'multipart/related; boundary=""',
                                  "multipart/related; boundary=" + "x" * 201])  # fmt: skip
def test_a_content_type_without_boundary(text: str) -> None:
    with pytest.raises(NotMultipart):
        boundary_of(text)


def test_a_quoted_boundary() -> None:
    kind, parameters, boundary = boundary_of(
        'Multipart/Related; TYPE="application/DICOM"; Boundary="a b=;c"'
    )
    assert (kind, parameters["type"], boundary) == (
        "multipart/related", "application/DICOM", "a b=;c",
    )  # fmt: skip


def test_who_leaves_a_part_in_the_middle_gets_the_next_one() -> None:
    found = [next(p.pieces()) for p in parts(io.BytesIO(body([b"1" * 999, b"2"])), BOUNDARY)]
    assert found == [b"1" * 999, b"2"]
