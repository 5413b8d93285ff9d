"""The model card of a bundle: what it is for, what it saw, how well it did, where it fails.

Everything but the measured figures follows from the plan and the contract. The figures are put in
by the benchmark (``python -m tests.benchmarks.fusion_ablation --write-cards``) between two marks;
a card whose weights were not measured says so.
"""

from __future__ import annotations

import datetime as dt
import re

from analysis.fusion.bundle import Contract, Normalisation
from analysis.training.plans import SEEDS, Plan

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOT_MEASURED = "Not measured yet: these weights have not been through the benchmark."

SECTIONS = (
    "Intended use",
    "Inputs",
    "Outputs",
    "Training, validation and test data",
    "Measured performance",
    "Calibration",
    "Known failures and limits",
    "Explainability",
    "Monitoring",
    "Ethics and privacy",
    "Change log",
)


def _rule(name: str, rule: Normalisation) -> str:
    low, high = rule.clip
    if rule.kind == "zscore":
        return f"{name}: any scale; z-score over the foreground, clipped to {low:g}..{high:g}"
    first, last = rule.output
    return f"{name}: {rule.unit}, clipped to {low:g}..{high:g}, mapped to {first:g}..{last:g}"


def render_card(
    plan: Plan, contract: Contract, name: str, version: str, parameters: int
) -> str:
    """The card as Markdown."""
    training = contract.training
    if contract.task == "segmentation":
        what = f"3-D U-Net (MONAI `UNet`, {parameters:,} weights), {len(plan.channels)} channels"
        outputs = [
            f"- `{o}`: probability per voxel" + (" (the heatmap)" if o == plan.primary else "")
            for o in contract.outputs
        ]
        window = f"sliding windows of {contract.window} voxels, a quarter overlapping"
    else:
        what = (
            f"3-D DenseNet121 (MONAI `DenseNet121`, {parameters:,} weights), "
            f"{len(plan.channels)} channels. It has the depth of DenseNet121 but fewer features "
            "a layer (24 first, 12 more a layer, instead of 64 and 32), so that it stays small"
        )
        outputs = [f"- one probability: {contract.label}"]
        window = (
            f"one crop of {contract.window} samples, {plan.spacing_mm / contract.zoom:g} mm apart, "
            + (
                "around every candidate of the segmentation network's primary map, which is then "
                "multiplied by the answer; the case gets the highest answer"
                if contract.judges_candidates
                else "around the peak of the segmentation network's heatmap"
            )
        )
    lines = [
        f"# {name} {version}",
        "",
        "**RESEARCH USE ONLY — NOT FOR DIAGNOSTIC USE.**",
        "",
        f"{what}. It {plan.task_words}."
        if contract.task == "segmentation"
        else f"{what}. It gives one probability a case: {contract.label}.",
        "",
        f"- Weights: `models/model.pt`, half precision, SHA-256 `{contract.weights_sha256}`",
        f"- Made: {training.get('date', dt.date.today().isoformat())}; "
        "owner: the Radfuse developers; licence: Apache-2.0",
        f"- Trained by: `{training.get('command', 'not recorded')}`",
        "",
        f"## {SECTIONS[0]}",
        "",
        plan.intended_use,
        "Out of scope: diagnosis, screening, treatment decisions, triage without a reader, "
        "any patient whose images differ from those described below.",
        "",
        f"## {SECTIONS[1]}",
        "",
        f"Registered series on one grid of {plan.spacing_mm:g} mm cubes along the patient axes, "
        f"cropped to the body; {window}. Values (CT and PET as DICOM gives them after rescale; "
        "PET as SUVbw):",
        "",
        *[f"- {_rule(c, contract.normalisation[c])}" for c in contract.channels],
        "",
        "A missing series is given as zeros after normalisation; the network was trained with "
        "channels left out at random. Needed at least: "
        + (" or ".join(contract.minimum or contract.channels))
        + ".",
        "",
        f"## {SECTIONS[2]}",
        "",
        *outputs,
        "",
        f"## {SECTIONS[3]}",
        "",
        contract.training_data,
        "No real patient was used, so there is no site, year, scanner or demographic mix to "
        "report; that also means that nothing is known about performance on real patients.",
        "",
        *[f"- {key.replace('_', ' ')}: {value}" for key, value in sorted(training.items())],
        f"- seeds: training from {SEEDS['train']}, validation from {SEEDS['validation']}, "
        f"test from {SEEDS['test']}; the parts do not overlap",
        "- labels: exact, from the phantom's own geometry",
        "",
        f"## {SECTIONS[4]}",
        "",
        BEGIN,
        NOT_MEASURED,
        END,
        "",
        f"## {SECTIONS[5]}",
        "",
        f"Logits are divided by a temperature of {contract.temperature:.3f}"
        + (
            ", fitted by log-loss on the validation patients."
            if contract.task == "classification"
            else "; the map's probabilities are not calibrated beyond the training loss."
        )
        + " On real patients the probabilities mean nothing until recalibrated there.",
        "",
        f"## {SECTIONS[6]}",
        "",
        *[f"- {limit}" for limit in plan.limits],
        "- A missing channel lowers accuracy; see the table. The workstation names it.",
        "- A registration that is off by more than about 3 mm moves or splits what is marked.",
        "",
        f"## {SECTIONS[7]}",
        "",
        "The heatmap is the network's own output, not a saliency map: it says where, not why. "
        "The classifier gives no explanation.",
        "",
        f"## {SECTIONS[8]}",
        "",
        "Every result records name, version, hash and channels of the model. Watch the share of "
        "findings that readers reject; retrain or withdraw when it changes.",
        "",
        f"## {SECTIONS[9]}",
        "",
        "No patient data. The danger is trust: results on real images look convincing and are "
        "unproven. Every screen and export says so.",
        "",
        f"## {SECTIONS[10]}",
        "",
        f"- {version}: first release.",
        "",
    ]
    return "\n".join(lines)


def with_measured(card: str, measured: str) -> str:
    """The card with its measured part replaced; ValueError when the marks are missing."""
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    if not pattern.search(card):
        raise ValueError("the card has no place for measured figures")
    return pattern.sub(lambda _: f"{BEGIN}\n{measured.strip()}\n{END}", card, count=1)
