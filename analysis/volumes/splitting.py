"""The frames of one series to volumes, by what the frames say. File order is never asked.

Stacks, kinds (phase, ADC, water ...) and planes (axial, sagittal ...) are always apart. Then, only
where several frames lie at one place, dimensions are asked in turn (those that the objects declare,
then physical ones, then acquisition number and time) until no place is taken twice. A dimension is
believed if it tells frames at one place apart *and* cuts the series into no more parts than a place
holds frames: one that changes from slice to slice does not. Measured times, which jitter, may order
the frames of each place instead. What stays together without being told apart is refused when it is
stacked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from analysis.errors import InputRefused
from analysis.volumes.dimensions import PHYSICAL, Dimension, Value, explicit, kind_of, stack_of
from analysis.volumes.frames import Frame
from analysis.volumes.stacking import floats_of
from analysis.volumes.tolerances import (
    MIN_SLICES,
    OWN_ORIENTATION,
    SAME_PLANE,
    SAME_POSITION_MM,
)

Place = Hashable
Part = list[Frame]


def split(frames: Sequence[Frame]) -> list[Part]:
    """Parts of the series that are one volume each, or cannot be told apart further."""
    found: list[Part] = []
    for group in _apart(list(frames)):
        places = _places(group)
        parts = [group]
        if places is not None:
            for dimension in (*explicit([f.header for f in group]), *PHYSICAL, _OBJECT):
                parts = [new for part in parts for new in _by(dimension, part, places)]
        found += parts
    return found


def _apart(frames: Part) -> list[Part]:
    """Frames by kind, stack and plane. A StackID that would leave single frames names no stack."""
    found: list[Part] = []
    for group in _grouped(frames, [kind_of(f.header) for f in frames]):
        stacks = _grouped(group, [stack_of(f.header) for f in group])
        found += stacks if min(len(s) for s in stacks) >= MIN_SLICES else [group]
    return [part for group in found for part in _by_orientation(group)]


def _by_orientation(group: Part) -> list[Part]:
    """Frames by the plane they lie in, where one plane holds enough of them for a volume."""
    try:
        turned = [np.array(floats_of(f.header, "ImageOrientationPatient", 6)) for f in group]
    except InputRefused:
        return [group]
    firsts: list[np.ndarray] = []
    parts: list[Part] = []
    for frame, cosines in zip(group, turned, strict=True):
        same = (n for n, c in enumerate(firsts) if np.abs(c - cosines).max() <= SAME_PLANE)
        n = next(same, len(firsts))
        if n == len(firsts):
            firsts.append(cosines)
            parts.append([])
        parts[n].append(frame)
    return parts if max(len(part) for part in parts) >= OWN_ORIENTATION else [group]


def _grouped(frames: Part, values: Sequence[Hashable]) -> list[Part]:
    groups: dict[Hashable, Part] = defaultdict(list)
    for frame, value in zip(frames, values, strict=True):
        groups[value].append(frame)
    return list(groups.values())


def _places(group: Part) -> dict[int, Place] | None:
    """The place of each frame (by ``id``): orientation and position along the normal.

    None where splitting cannot help and stacking refuses with its own words: a frame does not say
    where it lies, or there are too few places for a volume.
    """
    try:
        turned = np.array([floats_of(f.header, "ImageOrientationPatient", 6) for f in group])
        positions = np.array([floats_of(f.header, "ImagePositionPatient", 3) for f in group])
    except InputRefused:
        return None
    normals = np.cross(turned[:, :3], turned[:, 3:])
    if not np.allclose(np.linalg.norm(normals, axis=1), 1, atol=0.05):
        return None
    along = np.einsum("ij,ij->i", positions, normals)
    order = np.argsort(along, kind="stable")
    cluster = np.empty(len(group), dtype=int)
    cluster[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_POSITION_MM)])
    if cluster.max() + 1 < MIN_SLICES:
        return None
    faces = np.round(turned, 2) + 0.0
    return {
        id(frame): (int(at), tuple(face.tolist()))
        for frame, at, face in zip(group, cluster, faces, strict=True)
    }


def _by(dimension: Dimension, part: Part, places: dict[int, Place]) -> list[Part]:
    """The part cut by a dimension; the part itself where that is not needed or not believed."""
    crowd = max(Counter(places[id(f)] for f in part).values())
    if crowd == 1:
        return [part]
    values = {id(f): dimension.read(f.header) for f in part}
    told: dict[Place, set[Value]] = defaultdict(set)
    for frame in part:
        told[places[id(frame)]].add(values[id(frame)])
    if max(len(v) for v in told.values()) == 1:
        return [part]
    equal = _grouped(part, [values[id(f)] for f in part])
    if len(equal) <= crowd:
        return equal
    if not dimension.jitters or None in values.values():
        return [part]
    if dimension.clock:
        following = _in_sequence(part, values, places)
        if len(following) == crowd:
            return following
    return _by_rank(part, values, places, crowd) or [part]


def _in_sequence(
    part: Part, values: dict[int, Value], places: dict[int, Place]
) -> list[Part]:
    """Volumes acquired one after the other: a place that is taken begins the next volume."""
    found: list[Part] = []
    taken: set[Place] = set()
    for frame in sorted(part, key=lambda f: (values[id(f)], places[id(f)])):
        place = places[id(frame)]
        if not found or place in taken:
            found.append([])
            taken = set()
        found[-1].append(frame)
        taken.add(place)
    return found


def _by_rank(
    part: Part, values: dict[int, Value], places: dict[int, Place], crowd: int
) -> list[Part] | None:
    """The n-th frame of each place, by value; None unless all places hold equally many."""
    at_place: dict[Place, Part] = defaultdict(list)
    for frame in part:
        at_place[places[id(frame)]].append(frame)
    found: list[Part] = [[] for _ in range(crowd)]
    for frames in at_place.values():
        if len({values[id(f)] for f in frames}) != crowd or len(frames) != crowd:
            return None
        for n, frame in enumerate(sorted(frames, key=lambda f: values[id(f)])):  # type: ignore[arg-type,return-value]
            found[n].append(frame)
    return found


def _object(frame_header: object) -> Value:
    uid = getattr(frame_header, "SOPInstanceUID", None)
    return str(uid) if uid else None


_OBJECT = Dimension("SOPInstanceUID", "", _object)
"""Last: frames of one multi-frame object or mosaic belong together. Cuts nothing else, because
single-frame instances make more parts than a place holds frames."""
