"""Train a pathway's classifier on crops around lesions and what is taken for them.

``python -m analysis.training.classification --pathway lung --out analysis/models/lung_fusion_cls``

At inference the crop lies around the peak of the segmentation network's heatmap: on a lesion, or,
when the network is misled, on something hot that is none. Training crops lie there too.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.networks.nets import DenseNet121

from analysis.fusion.bundle import load_network, read_bundle
from analysis.fusion.channels import crop_around
from analysis.training.patients import Patient, draft_contract, load_part
from analysis.training.plans import PLANS, Plan
from analysis.training.publish import write_bundle
from analysis.training.sampling import draw_window, keep_channels
from analysis.training.scoring import auc
from analysis.training.segmentation import arguments, earlier, say, training_data

TURN_DEG = 25.0
"""Crops are turned more than segmentation windows: places are few, and any pose is possible."""
HOT_PLACES = 2
"""Hottest places without a lesion taken from each patient: heart, hilar node, clot, cortex."""
APART = 6
"""Voxels between two such places, and between them and a lesion."""


@dataclass(frozen=True, eq=False)
class Site:
    """A place in a patient a crop may lie around, and what the classifier should say there."""

    patient: Patient
    centre: npt.NDArray[np.float64]
    """Voxel (z, y, x)."""
    target: bool


def hot_places(patient: Patient, plan: Plan) -> list[npt.NDArray[np.float64]]:
    """The hottest PET voxels away from every label and from each other."""
    labels = patient.labels.any(axis=0)
    heat = np.where(labels, 0.0, patient.image[plan.channels.index("PET")])
    far = [np.argwhere(labels).mean(axis=0)] if labels.any() else []
    found: list[npt.NDArray[np.float64]] = []
    for index in np.argsort(heat, axis=None)[::-1][:4000]:
        place = np.array(np.unravel_index(int(index), heat.shape), dtype=float)
        near_lesion = any(np.abs(place - c).max() < APART for c in [*patient.centres, *far])
        if near_lesion or any(np.abs(place - c).max() < APART for c in found):
            continue
        found.append(place)
        if len(found) == HOT_PLACES:
            break
    return found


def find_sites(patients: list[Patient], plan: Plan) -> list[Site]:
    """Lung: every nodule, whether it is avid; hot places, which are no lesion. Glioma: the tumour
    and hot places beside it, always the grade of the patient's one tumour."""
    sites = []
    for patient in patients:
        lung = plan.pathway == "lung"
        for centre, avid in zip(patient.centres, patient.suspicious, strict=True):
            target = bool(avid) if lung else patient.high_risk
            sites.append(Site(patient, centre.astype(float), target))
        for centre in hot_places(patient, plan):
            sites.append(Site(patient, centre, False if lung else patient.high_risk))
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
        centre = site.centre + rng.uniform(-3, 3, 3)
        kept = keep_channels(plan, rng)
        image, _ = draw_window(
            site.patient, centre, plan.crop, plan, rng, kept, zoom=plan.zoom, turn_deg=TURN_DEG
        )
        images.append(image)
        targets.append(float(site.target))
    return torch.stack(images), torch.tensor(targets)[:, None]


def channel_sets(plan: Plan) -> dict[str, list[bool]]:
    """The sets of channels a network is checked with."""
    pet = [c == "PET" for c in plan.channels]
    return {
        "all channels": [True] * len(pet),
        "without PET": [not p for p in pet],
        "PET only": pet,
    }


def judge(
    network: torch.nn.Module, sites: list[Site], plan: Plan
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """(logits [set, site], truth [set, site]) for every set of channels."""
    rows = []
    with torch.inference_mode():
        for kept in channel_sets(plan).values():
            row = []
            for site in sites:
                image = site.patient.image.copy()
                image[~np.array(kept)] = 0.0
                z, y, x = (int(v) for v in np.rint(site.centre))
                crop = crop_around(image, (z, y, x), plan.crop, plan.zoom)
                row.append(float(network(torch.from_numpy(crop)[None]).item()))
            rows.append(row)
    return np.array(rows), np.array([[s.target for s in sites]] * len(rows))


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
    source = (options.cache, options.phantoms)
    sites = find_sites(load_part(plan, "train", options.patients, *source), plan)
    checks = find_sites(load_part(plan, "validation", options.checks, *source), plan)
    say(f"{len(sites)} places, {sum(s.target for s in sites)} with the target")
    network = DenseNet121(**{k: v for k, v in plan.classifier().items() if k != "_target_"})
    if options.start:
        network.load_state_dict(load_network(read_bundle(options.start), "cpu").state_dict())
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
        "validation_auc_of_places": dict(
            zip(channel_sets(plan), np.round(areas, 4).tolist(), strict=True)
        ),
    }
    record |= earlier(options.start)
    contract = replace(
        draft_contract(plan),
        task="classification",
        outputs=("probability",),
        primary="probability",
        label=plan.case_label,
        window=plan.crop,
        zoom=plan.zoom,
        judges_candidates=plan.judges_candidates,
        temperature=round(temperature, 4),
        training_data=training_data(plan, options),
        training=record,
    )
    write_bundle(options.out, plan, contract, plan.classifier(), None, network.state_dict())


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--iterations", type=int, default=1500)
    parser.add_argument("--check-every", type=int, default=200)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    train(PLANS[options.pathway], options)


if __name__ == "__main__":
    main()
