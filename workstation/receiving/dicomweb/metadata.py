"""WADO-RS metadata: the whole header of an instance as DICOM JSON, large values linked."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import pydicom
from django.core.serializers.json import DjangoJSONEncoder
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from workstation.receiving.dicomweb.delivering import correct, file_of, is_moved
from workstation.receiving.dicomweb.encoding import Json, Link, element, encode
from workstation.receiving.models import Instance
from workstation.receiving.structure import PIXEL_TAGS

JSON = DjangoJSONEncoder(ensure_ascii=False, separators=(",", ":"))
AVAILABLE_TRANSFER_SYNTAX = "00083002"


def header_of(instance: Instance) -> tuple[Dataset, Json]:
    """The header as delivered, and the pixel element as an empty JSON element (tag -> VR).

    Raises :class:`BytesMissing`.
    """
    with file_of(instance) as file:
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            dataset = pydicom.dcmread(file)
            pixels = {f"{tag:08X}": {"vr": "OW"} for tag in PIXEL_TAGS if tag in dataset}
            for tag in PIXEL_TAGS:
                dataset.pop(tag, None)
        else:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            pixels = _pixel_element(file, instance.transfer_syntax_uid)
    if is_moved(instance.series.study):
        correct(dataset, instance.series.study)
    return dataset, pixels


def _pixel_element(file: BinaryIO, transfer_syntax: str) -> Json:
    """The element at which reading stopped."""
    head = file.read(6)
    if len(head) < 6:
        return {}
    order = ">" if transfer_syntax == ExplicitVRBigEndian else "<"
    tag: BaseTag = Tag(*struct.unpack(order + "HH", head[:4]))
    if tag not in PIXEL_TAGS:
        return {}
    vr = "OW" if transfer_syntax == ImplicitVRLittleEndian else head[4:6].decode("latin1")
    return {f"{tag:08X}": {"vr": vr}}


def metadata(instance: Instance, url: str) -> Json:
    """One instance as DICOM JSON; ``url`` is the instance's. Raises :class:`BytesMissing`."""
    dataset, pixels = header_of(instance)
    link: Link = f"{url}/bulkdata/{{}}".format
    big = instance.transfer_syntax_uid == ExplicitVRBigEndian
    found = encode(dataset, link, big_endian=big)
    for tag, value in pixels.items():
        found[tag] = {**value, "BulkDataURI": link(tag)}
    found[AVAILABLE_TRANSFER_SYNTAX] = element("UI", instance.transfer_syntax_uid)
    return dict(sorted(found.items()))


def as_array(items: Iterable[Json]) -> Iterator[bytes]:
    """A JSON array, written item by item."""
    before = "["
    for item in items:
        yield (before + JSON.encode(item)).encode()
        before = ","
    yield b"]" if before == "," else b"[]"
