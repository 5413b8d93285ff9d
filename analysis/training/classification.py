"""Train a pathway's classifier on crops around what the segmentation network points at.

``python -m analysis.training.classification --pathway lung \
    --segmentation analysis/models/lung_fusion_seg --out analysis/models/lung_fusion_cls``

Needs the trained segmentation bundle: at inference the crop lies around the peak of its heatmap,
so training crops lie there too (for every set of channels), and around the true lesions.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import DenseNet121

from analysis.fusion.bundle import Bundle, load_network, read_bundle
from analysis.fusion.channels import crop_around
from analysis.fusion.inference import peak, segment
from analysis.training.patients import Patient, draft_contract, load_part
from analysis.training.plans import PLANS, Plan
from analysis.training.publish import write_bundle
from analysis.training.sampling import draw_window, keep_channels
from analysis.training.scoring import auc
from analysis.training.segmentation import arguments, say, training_data

NEAR_MM = 9.0
"""A place this close to a suspicious lesion's voxels counts as showing that lesion."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place in a patient a crop may lie around, and what it shows there."""

    patient: Patient
    centre: npt.NDArray[np.float64]
    """Voxel (z, y, x)."""
    target: bool
    kept: tuple[bool, ...] | None
    """The channels this place was found with; None: any."""


def channel_sets(plan: Plan) -> list[tuple[bool, ...]]:
    """All channels; all but PET; PET alone: the sets a heatmap's peak is taken for."""
    pet = [c == "PET" for c in plan.channels]
    return [tuple(True for _ in pet), tuple(not p for p in pet), tuple(pet)]


def shows_target(patient: Patient, centre: npt.NDArray[np.float64], plan: Plan) -> bool:
    """Whether the classifier's answer at this place should be yes.

    Lung: an avid lesion lies there. Glioma: the patient's tumour is of high grade, wherever the
    peak lies, since a patient has one tumour and the question is its grade.
    """
    if plan.pathway == "glioma":
        return patient.high_risk
    primary = patient.labels[plan.outputs.index(plan.primary)]
    reach = round(NEAR_MM / plan.spacing_mm)
    low = np.maximum(np.rint(centre).astype(int) - reach, 0)
    region = tuple(slice(a, a + 2 * reach + 1) for a in low)
    return bool(primary[region].any())


def find_sites(patients: list[Patient], plan: Plan, seg: Bundle) -> list[Site]:
    """Heatmap peaks for each set of channels, and every true lesion."""
    network = load_network(seg, "cpu")
    sites = []
    for number, patient in enumerate(patients, start=1):
        for kept in channel_sets(plan):
            image = patient.image.copy()
            image[~np.array(kept)] = 0.0
            heat = segment(network, seg, image, "cpu")[plan.outputs.index(plan.primary)]
            centre = np.array(peak(heat), dtype=float)
            sites.append(Site(patient, centre, shows_target(patient, centre, plan), kept))
        for centre in patient.centres.astype(float):
            sites.append(Site(patient, centre, shows_target(patient, centre, plan), None))
        if number % 20 == 0:
            say(f"{plan.pathway} peaks of {number}/{len(patients)} patients")
    return sites


def draw_batch(
    sites: list[Site], plan: Plan, rng: np.random.Generator, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(crops [n, channel, z, y, x], targets [n, 1]), as many of either answer as can be."""
    groups = [[s for s in sites if s.target], [s for s in sites if not s.target]]
    images, targets = [], []
    for number in range(size):
        group = groups[number % 2]
        site = group[int(rng.integers(len(group)))]
        centre = site.centre + rng.uniform(-2, 2, 3)
        kept = list(site.kept) if site.kept and rng.random() < 0.7 else keep_channels(plan, rng)
        image, _ = draw_window(site.patient, centre, plan.crop, plan, rng, kept)
        images.append(image)
        targets.append(float(site.target))
    return torch.stack(images), torch.tensor(targets)[:, None]


def judge(
    network: torch.nn.Module, sites: list[Site], plan: Plan
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(logits, truth of the case) at the peaks, by channel set: both [set, patient]."""
    sets = channel_sets(plan)
    logits: list[list[float]] = [[] for _ in sets]
    truth: list[list[bool]] = [[] for _ in sets]
    with torch.inference_mode():
        for site in sites:
            if site.kept is None:
                continue
            image = site.patient.image.copy()
            image[~np.array(site.kept)] = 0.0
            z, y, x = (int(v) for v in site.centre)
            crop = crop_around(image, (z, y, x), plan.crop)
            row = sets.index(site.kept)
            logits[row].append(float(network(torch.from_numpy(crop)[None]).item()))
            truth[row].append(site.patient.high_risk)
    return np.array(logits), np.array(truth)


def log_loss(logits: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    return float(np.mean(np.logaddexp(0.0, np.where(truth, -logits, logits))))


def fit_temperature(logits: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    """The divisor of the logits with the least log-loss, on a fine grid from 0.5 to 8."""
    choices = np.geomspace(0.5, 8.0, 200)
    return float(choices[int(np.argmin([log_loss(logits / t, truth) for t in choices]))])


def train(plan: Plan, options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    seg = read_bundle(options.segmentation)
    sites = find_sites(load_part(plan, "train", options.patients, options.cache), plan, seg)
    checks = find_sites(load_part(plan, "validation", options.checks, options.cache), plan, seg)
    say(f"{len(sites)} places, {sum(s.target for s in sites)} with the target")
    network = DenseNet121(**{k: v for k, v in plan.classifier().items() if k != "_target_"})
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-3)
    loss_of = torch.nn.BCEWithLogitsLoss()
    started, best, step = time.monotonic(), np.inf, 0
    losses: list[float] = []
    while True:
        minutes = (time.monotonic() - started) / 60
        done = max(step / options.iterations, minutes / options.minutes)
        rate = options.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * min(1, done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        if done >= 1 or (step and step % options.check_every == 0):
            logits, truth = judge(copy.deepcopy(network).eval(), checks, plan)
            temperature = fit_temperature(logits, truth)
            score = log_loss(logits / temperature, truth)
            areas = [auc(list(p), list(t)).value for p, t in zip(logits, truth, strict=True)]
            say(
                f"{plan.pathway} step {step} ({minutes:.1f} min) loss {np.mean(losses[-200:]):.3f} "
                f"log-loss {score:.3f} T {temperature:.2f} AUC {np.round(areas, 3).tolist()}"
            )
            if score < best:
                best = score
                publish(plan, options, network, step, minutes, temperature, areas)
            if done >= 1:
                return
        image, target = draw_batch(sites, plan, rng, options.batch)
        network.train()
        loss = loss_of(network(image), target)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        step += 1


def publish(
    plan: Plan,
    options: argparse.Namespace,
    network: torch.nn.Module,
    step: int,
    minutes: float,
    temperature: float,
    areas: list[float],
) -> None:
    seg = read_bundle(options.segmentation)
    record: dict[str, Any] = {
        "date": dt.date.today().isoformat(),
        "command": f"python -m analysis.training.classification --pathway {plan.pathway} "
        f"--seed {options.seed} --patients {options.patients} --iterations {options.iterations} "
        f"--minutes {options.minutes:g} --batch {options.batch}",
        "seed": options.seed,
        "iterations_done": step,
        "batch_size": options.batch,
        "minutes": round(minutes, 1),
        "loss": "cross-entropy",
        "optimiser": f"AdamW, {options.rate:g}, cosine to zero",
        "segmentation_sha256": seg.contract.weights_sha256,
        "validation_auc": dict(
            zip(("all channels", "without PET", "PET only"), np.round(areas, 4).tolist(),
                strict=True)
        ),
    }
    contract = replace(
        draft_contract(plan),
        task="classification",
        outputs=("probability",),
        primary="probability",
        label=plan.case_label,
        window=plan.crop,
        temperature=round(temperature, 4),
        training_data=training_data(plan, options.patients, options.checks),
        training=record,
    )
    write_bundle(options.out, plan, contract, plan.classifier(), None, network.state_dict())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--segmentation", type=Path, required=True, help="trained bundle")
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--check-every", type=int, default=200)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    train(PLANS[options.pathway], options)


if __name__ == "__main__":
    main()
