"""A bundle may come from anywhere: what is not what it says is refused before it is opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from analysis.errors import ModelError
from analysis.fusion.bundle import find_bundle, load_network, read_bundle
from analysis.fusion.inference import judge_candidates
from analysis.training.card import with_measured
from analysis.training.patients import draft_contract
from analysis.training.plans import PLANS
from analysis.training.publish import write_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle with untrained weights, written as training writes it."""
    plan = PLANS["lung"]
    torch.manual_seed(1)
    network = UNet(**{k: v for k, v in plan.network().items() if k != "_target_"})
    write_bundle(
        tmp_path / "mine",
        plan,
        draft_contract(plan),
        plan.network(),
        plan.inferer(),
        network.state_dict(),
    )
    return tmp_path / "mine"


def edit(path: Path, *keys: str, value: Any) -> None:
    content = json.loads(path.read_text("utf-8"))
    node = content
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    path.write_text(json.dumps(content), "utf-8")


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_network(read_bundle(folder), "cpu")
    assert "/" not in error.value.message.replace("configs/", "").replace("models/", "").replace(
        "analysis/fusion/README.md", ""
    ).replace("mine/", "")
    return error.value.code


def test_a_written_bundle_is_found_and_loads(folder: Path) -> None:
    bundle = find_bundle(folder.parent, "lung", "segmentation")
    assert bundle is not None
    network = load_network(bundle, "cpu")
    assert not network.training
    with torch.inference_mode():
        out = network(torch.zeros(1, 2, 16, 16, 16))
    assert out.shape == (1, 2, 16, 16, 16)
    assert out.dtype == torch.float32
    assert find_bundle(folder.parent, "lung", "classification") is None
    assert find_bundle(folder.parent, "glioma", "segmentation") is None


def test_one_changed_byte_of_the_weights_is_refused(folder: Path) -> None:
    weights = folder / "models" / "model.pt"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    assert refused(folder) == "altered_weights"


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / "models" / "model.pt").unlink()
    assert refused(folder) == "no_weights"


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    edit(folder / "configs" / "inference.json", "network_def", "channels", value=[8, 8, 8, 8, 8])
    assert refused(folder) == "bad_bundle"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("network_def", "_target_"), "os.system"),
        (("network_def", "_target_"), "subprocess.run"),
        (("network_def", "in_channels"), "$__import__('os').getpid()"),
        (("network_def", "norm"), ["$print(1)", {}]),
    ],
)
def test_configuration_that_would_run_code_is_refused(
    folder: Path, keys: tuple[str, ...], value: Any
) -> None:
    edit(folder / "configs" / "inference.json", *keys, value=value)
    assert refused(folder) == "unsafe_bundle"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("radfuse", "channels"), "CT"),
        (("radfuse", "primary"), "another"),
        (("radfuse", "normalisation"), {"CT": {"kind": "linear", "clip": [0, 1]}}),
        (("radfuse", "task"), "guessing"),
        (("radfuse",), {}),
    ],
)
def test_metadata_that_promises_nonsense_is_refused(
    folder: Path, keys: tuple[str, ...], value: Any
) -> None:
    edit(folder / "configs" / "metadata.json", *keys, value=value)
    with pytest.raises(ModelError) as error:
        find_bundle(folder.parent, "lung", "segmentation")
    assert error.value.code == "bad_bundle"


def test_measured_figures_replace_only_their_part(folder: Path) -> None:
    card = (folder / "docs" / "README.md").read_text("utf-8")
    once = with_measured(card, r"Dice \1 0.9")
    assert r"Dice \1 0.9" in once
    assert with_measured(once, "again").count("again") == 1
    assert once.split("## Calibration")[1] == card.split("## Calibration")[1]
    with pytest.raises(ValueError, match="no place"):
        with_measured("a card without marks", "x")


def test_half_precision_weights_are_close_to_what_was_trained(folder: Path) -> None:
    plan = PLANS["lung"]
    torch.manual_seed(1)
    network = UNet(**{k: v for k, v in plan.network().items() if k != "_target_"}).eval()
    stored = load_network(read_bundle(folder), "cpu")
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 2, 16, 16, 16)))
    with torch.inference_mode():
        gap = (network(image.float()) - stored(image.float())).abs().max()
    assert float(gap) < 0.02


def ridge() -> np.ndarray:
    """Three regions: a strong one, a second strong one, and one too weak to be a candidate."""
    heat = np.zeros((8, 8, 20), np.float32)
    heat[3:5, 3:5, 2:5] = 0.9
    heat[3:5, 3:5, 9:12] = 0.6
    heat[3, 3, 16] = 0.4
    return heat


def test_one_network_proposes_and_the_other_judges() -> None:
    asked: list[tuple[int, int, int]] = []

    def ask(voxel: tuple[int, int, int]) -> float:
        asked.append(voxel)
        return 0.1 if voxel[2] < 8 else 0.8

    heat = ridge()
    judged, answer = judge_candidates(heat, ask)
    assert [v[2] for v in asked] == [3, 10]
    assert answer == 0.8
    assert judged[3, 3, 3] == pytest.approx(0.09)
    assert judged[3, 3, 10] == pytest.approx(0.48)
    assert judged[3, 3, 16] == heat[3, 3, 16]
    assert heat[3, 3, 3] == np.float32(0.9)


def test_without_a_candidate_the_peak_is_asked_about() -> None:
    heat = ridge() * np.float32(0.5)
    judged, answer = judge_candidates(heat, lambda voxel: float(voxel == (3, 3, 2)))
    assert answer == 1.0
    assert np.array_equal(judged, heat)
