"""The draft report of a case, built from the stored results of the steps before.

Nothing is said that no step has done: a negative is written only for a check that ran, a number
only from a finding's record. Sentences are short so that a reader can strike one without
rewriting its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.contracts import (
    AssembleResult,
    DraftResult,
    FindingRecord,
    InferResult,
    MeasureResult,
    ModelUse,
    RegisterResult,
    RegistrationRecord,
    SentenceRecord,
    VolumeRecord,
)
from analysis.drafting.wording import (
    listed,
    millilitres,
    millimetres,
    place,
    probability,
    sentence,
    size,
    suv,
    uptake,
)
from analysis.findings.brain import MIN_VOLUME_ML
from analysis.findings.lung import MIN_DIAMETER_MM, MIN_PROBABILITY

LEFT_OUT = frozenset({"candidate_not_measurable", "more_candidates", "more_avid_places"})
"""Notices after which "no further candidate" would be false."""
LEAST = {
    "lung": f" and {MIN_DIAMETER_MM:.0f} mm",
    "glioma": f" and {MIN_VOLUME_ML} ml",
}
"""What a candidate has to measure to count, by pathway."""
IMPRESSION_LIMIT = 5
"""Findings named in the impression; the rest is counted."""


def draft_report(
    assembled: AssembleResult,
    registered: RegisterResult,
    inferred: InferResult,
    measured: MeasureResult,
) -> DraftResult:
    """Sentences of all sections, in reading order."""
    sentences = [
        *_technique(assembled, registered, inferred),
        *_comparison(assembled, registered),
        *_findings(assembled, inferred, measured),
        *_impression(inferred, measured),
    ]
    return DraftResult(tuple(sentences))


# --- comparison ---------------------------------------------------------------------------------


def _comparison(
    assembled: AssembleResult, registered: RegisterResult
) -> list[SentenceRecord]:
    """Which earlier images the case holds and whether they can be laid over the current ones."""
    priors = [v for v in assembled.volumes if v.speaks and v.prior]
    if not priors:
        basis = "the case holds no earlier study"
        return [SentenceRecord("comparison", "No prior study in this case.", basis=basis)]
    labels = {v.series_instance_uid: v.label for v in assembled.volumes if v.speaks}
    reference = labels[assembled.reference_series_uid]
    records = {r.series_instance_uid: r for r in registered.registrations}
    return [
        SentenceRecord(
            "comparison",
            sentence(_registration(records[v.key], v.label, reference)),
            basis=f"registration {records[v.key].method}",
        )
        for v in priors
    ]


# --- technique ----------------------------------------------------------------------------------


def _technique(
    assembled: AssembleResult, registered: RegisterResult, inferred: InferResult
) -> list[SentenceRecord]:
    def say(text: str, basis: str) -> SentenceRecord:
        return SentenceRecord("technique", sentence(text), basis=basis)

    speakers = [v for v in assembled.volumes if v.speaks and not v.prior]
    labels = {v.series_instance_uid: v.label for v in speakers}
    reference = labels[assembled.reference_series_uid]
    sentences = []
    if any(v.synthetic for v in assembled.volumes):
        sentences.append(
            say("SYNTHETIC patient: made by a program, not imaged", "series marked synthetic")
        )
    ordered = sorted(speakers, key=lambda v: v.label != reference)
    names = [v.label if v.count == 1 else f"{v.label} (one of {v.count} volumes)" for v in ordered]
    sentences.append(say(f"{listed(names)}; reference series: {reference}", "series assembled"))
    sentences += [
        say(text, f"series {v.series_instance_uid}")
        for v in speakers
        if v.role == "PET" and (text := _tracer(v))
    ]
    sentences += [
        say(_registration(r, labels[r.series_instance_uid], reference), f"registration {r.method}")
        for r in registered.registrations
        if r.state != "reference" and r.series_instance_uid in labels
    ]
    for model in (inferred.segmentation_model, inferred.classifier_model):
        if model is not None:
            sentences.append(say(_model(model), f"model sha256 {model.sha256[:12]}"))
    return sentences


def _tracer(volume: VolumeRecord) -> str:
    """Tracer, dose and uptake time, as far as the series names them."""
    header, dose = volume.source.get("header", {}), volume.source.get("suv", {})
    tracer = str(header.get("tracer") or "PET tracer not named")
    parts = [re.sub(r"\^(\d+)\^", r"-\1", tracer)]  # DICOM code meanings write F^18^
    if dose.get("dose_bq"):
        parts.append(f"{float(dose['dose_bq']) / 1e6:.0f} MBq")
    if dose.get("uptake_s"):
        parts.append(f"uptake {float(dose['uptake_s']) / 60:.0f} min")
    basis = (
        "SUV normalised to body weight"
        if volume.unit.endswith("{SUVbw}")
        else f"no SUV, values in {volume.unit}"
    )
    if dose.get("entered"):
        basis += f" with {listed(dose['entered'])}"
    return f"{', '.join(parts)}; {basis}"


def _registration(record: RegistrationRecord, label: str, reference: str) -> str:
    checks = [
        f"{q.name.replace('_', ' ')} {q.value:.2g}" + ("" if q.unit == "1" else f" {q.unit}")
        for q in record.quality[:1]
    ]
    quality = f" ({'; '.join(checks)})" if checks else ""
    if record.state == "same_frame":
        text = f"{label} lies in the frame of reference of {reference}{quality}"
    elif record.state == "registered":
        text = f"{label} was registered to {reference}: {record.method}{quality}"
    else:
        why = f": {'; '.join(record.reasons)}" if record.reasons else ""
        return f"{label} is not fused with {reference}{why}"
    return text if record.verdict == "usable" else f"{text}; verdict {record.verdict}"


def _model(model: ModelUse) -> str:
    missing = [c for c in model.channels if c not in model.present]
    lack = f", without {listed(missing)}" if missing else ""
    note = model.note.rstrip(".")
    return f"AI draft: {model.name} {model.version}, with {listed(model.present)}{lack}. {note}"


# --- findings -----------------------------------------------------------------------------------


def _findings(
    assembled: AssembleResult, inferred: InferResult, measured: MeasureResult
) -> list[SentenceRecord]:
    sentences = [
        SentenceRecord("findings", _describe(f), f.number) for f in measured.findings
    ]

    def checked(text: str, basis: str) -> None:
        sentences.append(SentenceRecord("findings", sentence(text), basis=basis))

    left_out = [n for n in measured.notices if n.code in LEFT_OUT]
    for notice in left_out:
        checked(notice.message, f"notice {notice.code}")
    further = "further " if measured.findings else ""
    if left_out:
        return sentences
    if inferred.heatmap is not None:
        least = LEAST.get(assembled.pathway, "")
        checked(
            f"No {further}candidate above probability {MIN_PROBABILITY:.1f}{least} "
            "in the network's map",
            f"network map searched at {MIN_PROBABILITY}",
        )
    elif any(v.unit.endswith("{SUVbw}") for v in assembled.volumes):
        checked(
            f"No {further}focus above the PET threshold; physiological uptake is not taken out",
            "PET searched for SUVpeak 2.5 and twice the background",
        )
    return sentences


def _describe(finding: FindingRecord) -> str:
    parts = [f"{finding.label}{place(finding)}: {size(finding)}"]
    parts += _brain_parts(finding)
    if figures := uptake(finding):
        parts.append(f"{figures}{_metabolic(finding)}")
    ratio = finding.evidence.get("tumour_to_contralateral")
    if ratio:
        parts.append(f"tumour to contralateral uptake {suv(ratio)}")
    if finding.evidence.get("touches_edge"):
        parts.append("cut off by the edge of the image")
    if finding.probability is not None:
        suspicious = finding.evidence.get("suspicious_probability") is not None
        of = " that it is suspicious" if suspicious else ""
        parts.append(f"AI probability{of} {probability(finding.probability)}")
    return sentence("; ".join(parts))


def _metabolic(finding: FindingRecord) -> str:
    """Metabolic volume, or that the uptake does not stand out; empty where neither was asked."""
    figures = finding.evidence.get("pet") or {}
    if "mtv_ml" not in figures:
        return ""
    if figures["mtv_ml"] is None:
        return " (uptake not distinct from its surroundings)"
    return f", metabolic volume {millilitres(figures['mtv_ml'])}"


def _brain_parts(finding: FindingRecord) -> list[str]:
    parts = []
    core, axes = finding.evidence.get("core_ml"), finding.evidence.get("core_axes_mm")
    enhancing = finding.evidence.get("enhancing_ml")
    if core:
        parts.append(
            f"core {millilitres(core)}" + (f" ({millimetres(*axes)})" if axes else "")
        )
    if enhancing:
        parts.append(f"enhancing part {millilitres(enhancing)}")
    return parts


# --- impression ---------------------------------------------------------------------------------


def _weight(finding: FindingRecord) -> tuple[float, float]:
    """Importance: sure before unsure, then large and hot before small and cold. A delivered
    contour was drawn by a person and comes first."""
    sure = 2.0 if finding.probability is None else finding.probability
    return round(sure, 1), finding.volume_ml * (finding.suv_max or 1.0)


def _impression(inferred: InferResult, measured: MeasureResult) -> list[SentenceRecord]:
    ordered: Sequence[FindingRecord] = sorted(measured.findings, key=_weight, reverse=True)
    sentences = [
        SentenceRecord("impression", f"{number}. {_short(finding)}", finding.number)
        for number, finding in enumerate(ordered[:IMPRESSION_LIMIT], start=1)
    ]

    def add(text: str, basis: str) -> None:
        number = len(sentences) + 1
        sentences.append(SentenceRecord("impression", f"{number}. {sentence(text)}", basis=basis))

    rest = len(ordered) - IMPRESSION_LIMIT
    if rest > 0:
        add(f"{rest} more finding(s), see above", "findings measured")
    if not ordered and inferred.heatmap is not None:
        add("No finding by the checks named above; this does not exclude disease", "no finding")
    if inferred.case_probability is not None and inferred.case_label:
        add(
            f"AI probability of {inferred.case_label}: {probability(inferred.case_probability)}",
            "classifier",
        )
    if not sentences:
        add("No automatic finding; the images have to be read without AI help", "no check ran")
    return sentences


def _short(finding: FindingRecord) -> str:
    hot = f", SUVmax {suv(finding.suv_max)}" if finding.suv_max is not None else ""
    axes = millimetres(finding.long_axis_mm, finding.short_axis_mm)
    return sentence(f"{finding.label}{place(finding)}, {axes}{hot} (finding {finding.number})")
