"""Multipart bodies as streams (RFC 2387): nothing is held but the piece that was just read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from python_multipart.multipart import parse_options_header

PIECE = 256 * 1024
LONGEST_PREAMBLE = 64 * 1024
LONGEST_HEADERS = 16 * 1024
LONGEST_PADDING = 256
FOLDED = re.compile(r"\r\n[ \t]+")
NOT_FOLLOWED = "The body does not follow its boundary: the parts cannot be told apart."
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
        self.exceeded = False
        """The body goes on behind the limit, where it was cut off."""

    def read(self, size: int, /) -> bytes:
        if self.exceeded:
            return b""
        piece = self.stream.read(size)
        if len(piece) > self.left:
            self.exceeded, piece = True, piece[: self.left]
        self.left -= len(piece)
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
    """A window on the stream. What lies between two boundaries is handed on in large pieces: a
    parser that calls back for each of its parts took as long as hashing them."""

    def __init__(self, stream: Readable, boundary: bytes) -> None:
        self.stream = stream
        self.mark = b"\r\n--" + boundary
        # The first boundary may be the first line.
        self.window = b"\r\n"
        self.at = 0
        self.ended = False
        """The last boundary was seen, or the end of the stream."""
        self.broken = False
        """The last part ends with what is no boundary."""

    def parts(self) -> Iterator[Part]:
        self._pass_preamble()
        while not self.ended:
            part = Part(self._headers(), self)
            yield part
            for _ in self.content(part):
                pass  # what the caller left of it
            if self.broken:
                raise NotMultipart(NOT_FOLLOWED)
        while self.stream.read(PIECE):
            pass

    def _more(self) -> bool:
        """Read on; False at the end of the stream."""
        piece = self.stream.read(PIECE)
        self.window = self.window[self.at :] + piece
        self.at = 0
        return bool(piece)

    def _pass_preamble(self) -> None:
        """RFC 2046 allows text before the first boundary."""
        while (found := self.window.find(self.mark)) < 0:
            if len(self.window) > LONGEST_PREAMBLE or not self._more():
                raise NotMultipart("The boundary that the Content-Type names is not in the body.")
        self.at = found + len(self.mark)
        self._pass_boundary()
        if self.broken:
            raise NotMultipart(NOT_FOLLOWED)

    def _pass_boundary(self) -> bool:
        """Go behind what follows a mark: two hyphens at the very end, or the end of its line.
        Whether that is there."""
        while (end := self.window.find(b"\r\n", self.at)) < 0:
            if self.window.startswith(b"--", self.at):
                break
            if len(self.window) - self.at > LONGEST_PADDING:
                self.broken = True
                return False
            if not self._more():
                self.ended = True
                return self.window.startswith(b"--", self.at)
        if self.window.startswith(b"--", self.at):
            self.ended = True
            return True
        self.broken = bool(self.window[self.at : end].strip(b" \t"))
        self.at = end
        return not self.broken

    def _headers(self) -> dict[str, str]:
        """From the end of the boundary's line to the empty line; none if the stream ends."""
        while (end := self.window.find(b"\r\n\r\n", self.at, self.at + LONGEST_HEADERS)) < 0:
            if len(self.window) - self.at >= LONGEST_HEADERS:
                raise NotMultipart(NOT_FOLLOWED)
            if not self._more():
                self.ended = True
                return {}
        lines = FOLDED.sub(" ", self.window[self.at + 2 : end].decode("latin1"))
        self.at = end + 4
        headers = {}
        for line in lines.split("\r\n") if lines else ():
            name, colon, value = line.partition(":")
            if not colon:
                raise NotMultipart(NOT_FOLLOWED)
            headers[name.strip().lower()] = value.strip()
        return headers

    def content(self, part: Part) -> Iterator[bytes]:
        while not (self.ended or self.broken or part.whole):
            begin, found = self.at, self.window.find(self.mark, self.at)
            if found >= 0:
                self.at = found
                if found > begin:
                    yield self.window[begin:found]
                self.at = found + len(self.mark)
                part.whole = self._pass_boundary()
                continue
            # A boundary may begin in the last bytes.
            self.at = max(len(self.window) - len(self.mark) + 1, begin)
            if self.at > begin:
                yield self.window[begin : self.at]
            if not self._more():
                self.ended = True
                if self.window:
                    yield self.window
