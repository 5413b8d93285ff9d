"""What sets the volumes of one series apart: their order, their names, and which one speaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.volumes.dimensions import (
    ACQUISITION,
    B_VALUE,
    BREATH,
    CYCLE,
    DIRECTION,
    ECHO,
    FLIP,
    INVERSION,
    PLAIN_KINDS,
    TRIGGER,
    Dimension,
    Value,
    kind_of,
    moment,
    number,
    plane_of,
    stack_of,
    trigger,
)
from analysis.volumes.frames import Frame

MAX_TRIGGER_MS = 3000.0
"""A longer delay is no delay after an R wave: some makers count from the first image."""
COMPLETE = 0.8
"""A volume with at least this share of the largest one's slices may speak for the series."""


@dataclass(frozen=True)
class Setting:
    """How one volume of a series differs from the others; ``name`` is empty if it is alone."""

    number: int = 1
    count: int = 1
    name: str = ""
    """For the screen: ``b 1000``, ``phase 3 of 20, 40.0 s``, ``trigger 320 ms``."""
    kind: str = ""
    diffusion: bool = False
    """The b-value is one of the things that tell the volumes apart."""
    values: tuple[dict[str, Any], ...] = ()
    """Evidence: ``{"name", "value", "unit"}`` of every dimension that varies in the series."""


@dataclass
class _Facts:
    """One volume's value on each naming dimension; None where its frames disagree or are silent."""

    frames: list[Frame]
    values: dict[str, Any] = field(default_factory=dict)

    def read(self, dimension: Dimension) -> Value:
        found = {dimension.read(frame.header) for frame in self.frames}
        return found.pop() if len(found) == 1 else None

    def middle(self, reader: Callable[[Any], float | None]) -> float | None:
        found = [v for frame in self.frames if (v := reader(frame.header)) is not None]
        return round(float(np.median(found)), 1) if found else None

    def start(self) -> float | None:
        """Seconds, on the clock of the series."""
        offsets = [number(f.header, "TemporalPositionTimeOffset") for f in self.frames]
        found = offsets if None not in offsets else [moment(f.header) for f in self.frames]
        known = [v for v in found if v is not None]
        if known:
            return min(known)
        reference = [number(f.header, "FrameReferenceTime") for f in self.frames]
        told = [v for v in reference if v is not None]
        return min(told) / 1000.0 if told else None


_VALUED: tuple[tuple[Dimension, str], ...] = (
    (B_VALUE, "b {:g}"),
    (DIRECTION, "{}"),
    (ECHO, "echo {n}, {:g} ms"),
    (INVERSION, "TI {:g} ms"),
    (FLIP, "flip {:g}°"),
    (TRIGGER, "trigger {:.0f} ms"),
    (CYCLE, "{:g} % of the heart cycle"),
    (BREATH, "{:g} % of the breath"),
)
_ORDER = ("stack", "kind", "plane", *(d.name for d, _ in _VALUED), "time", ACQUISITION.name)


def settings_of(parts: Sequence[Sequence[Frame]]) -> tuple[list[int], list[Setting]]:
    """The order in which the parts are numbered (indices into ``parts``), and their settings.

    The order follows from what the frames say, so files and frames in any order give the same.
    """
    facts = [_facts(list(part)) for part in parts]
    _shared_clock(facts)
    ranks = {name: _ranks([f.values[name] for f in facts]) for name in _ORDER}
    order = sorted(
        range(len(facts)),
        key=lambda n: (*(ranks[name][n] for name in _ORDER), _tie(facts[n].frames)),
    )
    facts = [facts[n] for n in order]
    varying = [name for name in _ORDER if len({f.values[name] for f in facts}) > 1]
    names = _names(facts, varying)
    settings = [
        Setting(
            number=n + 1,
            count=len(facts),
            name=names[n] if len(facts) > 1 else "",
            kind=str(f.values["kind"]),
            diffusion=B_VALUE.name in varying,
            values=tuple(_evidence(name, f.values[name]) for name in varying),
        )
        for n, f in enumerate(facts)
    ]
    return order, settings


def _facts(frames: list[Frame]) -> _Facts:
    facts = _Facts(frames)
    first = frames[0].header
    facts.values = {dimension.name: facts.read(dimension) for dimension, _ in _VALUED}
    facts.values["kind"] = kind_of(first)
    stacks = {stack_of(frame.header) for frame in frames}
    facts.values["stack"] = stacks.pop() if len(stacks) == 1 else ""
    facts.values["plane"] = plane_of(first)
    facts.values[ACQUISITION.name] = facts.read(ACQUISITION)
    facts.values[TRIGGER.name] = facts.middle(trigger)
    facts.values["time"] = facts.start()
    return facts


def _shared_clock(facts: Sequence[_Facts]) -> None:
    """Times become seconds since the first volume; long trigger delays become times."""
    delays = [f.values[TRIGGER.name] for f in facts]
    if any(d is not None and d > MAX_TRIGGER_MS for d in delays):
        for f, delay in zip(facts, delays, strict=True):
            f.values[TRIGGER.name] = None
            f.values["time"] = None if delay is None else delay / 1000.0
    known = [f.values["time"] for f in facts if f.values["time"] is not None]
    for f in facts:
        if f.values["time"] is not None:
            f.values["time"] = round(f.values["time"] - min(known), 3)


def _ranks(values: Sequence[Any]) -> list[int]:
    """Places in the sorted order of distinct values; names by text, silence first."""
    def key(value: Any) -> tuple[int, Any]:
        if value is None:
            return (0, 0.0)
        return (1, value) if isinstance(value, int | float) else (2, str(value))

    places = {value: n for n, value in enumerate(sorted(set(values), key=key))}
    return [places[value] for value in values]


def _tie(frames: Sequence[Frame]) -> str:
    """Settles the order of volumes that nothing else orders, the same way every time."""
    return min(f"{frame.header.get('SOPInstanceUID')}#{frame.number:06d}" for frame in frames)


def _names(facts: Sequence[_Facts], varying: Sequence[str]) -> list[str]:
    """The fewest words that give every volume a name of its own."""
    formats: dict[str, str] = {dimension.name: text for dimension, text in _VALUED}
    words: list[list[str]] = [[] for _ in facts]
    for name in varying:
        if len({tuple(w) for w in words}) == len(facts):
            break
        added = [
            _word(name, formats.get(name, ""), f, _alike(facts, words, n))
            for n, f in enumerate(facts)
        ]
        together = {(*w, a) for w, a in zip(words, added, strict=True)}
        if len(together) > len({tuple(w) for w in words}):
            words = [[*w, a] if a else w for w, a in zip(words, added, strict=True)]
    names = [", ".join(w) for w in words]
    return [
        name if names.count(name) == 1 else f"{name} part {n + 1}".strip()
        for n, name in enumerate(names)
    ]


def _alike(
    facts: Sequence[_Facts], words: Sequence[Sequence[str]], n: int
) -> list[_Facts]:
    """The volumes that have the same name as the n-th so far, itself among them."""
    return [f for f, w in zip(facts, words, strict=True) if list(w) == list(words[n])]


def _word(name: str, text: str, facts: _Facts, alike: Sequence[_Facts]) -> str:
    value = facts.values[name]
    distinct = [f.values[name] for f in alike if f.values[name] is not None]
    distinct = sorted(set(distinct), key=str) if name == DIRECTION.name else sorted(set(distinct))
    if name == "kind":
        return str(value) or ("magnitude" if {"phase", "real"} & set(distinct) else "")
    if value is None or value == "":
        return ""
    place = distinct.index(value) + 1
    if name == "plane":
        return str(value)
    if name == "stack":
        return f"stack {value}"
    if name == "time":
        return f"phase {place} of {len(distinct)}, {value:.1f} s"
    if name == ACQUISITION.name:
        return f"acquisition {value:g}"
    if name == DIRECTION.name:
        return "trace" if value == "trace" else f"direction {place}"
    return text.format(value, n=place)


_UNITS = {dimension.name: dimension.unit for dimension, _ in _VALUED} | {"time": "s"}


def _evidence(name: str, value: Any) -> dict[str, Any]:
    shown = list(value) if isinstance(value, tuple) else value
    if name == "kind":
        shown = value or "plain image"
    return {"name": name, "value": shown, "unit": _UNITS.get(name, "")}


def speaker(settings: Sequence[Setting], slices: Sequence[int], modality: str, t2: bool) -> int:
    """Which volume (index) stands for the series where one is needed: registration, network
    channels, measurements, the first picture on screen.

    The plain image before maps; complete before partial; the lowest b-value, whose contrast is
    anatomical; the shortest echo (a T2 series: the longest); the first moment of a CT or MR
    series over time, the last of a PET, when the tracer has settled.
    """
    largest = max(slices)

    def key(n: int) -> tuple[Any, ...]:
        setting = settings[n]
        told = {v["name"]: v["value"] for v in setting.values}
        kinds = PLAIN_KINDS.index(setting.kind) if setting.kind in PLAIN_KINDS else 99
        b, echo, time = (told.get(k) for k in (B_VALUE.name, ECHO.name, "time"))
        direction = told.get(DIRECTION.name)
        return (
            kinds,
            slices[n] < COMPLETE * largest,
            float("inf") if b is None else b,
            direction not in (None, "trace"),
            0.0 if echo is None else (-echo if t2 else echo),
            0.0 if time is None else (-time if modality == "PT" else time),
            n,
        )

    return min(range(len(settings)), key=key)


