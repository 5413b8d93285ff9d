"""Decide the pathway from the facts of the loaded series. Pure: facts in, choice out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.contracts import Pathway, Role
from analysis.pathways.rules import (
    ANATOMICAL,
    GENERAL_REFERENCE,
    MIN_LUNG_FRACTION,
    MIN_LUNG_ML,
    REGION_WORDS,
    RULES,
    PathwayRule,
    Region,
)

SAME_COVERAGE = 0.8
"""Series of one role that cover at least this share of the largest are judged by slice spacing."""


@dataclass(frozen=True)
class SeriesFacts:
    """What the choice needs to know of one usable series."""

    uid: str
    role: Role
    body_part: str = ""
    """BodyPartExamined."""
    description: str = ""
    """Study and series description together."""
    coverage_ml: float = 0.0
    """Volume of the box that the voxels fill."""
    slice_spacing_mm: float = 0.0
    voxels: int = 0
    lossy: bool = False
    lung_fraction: float | None = None
    """Lung-like share of the body (CT only, None if not looked at)."""
    lung_ml: float | None = None
    fusion: int = 1
    """Rank of the series' role: 1 feeds fusion, 2 only where none of rank 1 gives the same role,
    0 never (localisers, reformatted images, PET without attenuation correction)."""


@dataclass(frozen=True)
class PathwayChoice:
    """The decision. ``channels`` maps each role to the series that feeds the network."""

    pathway: Pathway
    reason: str
    reference_uid: str
    channels: dict[Role, str] = field(default_factory=dict)


def _tokens(text: str) -> set[str]:
    return set(re.split(r"[^A-Z0-9]+", text.upper())) - {""}


def _named_region(text: str) -> Region:
    """The region that ``text`` names; empty when it names none, or more than one."""
    words = _tokens(text)
    hits: list[Region] = [region for region, known in REGION_WORDS.items() if words & known]
    return hits[0] if len(hits) == 1 else ""


def region_of(facts: SeriesFacts) -> tuple[Region, str]:
    """The body region of a series and the reason in words; empty when nothing tells it."""
    for source, text in (
        ("BodyPartExamined", facts.body_part),
        ("the description", facts.description),
    ):
        region = _named_region(text)
        if region == "other":
            return region, f"{source} names a region without a special pathway"
        if region:
            return region, f"{source} says {region}"
    share, volume = facts.lung_fraction or 0.0, facts.lung_ml or 0.0
    if share >= MIN_LUNG_FRACTION or volume >= MIN_LUNG_ML:
        return "chest", (
            f"the CT shows {volume / 1000:.1f} l of lung ({100 * share:.0f} % of the body)"
        )
    if facts.role == "FLAIR":
        return "head", "a FLAIR sequence is a brain examination"
    return "", "no tag names the region"


def best_of(series: Sequence[SeriesFacts]) -> SeriesFacts:
    """Of several series of one role: lossless before lossy, complete before partial, then the
    thinnest slices, then the most voxels; the UID settles ties so that a rerun decides alike."""
    largest = max(s.coverage_ml for s in series)
    return min(
        series,
        key=lambda s: (
            s.lossy,
            s.coverage_ml < SAME_COVERAGE * largest,
            s.slice_spacing_mm,
            -s.voxels,
            s.uid,
        ),
    )


def _by_role(series: Sequence[SeriesFacts], roles: Sequence[Role]) -> dict[Role, SeriesFacts]:
    groups = {role: _first_rank([s for s in series if s.role == role]) for role in roles}
    return {role: best_of(group) for role, group in groups.items() if group}


def _first_rank(series: Sequence[SeriesFacts]) -> list[SeriesFacts]:
    """The series of the best fusion rank among these: a low-dose CT made for attenuation
    correction counts only without a diagnostic one."""
    best = min((s.fusion for s in series), default=0)
    return [s for s in series if s.fusion == best]


def _fits(
    rule: PathwayRule, series: Sequence[SeriesFacts]
) -> tuple[str, list[SeriesFacts]] | None:
    """The reason why the rule holds and the series it may use, or None.

    A series that names the region speaks for silent neighbours, not for those of another region.
    """
    regions = {s.uid: region_of(s) for s in series}
    usable = [s for s in series if regions[s.uid][0] in (rule.region, "")]
    named = [s for s in usable if s.role in rule.roles and regions[s.uid][0] == rule.region]
    roles = {s.role for s in usable if s.role in rule.roles}
    if not named or len(roles) < rule.need:
        return None
    listed = ", ".join(role for role in rule.roles if role in roles)
    return f"{listed} of the {rule.region}: {regions[named[0].uid][1]}.", usable


def choose(series: Sequence[SeriesFacts]) -> PathwayChoice:
    """The pathway of a case with at least one usable series.

    Raises ``ValueError`` when ``series`` is empty.
    """
    if not series:
        raise ValueError("a case without series has no pathway")
    # Where nothing else is there, what never feeds fusion is at least shown.
    series = [s for s in series if s.fusion] or series
    for rule in RULES:
        fit = _fits(rule, series)
        if fit is None:
            continue
        reason, usable = fit
        chosen = _by_role(usable, rule.channels)
        reference = next(chosen[role] for role in rule.reference if role in chosen)
        return PathwayChoice(
            rule.pathway,
            f"{rule.pathway.capitalize()} pathway: {reason}",
            reference.uid,
            {role: facts.uid for role, facts in chosen.items()},
        )
    first = _by_role(series, GENERAL_REFERENCE)
    anatomical = _first_rank([s for s in series if s.role in ANATOMICAL])
    if first:
        reference, why = next(iter(first.values())), "the CT is the reference"
    elif anatomical:
        reference = max(anatomical, key=lambda s: (s.coverage_ml, s.voxels, s.uid))
        why = "the anatomical series that covers most is the reference"
    else:
        reference, why = best_of(series), "only PET is there, so it is the reference"
    roles: list[Role] = sorted({s.role for s in series})
    told = next(iter(dict.fromkeys(region_of(s)[1] for s in series)))
    return PathwayChoice(
        "general",
        f"General pathway: {', '.join(roles)}; {told}; {why}.",
        reference.uid,
        {role: facts.uid for role, facts in _by_role(series, roles).items()},
    )
