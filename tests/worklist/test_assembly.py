"""The pure rules: which studies belong together, and what the reader is told about it."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from workstation.worklist.assembly import (
    Rule,
    SeriesFacts,
    StudyFacts,
    belongs_together,
    folded,
    grouped,
)
from workstation.worklist.default_rules import DEFAULT_RULES

RULES = [
    Rule(
        key=number,
        name=row["name"],
        within_days=row["within_days"],
        body=tuple(folded(row.get("body", "")).split()),
        anchor=tuple(row.get("anchor", "").split()),
        companions=tuple(row.get("companions", "").split()),
    )
    for number, row in enumerate(DEFAULT_RULES)
]
DAY = date(2026, 9, 1)


def study(key: int, days: int | None, text: str, *series: str) -> StudyFacts:
    """``series``: ``CT`` (no role yet) or ``CT:CTA``."""
    facts = [SeriesFacts(*one.split(":")) for one in series]
    when = None if days is None else DAY + timedelta(days=days)
    return StudyFacts(key, when, tuple(facts), folded(text))


PET_CT = study(1, 0, "PET/CT Ganzkörper", "PT:PET_AC", "CT:CT_AC")
CHEST = ("CT Thorax", "CT:CT_CONTRAST")
NCCT = study(1, 0, "Head CT", "CT:CT_NATIVE")
MR_HEAD = study(1, 0, "MRT Schädel", "MR:MR_FLAIR", "MR:MR_T1C")
CTA_HEART = study(1, 0, "CTA coronary", "CT:CTA")

CASES = [
    # case's study, days, text, series, joins, rule
    (PET_CT, 12, *CHEST, True, "Lung PET/CT"),
    (PET_CT, 60, *CHEST, True, "Lung PET/CT"),
    (PET_CT, 61, *CHEST, False, "Lung PET/CT"),
    (PET_CT, -12, "胸部CT平扫", "CT", True, "Lung PET/CT"),
    (PET_CT, 12, "Knie", "CT", True, "Same patient"),
    (NCCT, 0, "CT Kopf Perfusion", "CT:CTP", True, "Stroke CT"),
    (NCCT, 1, "CTA Kopf", "CT:CTA", True, "Stroke CT"),
    (NCCT, 2, "CTA Kopf", "CT:CTA", False, "Stroke CT"),
    (NCCT, 20, "MR head", "MR:MR_T2", True, "Same patient"),
    (MR_HEAD, 60, "PET brain", "PT:PET_AC", True, "Glioma MR/PET"),
    (MR_HEAD, 61, "PET brain", "PT", False, "Glioma MR/PET"),
    (MR_HEAD, 59, "MR head", "MR", True, "Same patient"),
    (MR_HEAD, 61, "MR head", "MR", False, "Same patient"),
    (CTA_HEART, 90, "Herz MRT", "MR:MR_LGE", True, "Heart CTA/LGE"),
    (CTA_HEART, 91, "Herz MRT", "MR:MR_LGE", False, "Heart CTA/LGE"),
    (CTA_HEART, 80, "Herz MRT", "MR:MR_CINE", False, "Same patient"),
    (CTA_HEART, 80, "Herz MRT", "MR", True, "Heart CTA/LGE"),
    (PET_CT, None, *CHEST, True, "Lung PET/CT"),
]


@pytest.mark.parametrize(("there", "days", "text", "series", "joins", "rule"), CASES)
def test_the_shipped_rules(
    there: StudyFacts, days: int | None, text: str, series: str, joins: bool, rule: str
) -> None:
    new = study(2, days, text, series)
    for one, other in ((there, new), (new, there)):
        decision = belongs_together(RULES, [one], other)
        assert decision is not None
        assert (decision.joins, decision.rule.name) == (joins, rule)
        assert rule in decision.reason


def test_the_reason_says_rule_and_distance() -> None:
    decision = belongs_together(RULES, [PET_CT], study(2, 12, *CHEST))
    assert decision is not None and decision.reason == "rule “Lung PET/CT”: 12 days apart"
    same = belongs_together(RULES, [PET_CT], study(2, 0, *CHEST))
    assert same is not None and same.reason.endswith("on the same day")
    far = belongs_together(RULES, [PET_CT], study(2, 70, *CHEST))
    assert far is not None and far.reason.endswith("70 days apart, allowed are 60")


def test_one_study_of_the_case_that_says_yes_is_enough() -> None:
    far = study(3, -100, *CHEST)
    decision = belongs_together(RULES, [far, PET_CT], study(2, 5, *CHEST))
    assert decision is not None and decision.joins


def test_without_rules_nothing_belongs_together() -> None:
    assert belongs_together([], [PET_CT], study(2, 0, *CHEST)) is None
    assert belongs_together(RULES, [], PET_CT) is None


def test_a_role_outweighs_what_the_modality_allows() -> None:
    """Without a role a head CT could be the stroke CTA; with one it is not."""
    unknown = belongs_together(RULES, [NCCT], study(2, 20, "Head CT", "CT"))
    known = belongs_together(RULES, [NCCT], study(2, 20, "Head CT", "CT:CT_VENOUS"))
    assert unknown is not None and not unknown.joins
    assert known is not None and known.joins


def test_words_are_matched_from_their_beginning() -> None:
    rule = Rule(1, "Heart", 5, body=("card",))
    for text, fits in (("Cardiac MR", True), ("Kardio card", True), ("Discard", False)):
        found = belongs_together([rule], [study(1, 0, text, "MR")], study(2, 0, text, "MR"))
        assert (found is not None) is fits


def test_groups_follow_the_best_rule_and_not_the_first_group() -> None:
    chest_old = study(1, -70, *CHEST)
    groups = grouped(RULES, [chest_old, PET_CT, study(3, 3, *CHEST), study(4, 200, *CHEST)])
    assert [[member.key for member in group] for group in groups] == [[1], [1, 3], [4]]
