"""Does fusion pay? The shipped networks on held-out synthetic patients, channels taken away.

``python -m tests.benchmarks.fusion_ablation --patients 40`` prints one table a pathway.
``--write-cards`` also puts it into the model cards and analysis/fusion/README.md.

The test patients' seeds were never used in training. Each row is the same network, trained with
channels left out at random, given fewer channels; it is not a network trained for those channels
alone. Series lie where their true transforms put them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from analysis.fusion.bundle import SHIPPED, Bundle, find_bundle, load_network
from analysis.fusion.channels import FloatArray
from analysis.fusion.inference import Voxel, classify, judge_candidates, peak, segment
from analysis.phantoms.model import VERSION as PHANTOM_VERSION
from analysis.training.card import with_measured
from analysis.training.patients import Patient, load_part
from analysis.training.plans import PLANS, SEEDS, Plan
from analysis.training.scoring import (
    Estimate,
    auc,
    auc_difference,
    bootstrap_mean,
    detect,
    dice,
)

README = Path(__file__).resolve().parents[2] / "analysis" / "fusion" / "README.md"


@dataclass
class Row:
    """What one set of channels gave, patient by patient."""

    name: str
    kept: frozenset[str]
    dice: list[float] = field(default_factory=list)
    """Of the primary output, patients who have the target only."""
    other_dice: list[float] = field(default_factory=list)
    false_positives: list[float] = field(default_factory=list)
    lesions: int = 0
    found: int = 0
    probabilities: list[float] = field(default_factory=list)


def rows_of(plan: Plan) -> list[Row]:
    """All channels; the single modalities; each channel left out."""
    every = frozenset(plan.channels)
    if plan.pathway == "lung":
        singles = [Row(f"{c} only", frozenset({c})) for c in plan.channels]
        return [Row("CT and PET", every), *singles]
    rows = [Row("all five", every)]
    rows += [
        Row("without PET (MR only)" if c == "PET" else f"without {c}", every - {c})
        for c in plan.channels
    ]
    return [*rows, *[Row(f"{c} only", frozenset({c})) for c in ("T1c", "FLAIR", "PET")]]


def _ask(
    network: torch.nn.Module, cls: Bundle, image: FloatArray, device: str, voxel: Voxel
) -> float:
    return classify(network, cls, image, voxel, device)


def measure(
    patients: list[Patient], plan: Plan, seg: Bundle, cls: Bundle, device: str
) -> tuple[list[Row], list[bool]]:
    """Run both networks for every patient and every set of channels."""
    segmenter, judge = load_network(seg, device), load_network(cls, device)
    primary = plan.outputs.index(plan.primary)
    rows = rows_of(plan)
    truth: list[bool] = []
    for number, patient in enumerate(patients, start=1):
        truth.append(patient.high_risk)
        labels = patient.labels.astype(bool)
        for row in rows:
            image = patient.image.copy()
            image[[c not in row.kept for c in plan.channels]] = 0.0
            maps = segment(segmenter, seg, image, device)
            ask = partial(_ask, judge, cls, image, device)
            if cls.contract.judges_candidates:
                maps[primary], probability = judge_candidates(maps[primary], ask)
            else:
                probability = ask(peak(maps[primary]))
            row.probabilities.append(probability)
            marked = maps >= 0.5
            if labels[primary].any():
                row.dice.append(dice(marked[primary], labels[primary]))
            other = 1 - primary
            if labels[other].any():
                row.other_dice.append(dice(marked[other], labels[other]))
            counts = detect(
                marked[primary],
                labels[primary],
                patient.centres[patient.suspicious],
                patient.diameters_mm[patient.suspicious] / 2 / plan.spacing_mm,
            )
            row.false_positives.append(float(counts.false_positives))
            row.lesions += counts.lesions
            row.found += counts.found
        print(f"{plan.pathway}: {number}/{len(patients)}", file=sys.stderr, flush=True)
    return rows, truth


def wilson(hits: int, total: int) -> Estimate:
    """A share with Wilson's 95 % interval."""
    if total == 0:
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    z, share = 1.959963984540054, hits / total
    middle = share + z * z / (2 * total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return Estimate(share, float((middle - half) / scale), float((middle + half) / scale), total)


def p_text(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def table(plan: Plan, rows: list[Row], truth: list[bool], seg: Bundle, cls: Bundle) -> str:
    """Markdown: a sentence on the data, the table, what the columns mean."""
    other = plan.outputs[1 - plan.outputs.index(plan.primary)]
    with_target = len(rows[0].dice)
    lines = [
        f"{len(truth)} held-out synthetic patients (analysis/phantoms {PHANTOM_VERSION}, seeds "
        f"from {SEEDS['test']}), {with_target} with the target `{plan.primary}`, {sum(truth)} of "
        "the kind the classifier looks for. Weights: "
        f"{seg.name} `{seg.contract.weights_sha256[:12]}`, "
        f"{cls.name} `{cls.contract.weights_sha256[:12]}`.",
        "",
        f"| channels | Dice `{plan.primary}` | difference to all | Dice `{other}` | "
        "lesions found | false marks a patient | AUC | p |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    full = rows[0]
    for row in rows:
        difference, p = "", ""
        if row is not full:
            gaps = [a - b for a, b in zip(row.dice, full.dice, strict=True)]
            difference = str(bootstrap_mean(gaps))
            p = p_text(auc_difference(full.probabilities, row.probabilities, truth)[1])
        lines.append(
            f"| {row.name} | {bootstrap_mean(row.dice)} | {difference} | "
            f"{bootstrap_mean(row.other_dice)} | {wilson(row.found, row.lesions)} | "
            f"{bootstrap_mean(row.false_positives)} | {auc(row.probabilities, truth)} | {p} |"
        )
    lines += [
        "",
        "In brackets 95 % intervals: Dice and false marks by bootstrap over patients, lesions by "
        "Wilson, AUC by DeLong on the logit scale. Dice: patients who have the target, threshold "
        "0.5, 3 mm grid. A lesion is found when a mark reaches within its radius of its centre; a "
        "false mark touches no lesion. "
        "p: paired DeLong, AUC of all channels against that row. Fewer channels: the same network "
        "(trained with channels left out at random), not one trained for them alone.",
    ]
    return "\n".join(lines)


def replace_part(path: Path, begin: str, end: str, text: str) -> None:
    content = path.read_text("utf-8")
    head, rest = content.split(begin, 1)
    _, tail = rest.split(end, 1)
    path.write_text(f"{head}{begin}\n{text}\n{end}{tail}", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--pathway", choices=sorted(PLANS), action="append")
    parser.add_argument("--models", type=Path, default=SHIPPED)
    parser.add_argument("--cache", type=Path, default=Path("var/training"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write-cards", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.pathway or sorted(PLANS):
        plan = PLANS[name]
        seg = find_bundle(options.models, name, "segmentation")
        cls = find_bundle(options.models, name, "classification")
        if seg is None or cls is None:
            sys.exit(f"no bundles for {name} in {options.models}")
        patients = load_part(plan, "test", options.patients, options.cache)
        rows, truth = measure(patients, plan, seg, cls, options.device)
        text = table(plan, rows, truth, seg, cls)
        print(f"\n## {name}\n\n{text}\n", flush=True)
        if options.write_cards:
            for bundle in (seg, cls):
                card = bundle.path / "docs" / "README.md"
                card.write_text(with_measured(card.read_text("utf-8"), text), "utf-8")
            replace_part(README, f"<!-- {name}: begin -->", f"<!-- {name}: end -->", text)


if __name__ == "__main__":
    main()
