"""The stored volumes that this process streams from: each file is open once, however many read it.

A hundred readers of one case share one descriptor and one index; ``pread`` needs no lock.
"""

from __future__ import annotations

import threading

from workstation.analyzing.models import Layer
from workstation.analyzing.volume_files import StoredVolume, open_layer

_lock = threading.Lock()
_open: dict[int, StoredVolume] = {}
_users: dict[int, int] = {}


def take(layer: Layer) -> StoredVolume:
    """The layer's open volume; give it back with :func:`give_back`.

    A run's file is never written again under the same layer, so one that is open stays true.
    Raises ``VolumeUnreadable``.
    """
    with _lock:
        if layer.pk in _open:
            _users[layer.pk] += 1
            return _open[layer.pk]
    # A slow disk must not hold up who waits for the lock: event loops do.
    opened = open_layer(layer)
    with _lock:
        volume = _open.setdefault(layer.pk, opened)
        _users[layer.pk] = _users.get(layer.pk, 0) + 1
    if volume is not opened:
        opened.close()
    return volume


def give_back(layer_id: int) -> None:
    """Done with it: the last one closes the file."""
    with _lock:
        _users[layer_id] -= 1
        if _users[layer_id] == 0:
            _open.pop(layer_id).close()
            del _users[layer_id]
