"""The rules as read from the TOML files, checked at import; errors name the entry."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from analysis.roles.facts import KEYWORDS, VIRTUAL
from analysis.roles.words import Group, Words, read_groups

FOLDER = Path(__file__).parent
RULE_FILES: tuple[str, ...] = ("objects", "pet", "ct", "mr", "other")
"""In this order; every file is read from top to bottom."""
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class SeriesRole:
    """What a series is. ``coarse`` is the analysis contract's Role; ``fusion`` is 1 (feeds
    fusion), 2 (only where no series of rank 1 gives the same coarse role) or 0 (never)."""

    code: str
    label: str
    layer: str
    modality: str
    coarse: str
    fusion: int
    is_a: str = ""


@dataclass(frozen=True)
class Condition:
    """One attribute and what its values must be."""

    keyword: str
    patterns: tuple[re.Pattern[str], ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def is_range(self) -> bool:
        return not self.patterns

    def holds(self, values: tuple[str, ...]) -> bool:
        """One value fits a pattern; for a range, all values are numbers within."""
        if not values:
            return False
        if self.patterns:
            return any(p.fullmatch(value.upper()) for p in self.patterns for value in values)
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            return False
        low = self.minimum if self.minimum is not None else float("-inf")
        high = self.maximum if self.maximum is not None else float("inf")
        return all(isfinite(number) and low <= number <= high for number in numbers)


@dataclass(frozen=True)
class Rule:
    """One rule; see README.md for what its parts mean."""

    id: str
    role: str
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    words: tuple[str, ...]
    without: tuple[str, ...]
    because: str
    study: bool
    description_only: bool
    unsure: bool


@dataclass(frozen=True)
class Derived:
    """A derived fact: ``fact`` gets ``value`` when the conditions hold."""

    fact: str
    value: str
    when: tuple[Condition, ...]
    unless: tuple[Condition, ...]
    because: str


@dataclass(frozen=True)
class Tracer:
    """A radiopharmaceutical by its codes and names."""

    name: str
    codes: tuple[str, ...]
    words: Group


@dataclass(frozen=True)
class Catalogue:
    roles: Mapping[str, SeriesRole]
    derived: tuple[Derived, ...]
    rules: tuple[Rule, ...]
    tracers: tuple[Tracer, ...]
    nuclides: Mapping[str, str]
    """Code of a radionuclide -> what is said when only it is known."""
    words: Words

    @cached_property
    def blocks(self) -> tuple[tuple[Rule, ...], ...]:
        """The rules in order, cut where attribute rules and word rules take turns."""
        cut: list[list[Rule]] = []
        for rule in self.rules:
            if not cut or bool(cut[-1][0].words) != bool(rule.words):
                cut.append([])
            cut[-1].append(rule)
        return tuple(tuple(block) for block in cut)

    def descends(self, code: str, ancestor: str) -> bool:
        """Whether ``code`` is a kind of ``ancestor`` (and not the same)."""
        parent = self.roles[code].is_a
        return bool(parent) and (parent == ancestor or self.descends(parent, ancestor))


def _conditions(raw: Mapping[str, Any], known: set[str], where: str) -> tuple[Condition, ...]:
    made = []
    for keyword, wanted in raw.items():
        if keyword not in known:
            raise ValueError(f"{where}: {keyword} is no attribute or fact that is read")
        if isinstance(wanted, Mapping):
            if not wanted or set(wanted) - {"min", "max"}:
                raise ValueError(f"{where}: a range of {keyword} has min or max, nothing else")
            made.append(Condition(keyword, (), wanted.get("min"), wanted.get("max")))
        else:
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            # A blank value never fits "*": absent and empty attributes are the same.
            patterns = tuple(re.compile(translate(str(v).upper())) for v in values)
            made.append(Condition(keyword, patterns))
    return tuple(made)


def _check_reason(text: str, when: tuple[Condition, ...], derived: set[str], where: str) -> None:
    """A reason may insert numbers that the rule bounds, and derived facts: never header text."""
    allowed = {c.keyword for c in when if c.is_range} | derived
    if wrong := set(PLACEHOLDER.findall(text)) - allowed:
        raise ValueError(f"{where}: a reason cannot insert {sorted(wrong)}")


def build(
    roles: Mapping[str, Any], facts: Mapping[str, Any], rules: Mapping[str, Any], words: Words
) -> Catalogue:
    """A catalogue from parsed files. Raises ``ValueError`` or ``TypeError`` naming the entry."""
    catalogue = {raw["code"]: SeriesRole(**raw) for raw in roles["role"]}
    for role in catalogue.values():
        if role.is_a and role.is_a not in catalogue:
            raise ValueError(f"role {role.code}: is_a {role.is_a} is no role")
    attributes = {*KEYWORDS, *VIRTUAL}
    derived = []
    for raw in facts["derive"]:
        where = f"derived fact {raw['fact']} = {raw['value']}"
        when = _conditions(raw["when"], attributes, where)
        _check_reason(raw["because"], when, set(), where)
        unless = _conditions(raw.get("unless", {}), attributes, where)
        derived.append(Derived(raw["fact"], raw["value"], when, unless, raw["because"]))
    made = [
        _rule(raw, catalogue, attributes, {d.fact for d in derived}, words)
        for raw in rules["rule"]
    ]
    if len({rule.id for rule in made}) != len(made):
        raise ValueError("two rules have the same id")
    tracers = tuple(
        Tracer(raw["name"], tuple(raw["codes"]), _tracer_words(raw)) for raw in roles["tracer"]
    )
    nuclides = {code: raw["name"] for raw in roles["nuclide"] for code in raw["codes"]}
    return Catalogue(catalogue, tuple(derived), tuple(made), tracers, nuclides, words)


def _tracer_words(raw: Mapping[str, Any]) -> Group:
    wide = [(("any" if word.isascii() else "zh"), word) for word in raw["words"]]
    return Group(raw["name"], raw["name"], tuple(wide))


def _rule(
    raw: Mapping[str, Any],
    roles: Mapping[str, SeriesRole],
    attributes: set[str],
    derived: set[str],
    words: Words,
) -> Rule:
    where = f"rule {raw['id']}"
    known = attributes | derived
    made = Rule(
        id=raw["id"],
        role=raw["role"],
        when=_conditions(raw.get("when", {}), known, where),
        unless=_conditions(raw.get("unless", {}), known, where),
        words=tuple(raw.get("words", ())),
        without=tuple(raw.get("without", ())),
        because=raw.get("because", ""),
        study=bool(raw.get("study", False)),
        description_only=bool(raw.get("description_only", False)),
        unsure=bool(raw.get("unsure", False)),
    )
    if made.role not in roles:
        raise ValueError(f"{where}: {made.role} is no role")
    if missing := {*made.words, *made.without} - set(words.groups):
        raise ValueError(f"{where}: no words {sorted(missing)}")
    if not (made.because or made.words):
        raise ValueError(f"{where}: gives no reason")
    _check_reason(made.because, made.when, derived, where)
    return made


def _read(name: str) -> dict[str, Any]:
    with (FOLDER / name).open("rb") as file:
        return tomllib.load(file)


def load() -> Catalogue:
    """The catalogue of the files in this folder."""
    rules = [rule for name in RULE_FILES for rule in _read(f"rules/{name}.toml")["rule"]]
    return build(
        _read("roles.toml"),
        _read("rules/facts.toml"),
        {"rule": rules},
        read_groups(_read("words.toml")),
    )


CATALOGUE = load()
ROLES: Mapping[str, SeriesRole] = CATALOGUE.roles
