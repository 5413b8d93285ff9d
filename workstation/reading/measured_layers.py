"""The layers that a measurement may ask, as lattices of stored voxels in the reference space."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workstation.analyzing.models import Layer, LayerKind, Registration
from workstation.analyzing.transforms import transform_of
from workstation.analyzing.volume_files import StoredVolume, open_layer
from workstation.reading.fusion_state import FusionStatus
from workstation.reading.measuring import FloatArray
from workstation.reading.measuring.lattices import Lattice

Statuses = list[tuple[Layer, FusionStatus, Registration | None]]
KEPT_BYTES = 64 * 2**20
"""Decoded slices kept while one measurement is computed: the SUVpeak asks for the same again."""
MEASURED = (LayerKind.SERIES, LayerKind.DEFORMED, LayerKind.HEATMAP)
"""A segmentation has labels, no values."""


class LayerVoxels:
    """The voxels of an open layer, one decoded slice at a time."""

    def __init__(self, volume: StoredVolume) -> None:
        self._volume = volume
        self._kept: OrderedDict[int, npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._volume.levels[0].shape

    def plane(self, k: int, rows: int, columns: int) -> npt.NDArray[Any]:
        kept = self._kept.pop(k, None)
        if kept is not None:
            self._bytes -= kept.nbytes
            rows, columns = max(rows, kept.shape[0]), max(columns, kept.shape[1])
        if kept is None or kept.shape != (rows, columns):
            kept = self._volume.decode(k, upto=(rows, columns))
        self._kept[k] = found = kept
        self._bytes += found.nbytes
        while self._bytes > KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return found

    def physical(self, stored: npt.NDArray[Any]) -> FloatArray:
        record = self._volume.record
        return np.asarray(stored, dtype=np.float64) * record.slope + record.intercept


@dataclass(frozen=True, eq=False)
class Placed:
    """One layer as a measurement sees it. A deformed one is its original, through the field."""

    layer: Layer
    """The layer on screen."""
    key: str
    """Of its series: what a measurement remembers."""
    label: str
    unit: str
    modality: str
    lattice: Lattice
    voxels: LayerVoxels


def key_of(layer: Layer, originals: dict[int | None, Layer]) -> str:
    """The key that a measurement remembers: of the series, also for its deformed picture."""
    if layer.kind == LayerKind.DEFORMED and layer.series_id in originals:
        return originals[layer.series_id].key
    return layer.key


def originals_of(statuses: Statuses) -> dict[int | None, Layer]:
    """Series -> its main layer."""
    return {
        layer.series_id: layer
        for layer, _, _ in statuses
        if layer.kind == LayerKind.SERIES and not layer.is_sibling
    }


def on_screen(statuses: Statuses) -> dict[str, tuple[Layer, Layer, FusionStatus]]:
    """Key -> (layer to show, layer to read, status to read it by) of everything that is fused. The
    deformed picture of a series is shown while it is fused; read are the original voxels."""
    originals = originals_of(statuses)
    by_pk = {layer.pk: status for layer, status, _ in statuses}
    found: dict[str, tuple[Layer, Layer, FusionStatus]] = {}
    for layer, status, _ in statuses:
        if not status.fused:
            continue
        if layer.kind == LayerKind.DEFORMED:
            original = originals.get(layer.series_id)
            if original is not None:
                found[original.key] = (layer, original, by_pk[original.pk])
        elif layer.key not in found:
            found[layer.key] = (layer, layer, status)
    return found


def fingerprint(shown: Layer, read: Layer, status: FusionStatus) -> dict[str, Any]:
    """What the values of a layer depend on: its voxels, their unit, and how they lie."""
    record = read.record
    return {
        "voxels": [record["sha256"], record["slope"], record["intercept"], read.unit],
        "matrix": status.matrix,
        "field": _field_of(shown, status).get("sha256", ""),
    }


def _field_of(shown: Layer, status: FusionStatus) -> dict[str, Any]:
    return (status.field or {}) if shown.kind == LayerKind.DEFORMED else {}


def chosen_keys(
    statuses: Statuses, wanted: Collection[int] | None, *, everything: bool = False
) -> list[str]:
    """The keys of the layers asked for; without any those of the main volumes that are fused.
    ``everything``: maps too, as a probe reads them."""
    originals = originals_of(statuses)
    if wanted is None:
        return [
            key
            for key, (_, read, _) in on_screen(statuses).items()
            if not read.is_sibling and (everything or read.kind == LayerKind.SERIES)
        ]
    keys = [
        key_of(layer, originals)
        for layer, _, _ in statuses
        if layer.pk in wanted and (everything or layer.kind in MEASURED)
    ]
    return list(dict.fromkeys(keys))


@contextmanager
def open_layers(statuses: Statuses, keys: Iterable[str]) -> Iterator[list[Placed]]:
    """The layers of these keys that are fused now, open for reading.

    Raises ``VolumeUnreadable`` when a stored volume or field is gone.
    """
    shown = on_screen(statuses)
    with ExitStack() as stack:
        yield [
            _placed(*shown[key], stack.enter_context(open_layer(shown[key][1])))
            for key in keys
            if key in shown
        ]


def _placed(shown: Layer, read: Layer, status: FusionStatus, volume: StoredVolume) -> Placed:
    matrix = np.asarray(status.matrix, dtype=np.float64)
    field = _field_of(shown, status)
    carry = transform_of(read.run, status.matrix, field) if field else None
    return Placed(
        layer=shown,
        key=read.key,
        label=read.label,
        unit=read.unit,
        modality=volume.record.modality,
        lattice=Lattice(
            volume.levels[0].shape,
            volume.affine,
            matrix,
            carry.to_moving if carry else None,
            carry.to_reference if carry else None,
        ),
        voxels=LayerVoxels(volume),
    )
