"""The volumes of one case as its slice socket streams them. Synchronous: database and disk."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from workstation.accounts.services import record
from workstation.analyzing.models import Layer
from workstation.analyzing.volume_files import StoredVolume, VolumeUnreadable
from workstation.reading.fusion_state import layer_statuses
from workstation.reading.open_volumes import give_back, take
from workstation.reading.services import current_run
from workstation.reading.stream import StreamLayer
from workstation.worklist.models import Case


class StreamedCase:
    """Open volumes and where their slices lie; close it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.volumes: dict[int, StoredVolume] = {}
        self.layers: list[StreamLayer] = []
        self.unreadable: dict[int, str] = {}
        """Layers that the run lists and whose file cannot be opened, and why."""

    def open(self, wanted: Collection[int] = ()) -> list[StreamLayer]:
        """Open what the run has made so far and is not open yet, the reference first: its coarse
        slices are the first image. Of a series with many volumes only its main one is opened
        until another is wanted: forty phases need not hold forty files. The new ones."""
        before = len(self.layers)
        run = current_run(self.case)
        statuses = layer_statuses(run) if run else []
        for layer, status, _ in sorted(statuses, key=lambda row: not row[0].is_reference):
            if layer.pk not in self.volumes and (not layer.is_sibling or layer.pk in wanted):
                self._add(layer, np.array(status.matrix))
        return self.layers[before:]

    def _add(self, layer: Layer, matrix: np.ndarray) -> None:
        try:
            volume = take(layer)
        except VolumeUnreadable as error:
            self.unreadable[layer.pk] = str(error)
            return
        self.volumes[layer.pk] = volume
        levels = volume.levels
        self.layers.append(
            StreamLayer(
                id=layer.pk,
                slices=tuple(level.shape[0] for level in levels),
                to_reference=matrix @ volume.affine,
                columns_rows=(levels[0].shape[2], levels[0].shape[1]),
                factors_z=tuple(level.factors[0] for level in levels),
            )
        )

    def close(self) -> None:
        for layer in self.volumes:
            give_back(layer)
        self.volumes.clear()


def open_case(user: Any, case_id: int, remote_address: str) -> StreamedCase | None:
    """The case for this reader, its volumes open, the opening on record; None if the user's sites
    do not have it."""
    case = Case.objects.for_user(user).select_related("site").filter(pk=case_id).first()
    if case is None:
        return None
    record(
        "view", user=user, site=case.site, obj=case, case_id=case.pk,
        remote_address=remote_address, detail={"what": "stream"},
    )  # fmt: skip
    streamed = StreamedCase(case)
    streamed.open()
    return streamed
