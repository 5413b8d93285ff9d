"""Train a pathway's segmentation network on synthetic patients and write it as a bundle.

``python -m analysis.training.segmentation --pathway lung --out analysis/models/lung_fusion_seg``

The bundle is written at every improvement on the validation patients, so the run may be stopped
at any time. The same seed and iterations give the same network on the same machine; with
``--minutes`` the clock decides, and the card says how far it came.
"""

from __future__ import annotations

import argparse
import copy
import datetime as dt
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet

from analysis.fusion.bundle import load_network, read_bundle
from analysis.fusion.channels import FloatArray
from analysis.phantoms.model import VERSION as PHANTOM_VERSION
from analysis.training.patients import Patient, draft_contract, load_part
from analysis.training.plans import PLANS, Plan
from analysis.training.publish import write_bundle
from analysis.training.sampling import choose_centre, draw_window, keep_channels
from analysis.training.scoring import dice

EMA = 0.99
"""The network that is kept is a running mean of the weights: steadier than the last step's."""


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def draw_batch(
    patients: list[Patient], plan: Plan, rng: np.random.Generator, size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(image [n, channel, z, y, x], labels [n, output, z, y, x])."""
    images, labels = [], []
    for _ in range(size):
        patient = patients[int(rng.integers(len(patients)))]
        centre = choose_centre(patient, plan, rng)
        kept = keep_channels(plan, rng)
        image, label = draw_window(patient, centre, plan.patch, plan, rng, kept)
        images.append(image)
        labels.append(label)
    return torch.stack(images), torch.stack(labels)


def predict(network: torch.nn.Module, image: FloatArray, plan: Plan) -> FloatArray:
    """Probabilities [output, z, y, x] of a prepared image, in fewer windows than inference."""
    inferer = SlidingWindowInferer(plan.patch, sw_batch_size=1, overlap=0.1, mode="gaussian")
    with torch.inference_mode():
        logits = inferer(torch.from_numpy(image)[None], network)
    return np.asarray(torch.sigmoid(logits[0]).numpy(), dtype=np.float32)


def validate(network: torch.nn.Module, patients: list[Patient], plan: Plan) -> list[float]:
    """Mean Dice of each output over whole validation patients with every channel.

    Patients without the label count by whether nothing is marked, as 0 or 1; they are few and
    few of them are right early on, which is what drives the choice away from false positives.
    """
    scores = []
    for patient in patients:
        maps = predict(network, patient.image, plan)
        scores.append(
            [dice(m >= 0.5, t > 0) for m, t in zip(maps, patient.labels, strict=True)]
        )
    return [float(v) for v in np.mean(scores, axis=0)]


def train(plan: Plan, options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    source = (options.cache, options.phantoms)
    patients = load_part(plan, "train", options.patients, *source)
    checks = load_part(plan, "validation", options.checks, *source)
    config = plan.network()
    network = UNet(**{k: v for k, v in config.items() if k != "_target_"})
    if options.start:
        network.load_state_dict(load_network(read_bundle(options.start), "cpu").state_dict())
    network = network.to(memory_format=torch.channels_last_3d)  # a third faster on CPUs
    kept = copy.deepcopy(network)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-4)
    started, best, step = time.monotonic(), -1.0, 0
    losses: list[float] = []
    while True:
        minutes = (time.monotonic() - started) / 60
        done = max(step / options.iterations, minutes / options.minutes)
        # One warm-up, then a cosine to zero over what is left of steps or time.
        rate = options.rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * np.cos(np.pi * min(1, done)))
        for group in optimiser.param_groups:
            group["lr"] = rate
        if done >= 1 or (step and step % options.check_every == 0):
            scores = validate(kept.eval(), checks, plan)
            score = float(np.mean(scores))
            say(
                f"{plan.pathway} step {step} ({minutes:.1f} min) loss {np.mean(losses[-200:]):.3f} "
                f"dice {dict(zip(plan.outputs, np.round(scores, 3).tolist(), strict=True))}"
            )
            if score > best:
                best = score
                publish(plan, options, kept, step, minutes, scores)
            if done >= 1:
                return
        image, label = draw_batch(patients, plan, rng, options.batch)
        network.train()
        loss = loss_of(network(image.contiguous(memory_format=torch.channels_last_3d)), label)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        step += 1
        decay = min(EMA, step / (step + 10))
        with torch.no_grad():
            for mean, now in zip(kept.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)


def training_data(plan: Plan, options: argparse.Namespace) -> str:
    """The statement in metadata and model card."""
    return (
        f"Trained only on synthetic patients made by analysis/phantoms {options.phantoms}: "
        f"{options.patients} {plan.body} phantoms, half of them with {plan.target_words}; "
        f"chosen on {options.checks} others."
    )


def publish(
    plan: Plan,
    options: argparse.Namespace,
    network: torch.nn.Module,
    step: int,
    minutes: float,
    scores: list[float],
) -> None:
    record: dict[str, Any] = {
        "date": dt.date.today().isoformat(),
        "command": f"python -m analysis.training.segmentation --pathway {plan.pathway} "
        f"--seed {options.seed} --patients {options.patients} --iterations {options.iterations} "
        f"--minutes {options.minutes:g} --batch {options.batch}",
        "seed": options.seed,
        "iterations_done": step,
        "batch_size": options.batch,
        "minutes": round(minutes, 1),
        "loss": "Dice and cross-entropy",
        "optimiser": f"AdamW, {options.rate:g}, cosine to zero; running mean of the weights",
        "validation_dice": dict(zip(plan.outputs, [round(s, 4) for s in scores], strict=True)),
    }
    record |= earlier(options.start)
    contract = replace(
        draft_contract(plan),
        training_data=training_data(plan, options),
        training=record,
    )
    write_bundle(
        options.out, plan, contract, plan.network(), plan.inferer(), network.state_dict()
    )


def earlier(start: Path | None) -> dict[str, Any]:
    """What the record says of the weights a training went on from."""
    if start is None:
        return {}
    first = read_bundle(start).contract
    before = {k: v for k, v in first.training.items() if k == "continued_from"}
    return {
        "continued_from": {
            "sha256": first.weights_sha256,
            "iterations": first.training["iterations_done"],
            "data": first.training_data,
        }
        | before
    }


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that both training scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pathway", choices=sorted(PLANS), required=True)
    parser.add_argument("--out", type=Path, required=True, help="bundle folder to write")
    parser.add_argument("--cache", type=Path, default=Path("var/training"), help="made patients")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--patients", type=int, default=110)
    parser.add_argument("--checks", type=int, default=14, help="validation patients")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after so long")
    parser.add_argument("--start", type=Path, help="bundle whose weights to go on from")
    parser.add_argument(
        "--phantoms", default=PHANTOM_VERSION, help="version whose cached patients are used"
    )
    parser.add_argument("--threads", type=int, default=2)
    return parser


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--check-every", type=int, default=200)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    options = parser.parse_args()
    train(PLANS[options.pathway], options)


if __name__ == "__main__":
    main()
