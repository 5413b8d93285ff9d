"""The draft says what the results say, and nothing else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from analysis.contracts import (
    IDENTITY,
    AssembleResult,
    FindingRecord,
    InferResult,
    LevelRecord,
    MeasureResult,
    ModelUse,
    Notice,
    QualityFigure,
    RegisterResult,
    RegistrationRecord,
    SentenceRecord,
    VolumeRecord,
)
from analysis.drafting.draft import IMPRESSION_LIMIT, draft_report
from analysis.drafting.wording import listed, millilitres, millimetres, probability, sentence


def volume(uid: str, role: Any, label: str, unit: str = "1", **more: Any) -> VolumeRecord:
    return VolumeRecord(
        key=uid, path="x", sha256="", levels=(LevelRecord((1, 1, 1), (1, 1, 1), (0, 1)),),
        affine=IDENTITY, dtype="int16", slope=1.0, intercept=0.0, unit=unit, modality="CT",
        role=role, label=label, series_instance_uid=uid, **more,
    )  # fmt: skip


CT = volume("1.1", "CT", "CT", "[hnsf'U]")
PET = volume(
    "1.2", "PET", "PET (SUVbw)", "g/ml{SUVbw}",
    source={"header": {"tracer": "Fluorodeoxyglucose F^18^"},
            "suv": {"dose_bq": 3.44e8, "uptake_s": 3600.0}},
)  # fmt: skip
CASE = AssembleResult("lung", "Lung pathway.", "1.1", (CT, PET))
MODEL = ModelUse("lung-fusion", "1.0", "ab" * 32, ("CT", "PET"), ("CT",), "Trained on synthetic.")
INFERRED = InferResult(volume("heatmap", "OTHER", "AI"), MODEL, None, 0.93, "a suspicious nodule")


def registration(uid: str, state: Any, verdict: Any = "usable", **more: Any) -> RegistrationRecord:
    return RegistrationRecord(uid, "1.1", state, IDENTITY, "rigid", "1", verdict, **more)


REGISTERED = RegisterResult((registration("1.1", "reference"), registration("1.2", "same_frame")))


def nodule(number: int, **more: Any) -> FindingRecord:
    base: dict[str, Any] = {
        "label": "Lung nodule", "location": "right upper lung zone", "laterality": "right",
        "probability": 0.914, "position": (0.0, 0.0, 0.0), "long_axis_mm": 18.4,
        "short_axis_mm": 14.6, "volume_ml": 2.149, "suv_max": 7.449, "suv_peak": 6.05,
        "suv_mean": 4.51,
        "evidence": {"suspicious_probability": 0.914, "pet": {"mtv_ml": 2.3}},
    }  # fmt: skip
    return FindingRecord(number=number, tracking_uid=f"2.25.{number}", **(base | more))


def draft(*findings: FindingRecord, **more: Any) -> tuple[SentenceRecord, ...]:
    return draft_report(
        more.get("case", CASE),
        more.get("registered", REGISTERED),
        more.get("inferred", INFERRED),
        MeasureResult(findings, None, more.get("notices", ())),
    ).sentences


def texts(sentences: tuple[SentenceRecord, ...], section: str) -> list[str]:
    return [s.text for s in sentences if s.section == section]


def test_a_finding_is_said_with_rounded_numbers() -> None:
    (text,) = [s.text for s in draft(nodule(1)) if s.section == "findings" and s.finding == 1]
    assert text == (
        "Lung nodule, right upper lung zone: 18 × 15 mm, volume 2.1 ml; "
        "SUVmax 7.4, SUVpeak 6.0, SUVmean 4.5, metabolic volume 2.3 ml; "
        "AI probability that it is suspicious 0.91."
    )


def test_every_sentence_has_a_finding_or_a_basis() -> None:
    for sentences in (draft(), draft(nodule(1), nodule(2))):
        assert len(sentences) > 5
        for said in sentences:
            assert bool(said.finding) != bool(said.basis), said
            assert re.search(r"[.]$", said.text), said.text


def test_every_finding_is_named_once_in_findings_and_in_the_impression() -> None:
    sentences = draft(nodule(1), nodule(2), nodule(3))
    for section in ("findings", "impression"):
        named = [s.finding for s in sentences if s.section == section and s.finding]
        assert sorted(named) == [1, 2, 3]


def test_impression_starts_with_the_most_important() -> None:
    small = nodule(1, probability=0.2)
    sure = nodule(2, probability=0.97)
    contour = nodule(3, probability=None, label="Delivered contour GTV")
    sentences = draft(small, sure, contour)
    named = [s.finding for s in sentences if s.section == "impression" and s.finding]
    assert named == [3, 2, 1]
    numbers = [int(t.split(".")[0]) for t in texts(sentences, "impression")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_a_long_impression_counts_the_rest() -> None:
    sentences = draft(*(nodule(n) for n in range(1, IMPRESSION_LIMIT + 4)))
    rest = f"{IMPRESSION_LIMIT + 1}. 3 more finding(s), see above."
    assert rest in texts(sentences, "impression")


def test_a_negative_is_said_only_for_a_check_that_ran() -> None:
    assert any("No candidate above probability" in t for t in texts(draft(), "findings"))
    nothing_ran = draft(
        inferred=InferResult(None, None, None, None),
        case=replace(CASE, volumes=(CT,)),
        registered=RegisterResult(REGISTERED.registrations[:1]),
    )
    assert texts(nothing_ran, "findings") == []
    (only,) = texts(nothing_ran, "impression")
    assert "without AI help" in only


@pytest.mark.parametrize("code", ["candidate_not_measurable", "more_candidates"])
def test_candidates_left_out_are_said_in_place_of_the_negative(code: str) -> None:
    said = texts(draft(nodule(1), notices=(Notice(code, "2 candidates left out."),)), "findings")
    assert "2 candidates left out." in said
    assert not any(text.startswith("No further") for text in said)


def test_without_pet_no_uptake_is_said() -> None:
    plain = nodule(1, suv_max=None, suv_peak=None, suv_mean=None, evidence={})
    registered = RegisterResult(REGISTERED.registrations[:1])
    text = " ".join(
        s.text for s in draft(plain, case=replace(CASE, volumes=(CT,)), registered=registered)
    )
    assert "SUV" not in text
    assert "metabolic" not in text


def test_uptake_that_does_not_stand_out_is_said_so() -> None:
    cold = nodule(1, evidence={"pet": {"mtv_ml": None}})
    assert "not distinct from its surroundings" in texts(draft(cold), "findings")[0]


def test_technique_names_tracer_registration_and_model() -> None:
    told = texts(draft(), "technique")
    assert "Fluorodeoxyglucose F-18, 344 MBq, uptake 60 min; SUV normalised to body weight." in told
    assert "PET (SUVbw) lies in the frame of reference of CT." in told
    assert "AI draft: lung-fusion 1.0, with CT, without PET. Trained on synthetic." in told


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            registration("1.2", "registered", quality=(QualityFigure("estimated_error", 0.4637,
                                                                     "mm", ""),)),
            "PET (SUVbw) was registered to CT: rigid (estimated error 0.46 mm).",
        ),
        (
            registration("1.2", "not_registered", "refused", reasons=("too little overlap",)),
            "PET (SUVbw) is not fused with CT: too little overlap.",
        ),
        (
            registration("1.2", "same_frame", "doubtful"),
            "PET (SUVbw) lies in the frame of reference of CT; verdict doubtful.",
        ),
    ],
)
def test_registration_is_told_as_it_is(record: RegistrationRecord, expected: str) -> None:
    registered = RegisterResult((REGISTERED.registrations[0], record))
    assert expected in texts(draft(registered=registered), "technique")


def test_synthetic_patients_are_named_first() -> None:
    case = replace(CASE, volumes=(replace(CT, synthetic=True), PET))
    assert texts(draft(case=case), "technique")[0].startswith("SYNTHETIC patient")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (millimetres(18.4, 14.6), "18 × 15 mm"),
        (millimetres(0.3), "1 mm"),
        (millilitres(0.04), "less than 0.1 ml"),
        (millilitres(0.06), "0.1 ml"),
        (probability(0.999), "above 0.99"),
        (probability(0.001), "below 0.01"),
        (probability(0.985), "0.98"),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (sentence("no finding."), "No finding."),
    ],
)
def test_wording(said: str, expected: str) -> None:
    assert said == expected


def test_priors_stand_under_comparison_with_what_became_of_them() -> None:
    prior = replace(
        volume("old", "CT", "CT (prior 2025-03-05)"), prior=True, study_date="2025-03-05"
    )
    said = draft(
        case=replace(CASE, volumes=(CT, PET, prior)),
        registered=RegisterResult(
            (*REGISTERED.registrations, registration("old", "registered"))
        ),
    )
    (comparison,) = texts(said, "comparison")
    assert comparison.startswith("CT (prior 2025-03-05) was registered to CT")
    assert not any("prior" in text for text in texts(said, "technique"))
    assert texts(draft(), "comparison") == ["No prior study in this case."]
