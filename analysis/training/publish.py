"""Write a trained network as a bundle: weights, configuration, contract, model card, licence."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from analysis.fusion.bundle import Contract, contract_json
from analysis.training.card import render_card
from analysis.training.plans import VERSION, Plan

WORDS = {"segmentation": "seg", "classification": "cls"}


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights in half precision: half the file, no measurable loss (inference runs in single)."""
    return {k: v.half() if v.dtype == torch.float32 else v for k, v in state.items()}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _data_format(plan: Plan, contract: Contract) -> dict[str, Any]:
    """The network's input and output in MONAI's words."""
    return {
        "inputs": {
            "image": {
                "type": "image",
                "format": "magnitude",
                "modality": ", ".join(plan.channels),
                "num_channels": len(plan.channels),
                "spatial_shape": list(contract.window),
                "dtype": "float32",
                "value_range": [-5, 5],
                "is_patch_data": contract.task == "segmentation",
                "channel_def": dict(enumerate(plan.channels)),
            }
        },
        "outputs": {
            "pred": {
                "type": "image" if contract.task == "segmentation" else "probabilities",
                "format": "logits; a sigmoid each",
                "num_channels": len(contract.outputs),
                "spatial_shape": list(contract.window) if contract.task == "segmentation" else [1],
                "dtype": "float32",
                "value_range": [],
                "is_patch_data": contract.task == "segmentation",
                "channel_def": dict(enumerate(contract.outputs)),
            }
        },
    }


def write_bundle(
    folder: Path,
    plan: Plan,
    contract: Contract,
    network: dict[str, Any],
    inferer: dict[str, Any] | None,
    state: dict[str, torch.Tensor],
) -> Contract:
    """Write the whole bundle and return its contract with the weights' hash filled in.

    ``network`` and ``inferer`` are MONAI configuration; ``state`` is the network's state_dict.
    """
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(half(state), buffer)
    weights = buffer.getvalue()
    contract = replace(contract, weights_sha256=hashlib.sha256(weights).hexdigest())
    name = f"{plan.pathway}_fusion_{WORDS[contract.task]}"
    metadata = {
        "name": name,
        "version": VERSION,
        "changelog": {VERSION: "first release"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__,
        "numpy_version": np.__version__,
        "required_packages_version": {},
        "task": f"{contract.task}: {plan.task_words}",
        "description": plan.intended_use,
        "authors": "the Radfuse developers",
        "copyright": "the Radfuse developers, Apache-2.0",
        "data_source": contract.training_data,
        "data_type": "synthetic",
        "intended_use": plan.intended_use,
        "network_data_format": _data_format(plan, contract),
        "radfuse": contract_json(contract),
    }
    config = {"network_def": network} | ({"inferer": inferer} if inferer else {})
    # The hash goes in last: a bundle that is half written refuses to load.
    (folder / "models" / "model.pt").write_bytes(weights)
    _write_json(folder / "configs" / "inference.json", config)
    _write_json(folder / "configs" / "metadata.json", metadata)
    parameters = sum(v.numel() for v in state.values())
    card = render_card(plan, contract, name, VERSION, parameters)
    (folder / "docs" / "README.md").write_text(card, "utf-8")
    licence = resources.files("analysis.training").joinpath("APACHE-2.0.txt").read_text("utf-8")
    (folder / "LICENSE").write_text(licence, "utf-8")
    return contract
