"""Facts in, role and reason out. The rules are data; this only asks them in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.roles.catalogue import CATALOGUE, PLACEHOLDER, Catalogue, Condition, Rule
from analysis.roles.facts import complete
from analysis.roles.words import Found, Words, fold

Source = Literal["attributes", "text", "none"]

TEXTS: tuple[tuple[str, str], ...] = (
    ("SeriesDescription", "SeriesDescription"),
    ("ProtocolName", "ProtocolName"),
    ("ProtocolCodeMeaning", "the protocol code"),
    ("SequenceName", "SequenceName"),
    ("StudyDescription", "StudyDescription"),
)
"""Texts that are searched, in this order, and how a reason calls them."""
_STUDY = len(TEXTS) - 1


@dataclass(frozen=True)
class RoleDecision:
    """What a series is and why. ``reason`` is one sentence without any text of the header."""

    code: str
    label: str
    reason: str
    by: Source
    rule: str
    """Id of the rule that decided."""
    conflict: str = ""
    """Code of another role that the description claims; empty if it claims none."""
    details: dict[str, Any] = field(default_factory=dict)
    """b_values (s/mm2), tracer, phase: what the header adds to the role. JSON."""


@dataclass(frozen=True)
class _Hit:
    rule: Rule
    said: tuple[tuple[str, Found], ...] = ()
    """(name of the text, word found) for each word group of the rule."""


class _Seen:
    """The facts of one series with the derived ones, and its folded texts."""

    def __init__(self, facts: Mapping[str, Any], catalogue: Catalogue) -> None:
        self.facts = complete(facts)
        self.because: dict[str, str] = {}
        for entry in catalogue.derived:
            if entry.fact not in self.because and self.holds(entry.when, entry.unless):
                self.because[entry.fact] = self.fill(entry.because)
                self.facts[entry.fact] = (entry.value,)
        self.texts = [fold(" | ".join(self.facts.get(keyword, ()))) for keyword, _ in TEXTS]

    def holds(self, when: Sequence[Condition], unless: Sequence[Condition]) -> bool:
        return all(c.holds(self.facts.get(c.keyword, ())) for c in when) and not any(
            c.holds(self.facts.get(c.keyword, ())) for c in unless
        )

    def fill(self, because: str) -> str:
        """The reason with its numbers and derived reasons put in."""

        def value(name: str) -> str:
            if name in self.because:
                return self.because[name]
            numbers = [f"{float(v):g}" for v in self.facts[name]]
            return ", ".join(dict.fromkeys(numbers))

        return PLACEHOLDER.sub(lambda match: value(match.group(1)), because)


def _said(rule: Rule, seen: _Seen, words: Words, upto: int) -> tuple[tuple[str, Found], ...] | None:
    """The words that make a rule hold in the texts up to number ``upto`` taken together; None if
    it does not hold. The study's description stands alone: it speaks of all its series."""
    texts = [(TEXTS[n][1], text) for n, text in enumerate(seen.texts[: upto + 1]) if text]
    if not seen.texts[upto] or (rule.description_only and len(texts) > 1):
        return None
    if upto == _STUDY:
        if not rule.study:
            return None
        texts = texts[-1:]
    if any(words.find(group, text) for group in rule.without for _, text in texts):
        return None
    said = []
    for group in rule.words:
        hits = [(name, found) for name, text in texts if (found := words.find(group, text))]
        if not hits:
            return None
        said.append(hits[0])
    return tuple(said)


def _first(rules: Sequence[Rule], seen: _Seen, catalogue: Catalogue) -> _Hit | None:
    """The first rule of a block that holds; word rules are asked text by text."""
    open_rules = [rule for rule in rules if seen.holds(rule.when, rule.unless)]
    for upto in range(len(TEXTS)):
        for rule in open_rules:
            if not rule.words:
                return _Hit(rule)
            said = _said(rule, seen, catalogue.words, upto)
            if said is not None:
                return _Hit(rule, said)
    return None


def role_of(facts: Mapping[str, Any], catalogue: Catalogue = CATALOGUE) -> RoleDecision:
    """The role of a series from its facts (:func:`analysis.roles.facts_of`, or a plain mapping of
    DICOM keywords to values). Never raises for what a header says."""
    seen = _Seen(facts, catalogue)
    hits = (_first(block, seen, catalogue) for block in catalogue.blocks)
    hit = next((h for h in hits if h is not None), None)
    if hit is None:  # the last rule of the data holds always; a test sees to it
        raise LookupError("no rule of the catalogue holds")
    reason = _reason(hit, seen)
    by: Source = "none" if hit.rule.unsure else "text" if hit.said else "attributes"
    code, rule, conflict = hit.rule.role, hit.rule.id, ""
    claim = _claim(seen, catalogue, hit.rule) if by == "attributes" else None
    if claim is not None and catalogue.descends(claim.rule.role, code):
        code, rule, by = claim.rule.role, claim.rule.id, "text"
        reason += f", and {_told(claim)}"
    elif claim is not None and _contradicts(code, claim.rule.role, catalogue):
        conflict = claim.rule.role
        reason += f"; {_told(claim)}, but attributes count first"
    role, details = catalogue.roles[code], _details(seen, catalogue, code)
    return RoleDecision(
        code, _label(role.label, details), reason[0].upper() + reason[1:] + ".", by, rule,
        conflict, details,
    )  # fmt: skip


def _claim(seen: _Seen, catalogue: Catalogue, decided: Rule) -> _Hit | None:
    """What the texts of the series itself say it is, rule blocks taken together."""
    rules = [r for r in catalogue.rules if r.words and not r.study and r.id != decided.id]
    return _first(rules, seen, catalogue)


def _contradicts(code: str, claimed: str, catalogue: Catalogue) -> bool:
    """Two roles of one modality of which neither is a kind of the other."""
    one, other = catalogue.roles[code], catalogue.roles[claimed]
    return (
        code != claimed
        and bool(one.modality)
        and one.modality == other.modality
        and not catalogue.descends(code, claimed)
    )


def _told(hit: _Hit) -> str:
    return " and ".join(f"{text} says {found.told()}" for text, found in hit.said)


def _reason(hit: _Hit, seen: _Seen) -> str:
    parts = [seen.fill(hit.rule.because), _told(hit)]
    return ", and ".join(part for part in parts if part)


def _details(seen: _Seen, catalogue: Catalogue, code: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if code in ("MR_DWI", "MR_ADC") and "BValues" in seen.facts:
        values = [float(v) for v in seen.facts["BValues"]]
        details["b_values"] = [int(v) if v.is_integer() else v for v in values]
    if catalogue.roles[code].modality == "PT" and (tracer := _tracer(seen, catalogue)):
        details["tracer"] = tracer
    if catalogue.roles[code].modality == "CT" and "ContrastBolusAgentPhase" in seen.facts:
        details["phase"] = seen.facts["ContrastBolusAgentPhase"][0][:16]
    return details


def _tracer(seen: _Seen, catalogue: Catalogue) -> str:
    """The tracer's name from our table: by its code, by Radiopharmaceutical, by the descriptions;
    else the nuclide."""
    codes = seen.facts.get("RadiopharmaceuticalCode", ())
    for tracer in catalogue.tracers:
        if any(code in tracer.codes for code in codes):
            return tracer.name
    named = Words({tracer.name: tracer.words for tracer in catalogue.tracers})
    drug = fold(" | ".join(seen.facts.get("Radiopharmaceutical", ())))
    for text in (drug, *seen.texts):
        for tracer in catalogue.tracers:
            if named.find(tracer.name, text):
                return tracer.name
    nuclides = seen.facts.get("RadionuclideCode", ())
    return next((catalogue.nuclides[c] for c in nuclides if c in catalogue.nuclides), "")


def _label(label: str, details: Mapping[str, Any]) -> str:
    if "tracer" in details:
        return f"{label} ({details['tracer']})"
    if "b_values" in details:
        return f"{label} (b {', '.join(str(b) for b in details['b_values'][:8])})"
    return label
