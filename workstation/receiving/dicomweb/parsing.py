"""Multipart bodies as streams (RFC 2387): nothing is held but the piece that was just read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

PIECE = 256 * 1024
LONGEST_PREAMBLE = 64 * 1024
LONGEST_BOUNDARY = 200
"""RFC 2046 says 70; Orthanc sends 73."""


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class NotMultipart(Exception):
    """The body is not what its Content-Type says; the text is for people."""


class Bounded:
    """A stream of at most so many bytes: a body that is sent in chunks tells no length before."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self.stream = stream
        self.left = limit

    def read(self, size: int, /) -> bytes:
        """Raises :class:`NotMultipart`."""
        piece = self.stream.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise NotMultipart("The request is larger than this server allows. Send it in parts.")
        return piece


@dataclass
class Part:
    """One part: its headers, and its content, which must be taken before the next part."""

    headers: dict[str, str]
    _reader: _Reader
    whole: bool = field(default=False)
    """Whether the boundary after this part was seen."""

    @property
    def media_type(self) -> str:
        """Lower case, without parameters; empty if the part does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def pieces(self) -> Iterator[bytes]:
        """The content. A body that was cut off ends here without complaint: see ``whole``."""
        return self._reader.content(self)


def boundary_of(content_type: str) -> tuple[str, dict[str, str], str]:
    """Media type, its parameters in lower case, and the boundary.

    Raises :class:`NotMultipart` if there is none.
    """
    kind, options = parse_options_header(content_type)
    parameters = {
        key.decode("latin1").lower(): value.decode("latin1") for key, value in options.items()
    }
    boundary = parameters.get("boundary", "")
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise NotMultipart("The Content-Type names no boundary between the parts.")
    return kind.decode("latin1").lower(), parameters, boundary


def parts(stream: Readable, boundary: str) -> Iterator[Part]:
    """The parts of a body, one after the other. Raises :class:`NotMultipart`."""
    return _Reader(stream, boundary.encode("latin1")).parts()


class _Reader:
    """Turns the push parser's callbacks into events that are pulled."""

    def __init__(self, stream: Readable, boundary: bytes) -> None:
        self.stream = stream
        self.boundary = boundary
        self.events: deque[tuple[str, bytes]] = deque()
        self.started = self.ended = False
        self.parser = MultipartParser(
            boundary,
            {
                "on_part_begin": lambda: self.events.append(("begin", b"")),
                "on_header_field": lambda data, start, end: self._add("name", data[start:end]),
                "on_header_value": lambda data, start, end: self._add("value", data[start:end]),
                "on_header_end": lambda: self.events.append(("header", b"")),
                "on_headers_finished": lambda: self.events.append(("content", b"")),
                "on_part_data": lambda data, start, end: self._add("data", data[start:end]),
                "on_part_end": lambda: self.events.append(("end", b"")),
            },
        )

    def _add(self, event: str, data: bytes) -> None:
        self.events.append((event, bytes(data)))

    def _next(self) -> tuple[str, bytes] | None:
        """The next event; None at the end of the body."""
        while not self.events:
            if self.ended:
                return None
            piece = self.stream.read(PIECE)
            self.ended = not piece
            if piece and not self.started:
                piece = self._without_preamble(piece)
                self.started = True
            try:
                self.parser.write(piece)
            except MultipartParseError:
                raise NotMultipart(
                    "The body does not follow its boundary: the parts cannot be told apart."
                ) from None
        return self.events.popleft()

    def _without_preamble(self, head: bytes) -> bytes:
        """RFC 2046 allows text before the first boundary; the parser does not."""
        mark = b"--" + self.boundary
        while (at := head.find(mark)) < 0:
            piece = self.stream.read(PIECE) if len(head) <= LONGEST_PREAMBLE else b""
            if not piece:
                raise NotMultipart("The boundary that the Content-Type names is not in the body.")
            head += piece
        return head[at:]

    def parts(self) -> Iterator[Part]:
        while (event := self._next()) is not None:
            if event[0] != "begin":
                # What the caller left of the part before.
                continue
            part = Part(self._headers(), self)
            yield part

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        name = value = b""
        while (event := self._next()) is not None and event[0] not in ("content", "end"):
            kind, data = event
            if kind == "name":
                name += data
            elif kind == "value":
                value += data
            elif kind == "header":
                headers[name.decode("latin1").strip().lower()] = value.decode("latin1").strip()
                name = value = b""
        return headers

    def content(self, part: Part) -> Iterator[bytes]:
        while (event := self._next()) is not None and event[0] != "end":
            if event[0] == "data":
                yield event[1]
        part.whole = event is not None
