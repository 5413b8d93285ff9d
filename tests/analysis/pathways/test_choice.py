"""Which pathway, which reference, which channel."""

from __future__ import annotations

import pytest

from analysis.contracts import Role
from analysis.pathways.choice import SeriesFacts, best_of, choose, region_of
from analysis.pathways.rules import MIN_LUNG_FRACTION, MIN_LUNG_ML, REGION_WORDS, RULES


def facts(uid: str, role: Role, **more: object) -> SeriesFacts:
    base: dict[str, object] = {"coverage_ml": 30000.0, "slice_spacing_mm": 3.0, "voxels": 10**6}
    return SeriesFacts(uid=uid, role=role, **(base | more))  # type: ignore[arg-type]


def test_chest_ct_takes_the_lung_pathway_by_its_tag() -> None:
    choice = choose([facts("1", "CT", body_part="CHEST"), facts("2", "PET")])
    assert (choice.pathway, choice.reference_uid) == ("lung", "1")
    assert choice.channels == {"CT": "1", "PET": "2"}
    assert "BodyPartExamined says chest" in choice.reason


def test_whole_body_ct_is_decided_by_its_content() -> None:
    lungs = facts("1", "CT", body_part="WHOLEBODY", lung_fraction=0.12, lung_ml=4200.0)
    none = facts("1", "CT", body_part="WHOLEBODY", lung_fraction=0.01, lung_ml=90.0)
    assert choose([lungs]).pathway == "lung"
    assert "4.2 l of lung" in choose([lungs]).reason
    assert choose([none]).pathway == "general"


@pytest.mark.parametrize(
    ("fraction", "ml", "region"),
    [
        (MIN_LUNG_FRACTION, 0.0, "chest"),
        (0.0, MIN_LUNG_ML, "chest"),
        (MIN_LUNG_FRACTION - 0.001, MIN_LUNG_ML - 1, ""),
    ],
)
def test_content_limits(fraction: float, ml: float, region: str) -> None:
    assert region_of(facts("1", "CT", lung_fraction=fraction, lung_ml=ml))[0] == region


def test_a_named_other_region_is_not_overruled_by_content() -> None:
    leg = facts("1", "CT", body_part="EXTREMITY", lung_fraction=0.9, lung_ml=9000.0)
    assert choose([leg]).pathway == "general"


def test_head_needs_two_sequences() -> None:
    flair = facts("1", "FLAIR")
    assert choose([flair]).pathway == "general"
    choice = choose([flair, facts("2", "T1"), facts("3", "PET")])
    assert choice.pathway == "glioma"
    assert choice.reference_uid == "2"
    assert choice.channels == {"T1": "2", "FLAIR": "1", "PET": "3"}


def test_contrast_t1_is_the_heads_reference() -> None:
    series = [facts(str(n), r, body_part="BRAIN") for n, r in enumerate(("T2", "T1", "T1c"))]
    assert choose(series).reference_uid == "2"


def test_sequences_of_another_region_do_not_join_the_head() -> None:
    series = [
        facts("1", "T1", body_part="BRAIN", slice_spacing_mm=5.0),
        facts("2", "FLAIR", body_part="BRAIN"),
        facts("3", "T1", body_part="SPINE", slice_spacing_mm=1.0),
    ]
    assert choose(series).channels["T1"] == "1"


def test_mr_without_a_region_stays_general() -> None:
    choice = choose([facts("1", "T1"), facts("2", "T2", coverage_ml=90000.0)])
    assert (choice.pathway, choice.reference_uid) == ("general", "2")


def test_general_reference_ct_then_anatomy_then_pet() -> None:
    ct, mr, pet = facts("1", "CT"), facts("2", "T1", coverage_ml=1e6), facts("3", "PET")
    assert choose([ct, mr, pet]).reference_uid == "1"
    assert choose([mr, pet]).reference_uid == "2"
    assert choose([pet]).reference_uid == "3"


def test_thinnest_complete_series_speaks_for_its_role() -> None:
    thick = facts("a", "CT", slice_spacing_mm=5.0)
    thin = facts("b", "CT", slice_spacing_mm=1.0)
    stub = facts("c", "CT", slice_spacing_mm=0.6, coverage_ml=4000.0)
    lossy = facts("d", "CT", slice_spacing_mm=0.5, lossy=True)
    assert best_of([thick, thin, stub, lossy]).uid == "b"
    assert best_of([lossy, stub, thin, thick]).uid == "b"


def test_ct_for_attenuation_correction_counts_only_without_a_diagnostic_one() -> None:
    low_dose = facts("a", "CT", body_part="CHEST", slice_spacing_mm=1.0, fusion=2)
    diagnostic = facts("b", "CT", body_part="CHEST", slice_spacing_mm=5.0)
    assert choose([low_dose, diagnostic]).channels == {"CT": "b"}
    assert choose([low_dose, diagnostic]).reference_uid == "b"
    assert choose([low_dose]).channels == {"CT": "a"}


def test_what_never_feeds_fusion_is_neither_channel_nor_reference() -> None:
    ct = facts("1", "CT", body_part="CHEST")
    corrected, raw = facts("2", "PET"), facts("3", "PET", slice_spacing_mm=1.0, fusion=0)
    scout = facts("4", "OTHER", body_part="CHEST", coverage_ml=1e9, fusion=0)
    assert choose([ct, corrected, raw, scout]).channels == {"CT": "1", "PET": "2"}
    assert choose([ct, raw]).channels == {"CT": "1"}
    assert choose([facts("5", "T1"), scout]).reference_uid == "5"


def test_structural_mr_is_the_reference_before_maps() -> None:
    t2, dwi = facts("1", "T2"), facts("2", "MR", coverage_ml=1e9, fusion=2)
    assert choose([t2, dwi]).reference_uid == "1"
    assert choose([dwi]).reference_uid == "2"


def test_a_case_of_nothing_else_is_shown() -> None:
    choice = choose([facts("1", "PET", fusion=0)])
    assert (choice.pathway, choice.reference_uid) == ("general", "1")


def test_equal_series_are_settled_alike_in_any_order() -> None:
    a, b = facts("a", "CT"), facts("b", "CT")
    assert best_of([a, b]) == best_of([b, a]) == a


def test_words_are_whole_tokens() -> None:
    assert region_of(facts("1", "CT", description="CHEST_LOW_DOSE"))[0] == "chest"
    assert region_of(facts("1", "CT", description="HARMONIC"))[0] == ""


def test_two_regions_in_one_text_say_nothing() -> None:
    assert region_of(facts("1", "CT", description="CHEST ABDOMEN"))[0] == ""


def test_no_word_names_two_regions() -> None:
    words = [w for known in REGION_WORDS.values() for w in known]
    assert len(words) > 30
    assert len(words) == len(set(words))


@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.pathway)
def test_every_rule_is_coherent(rule: object) -> None:
    assert set(rule.reference) <= set(rule.channels)  # type: ignore[attr-defined]
    assert rule.need <= len(rule.roles)  # type: ignore[attr-defined]


def test_nothing_to_choose_from() -> None:
    with pytest.raises(ValueError, match="without series"):
        choose([])
