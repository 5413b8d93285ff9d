"""WADO-RS: how the request's media types become instances, frames, bulk data and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.http import HttpResponseBase
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from rest_framework.request import Request

from workstation.receiving.dicomweb import rendering
from workstation.receiving.dicomweb.accepting import STORED, Range, ranges, refused
from workstation.receiving.dicomweb.answering import PartContent, multipart, streamed
from workstation.receiving.dicomweb.delivering import delivered
from workstation.receiving.dicomweb.encoding import BINARY, little_endian, vr_of
from workstation.receiving.dicomweb.frames import (
    MEDIA_TYPES,
    OCTETS,
    NoFrames,
    NotDecodable,
    frames_of,
)
from workstation.receiving.dicomweb.metadata import header_of
from workstation.receiving.headers import UNREADABLE
from workstation.receiving.models import Instance
from workstation.receiving.structure import PIXEL_TAGS

DICOM = "application/dicom"
LITTLE = str(ExplicitVRLittleEndian)
MOST_FRAMES_ASKED = 10_000


# --- instances --------------------------------------------------------------------------------


def instances(request: Request, found: list[Instance]) -> HttpResponseBase:
    """Part 10 files: multipart, or one plain body where one instance is asked for so.

    Without a transfer syntax the client means Explicit VR Little Endian (PS3.18 8.7.3.5.2);
    ``*`` means as stored.
    """
    for wanted in ranges(request):
        if not wanted.takes(DICOM):
            continue
        syntax = wanted.transfer_syntax or LITTLE
        stored = {instance.transfer_syntax_uid for instance in found}
        if syntax not in (STORED, LITTLE) and stored != {syntax}:
            continue
        if syntax not in (STORED, LITTLE):
            syntax = STORED
        if not wanted.multipart and not wanted.anything:
            if len(found) > 1:
                continue
            told, pieces = delivered(found[0], syntax)
            return streamed(request, pieces, f"{DICOM}; transfer-syntax={told}")
        return multipart(request, _files(found, syntax), DICOM)
    raise refused(
        [f'multipart/related; type="{DICOM}"; transfer-syntax={one}' for one in (STORED, LITTLE)]
    )


def _files(found: list[Instance], syntax: str) -> Iterator[PartContent]:
    for instance in found:
        told, pieces = delivered(instance, syntax)
        yield f"{DICOM}; transfer-syntax={told}", pieces


# --- frames -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Form:
    """How frames leave."""

    media_type: str
    transfer_syntax: str
    decode: bool
    multipart: bool


def numbers_from(text: str) -> list[int]:
    """``1,2,3`` of a path. Raises :class:`NoFrames`."""
    parts = text.split(",")
    if len(parts) > MOST_FRAMES_ASKED or not all(
        part.isascii() and part.isdigit() and len(part) < 10 for part in parts
    ):
        raise NoFrames("Frames are whole numbers from 1, separated by commas.")
    return [int(part) for part in parts]


def frames(request: Request, instance: Instance, numbers: list[int]) -> HttpResponseBase:
    """Frames, uncompressed or as stored. Raises :class:`NoFrames`, :class:`NotDecodable`."""
    form = _form(request, instance.transfer_syntax_uid, single=len(numbers) == 1)
    content_type = f"{form.media_type}; transfer-syntax={form.transfer_syntax}"
    pieces = _frames(instance, numbers, form)
    # The first frame is made before the answer begins, so that an error can be told.
    first = next(pieces)
    if not form.multipart:
        return streamed(request, iter([first]), content_type)

    def parts() -> Iterator[PartContent]:
        yield content_type, [first]
        for piece in pieces:
            yield content_type, [piece]

    return multipart(request, parts(), form.media_type, form.transfer_syntax)


def _frames(instance: Instance, numbers: list[int], form: Form) -> Iterator[bytes]:
    with frames_of(instance) as source:
        for number in numbers:
            source.check(number)
        for number in numbers:
            yield source.decoded(number) if form.decode else source.stored(number)


def _form(request: Request, stored: str, *, single: bool) -> Form:
    """The first media range that can be served (PS3.18 8.7.3.5.2 and table 8.7.3-2)."""
    compressed = UID(stored).is_encapsulated
    plain = LITTLE
    own = MEDIA_TYPES.get(stored, (OCTETS,))
    for wanted in ranges(request):
        is_multipart = wanted.multipart or wanted.anything
        if not is_multipart and not single:
            continue
        form = _form_of(wanted, stored, own, plain, is_multipart, compressed=compressed)
        if form is not None:
            return form
    offers = [OCTETS] + ([f"{own[0]}; transfer-syntax={stored}"] if compressed else [])
    raise refused(f'multipart/related; type="{offer}"' for offer in offers)


def _form_of(
    wanted: Range, stored: str, own: tuple[str, ...], plain: str, is_multipart: bool, *,
    compressed: bool,
) -> Form | None:  # fmt: skip
    syntax = wanted.transfer_syntax
    wants_octets = wanted.anything or wanted.media_type in (OCTETS, "application/*")
    if wants_octets and syntax in ("", plain, str(ImplicitVRLittleEndian)):
        return Form(OCTETS, plain, True, is_multipart)
    if syntax not in ("", STORED, stored):
        return None
    if not compressed:
        return Form(OCTETS, plain, True, is_multipart) if wants_octets else None
    if wanted.media_type == OCTETS:
        return Form(OCTETS, stored, False, is_multipart)
    if wanted.media_type in own:
        return Form(wanted.media_type, stored, False, is_multipart)
    if wanted.anything or (wanted.takes(own[0]) and own[0] != OCTETS):
        return Form(own[0], stored, False, is_multipart)
    return None


# --- bulk data --------------------------------------------------------------------------------


def bulkdata(request: Request, instance: Instance, path: str) -> HttpResponseBase:
    """The value of one element. Raises :class:`NoFrames` where there is none."""
    if (tag := _hexadecimal(path)) in PIXEL_TAGS:
        with frames_of(instance) as source:
            count = source.count if source.tag == tag else 0
        if not count:
            raise NoFrames("This instance has no such bulk data.")
        return frames(request, instance, list(range(1, count + 1)))
    data = _value(instance, path)
    for wanted in ranges(request):
        if wanted.takes(OCTETS) and wanted.transfer_syntax in ("", STORED, LITTLE):
            if wanted.multipart or wanted.anything:
                return multipart(request, [(OCTETS, [data])], OCTETS)
            return streamed(request, iter([data]), OCTETS)
    raise refused([f'multipart/related; type="{OCTETS}"', OCTETS])


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16) if len(text) == 8 else -1
    except ValueError:
        return -1


def _value(instance: Instance, path: str) -> bytes:
    """``TAG(.item.TAG)*``, as :mod:`metadata` issues it."""
    dataset: Dataset = header_of(instance)[0]
    *outer, last = path.split(".")
    try:
        for name, number in zip(outer[::2], outer[1::2], strict=True):
            dataset = dataset[_hexadecimal(name)].value[int(number)]
        tag = _hexadecimal(last)
        item = dataset.get_item(tag) if tag in dataset else None
        vr = vr_of(dataset, item.tag) if item is not None else ""
    except UNREADABLE:
        item = None
    if item is None or vr not in BINARY or not isinstance(item.value, bytes):
        raise NoFrames("This instance has no such bulk data.")
    order = ">" if instance.transfer_syntax_uid == ExplicitVRBigEndian else "<"
    return little_endian(item.value, vr, order)


# --- pictures ---------------------------------------------------------------------------------


def view_from(request: Request) -> tuple[rendering.View, bool]:
    """How to show it, and whether as multipart. Raises :class:`rendering.BadView`."""
    for wanted in ranges(request):
        offer = next((one for one in rendering.FORMATS if wanted.takes(one)), None)
        if offer is not None:
            break
    else:
        raise refused(rendering.FORMATS)
    given = request.GET
    view = rendering.View(
        media_type=offer,
        window=rendering.window_from(given["window"]) if "window" in given else None,
        viewport=rendering.viewport_from(given["viewport"]) if "viewport" in given else None,
        quality=(
            rendering.quality_from(given["quality"])
            if "quality" in given
            else rendering.DEFAULT_QUALITY
        ),
    )
    return view, wanted.multipart


def pictures(
    request: Request, found: list[Instance], numbers: list[int] | None = None
) -> HttpResponseBase:
    """Rendered frames: one picture plainly, several as multipart.

    ``numbers`` None: the first frame of each image.
    """
    view, is_multipart = view_from(request)
    images = [instance for instance in found if instance.is_image]
    if not images:
        raise NoFrames("There is no image here that could be shown.")
    made = _pictures(images, numbers or [1], view)
    first = next(made)
    several = len(images) > 1 or len(numbers or [1]) > 1
    if not several and not is_multipart:
        return streamed(request, iter([first]), view.media_type)
    if several and not is_multipart and not any(r.anything for r in ranges(request)):
        raise refused([f'multipart/related; type="{view.media_type}"'])

    def parts() -> Iterator[PartContent]:
        yield view.media_type, [first]
        for piece in made:
            yield view.media_type, [piece]

    return multipart(request, parts(), view.media_type)


def _pictures(images: list[Instance], numbers: list[int], view: rendering.View) -> Iterator[bytes]:
    for instance in images:
        with frames_of(instance) as source:
            for number in numbers:
                source.check(number)
            for number in numbers:
                yield rendering.picture(source, number, view)


def thumbnail(request: Request, found: list[Instance]) -> HttpResponseBase:
    """One small picture of the middle image, or of the middle frame of one image."""
    view, _ = view_from(request)
    images = [instance for instance in found if instance.is_image]
    if not images:
        raise NoFrames("There is no image here that could be shown.")
    side = rendering.THUMBNAIL_SIDE
    view = rendering.View(
        view.media_type, view.window, view.viewport or rendering.Viewport(side, side), view.quality
    )
    with frames_of(images[len(images) // 2]) as source:
        data = rendering.picture(source, (source.count + 1) // 2, view)
    return streamed(request, iter([data]), view.media_type)


__all__ = ["NoFrames", "NotDecodable", "bulkdata", "frames", "instances", "pictures", "thumbnail"]
