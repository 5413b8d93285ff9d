"""Model bundles: what one promises, and opening it only when the promise holds.

A bundle is a folder in the MONAI bundle layout::

    <name>/configs/metadata.json     what it is; our contract is its "radfuse" entry
    <name>/configs/inference.json    network_def (and inferer), built by monai.bundle.ConfigParser
    <name>/models/model.pt           state_dict, opened with weights_only=True
    <name>/docs/README.md            model card
    <name>/LICENSE

The configuration language of MONAI can run code ("$..." strings, any ``_target_``). A bundle may
come from anywhere, so only plain values and classes of ``monai.networks`` and ``monai.inferers``
are let through.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from monai.bundle import ConfigParser
from pydantic import TypeAdapter, ValidationError

from analysis.contracts import ModelUse
from analysis.errors import ModelError

SHIPPED = Path(__file__).resolve().parent.parent / "models"
"""The bundles that come with the product."""

Task = Literal["segmentation", "classification"]
_SAFE_TARGETS = ("monai.networks.", "monai.inferers.")


@dataclass(frozen=True)
class Normalisation:
    """How the values of one channel become network input.

    ``linear``: clip to ``clip`` (physical units), map linearly onto ``output``.
    ``zscore``: subtract the mean, divide by the standard deviation of the foreground (values above
    half of the volume's mean), then clip to ``clip``.
    """

    kind: Literal["linear", "zscore"]
    clip: tuple[float, float]
    output: tuple[float, float] = (0.0, 1.0)
    unit: str = ""
    """UCUM unit the channel must have; empty if the scale is arbitrary (MR)."""


@dataclass(frozen=True)
class Contract:
    """The "radfuse" entry of a bundle's metadata: everything that inference relies on."""

    pathway: str
    task: Task
    channels: tuple[str, ...]
    """Roles, in the order of the network's input channels."""
    outputs: tuple[str, ...]
    """Names of the network's outputs, each through a sigmoid of its own."""
    primary: str
    """The output shown as heatmap."""
    label: str
    """Plain words for what the primary output is the probability of."""
    spacing_mm: float
    window: tuple[int, int, int]
    """Voxels (z, y, x) the network sees at once: sliding window, or crop of a classifier."""
    normalisation: dict[str, Normalisation]
    weights_sha256: str
    note: str
    """Said wherever a result is shown."""
    intended_use: str
    training_data: str
    minimum: tuple[str, ...] = ()
    """At least one of these channels must be there; empty: any one."""
    zoom: int = 1
    """A classifier's crop is sampled ``zoom`` times finer than ``spacing_mm``."""
    judges_candidates: bool = False
    """Whether a classifier is asked about every candidate of the segmentation's primary map, and
    the map there multiplied by its answer. If not, it is asked once, at the map's peak."""
    temperature: float = 1.0
    """Logits are divided by this before the sigmoid (fitted on validation patients)."""
    training: dict[str, Any] = field(default_factory=dict)
    """How it was trained: seeds, iterations, minutes, versions."""

    def present(self, roles: set[str]) -> tuple[str, ...]:
        """The known channels among ``roles``; empty when the minimum is not met."""
        known = tuple(c for c in self.channels if c in roles)
        enough = not self.minimum or any(c in known for c in self.minimum)
        return known if enough else ()


_CONTRACT = TypeAdapter(Contract)


def contract_json(contract: Contract) -> dict[str, Any]:
    """The contract as it stands in ``metadata.json``."""
    dumped: dict[str, Any] = _CONTRACT.dump_python(contract, mode="json")
    return dumped


@dataclass(frozen=True)
class Bundle:
    """A bundle whose metadata was read and checked; its weights are not yet loaded."""

    path: Path
    name: str
    version: str
    contract: Contract

    def use(self, present: tuple[str, ...]) -> ModelUse:
        """The evidence record for a result made with the channels ``present``."""
        return ModelUse(
            name=self.name,
            version=self.version,
            sha256=self.contract.weights_sha256,
            channels=self.contract.channels,
            present=present,
            note=self.contract.note,
        )


def read_bundle(path: Path) -> Bundle:
    """The bundle in folder ``path``; raises ModelError ``bad_bundle`` if its metadata is unfit."""
    try:
        metadata = json.loads((path / "configs" / "metadata.json").read_text("utf-8"))
        contract = _CONTRACT.validate_python(metadata["radfuse"], strict=False)
        bundle = Bundle(path, str(metadata["name"]), str(metadata["version"]), contract)
    except FileNotFoundError as error:
        raise ModelError("bad_bundle", f"Model {path.name} has no metadata.json.") from error
    except (json.JSONDecodeError, KeyError, TypeError, ValidationError) as error:
        raise ModelError(
            "bad_bundle",
            f"The metadata of model {path.name} cannot be used ({type(error).__name__}). "
            'See analysis/fusion/README.md for the "radfuse" entry it needs.',
        ) from error
    if contract.primary not in contract.outputs:
        raise ModelError("bad_bundle", f"Model {path.name}: primary is not one of its outputs.")
    if missing := [c for c in contract.channels if c not in contract.normalisation]:
        raise ModelError("bad_bundle", f"Model {path.name}: no normalisation for {missing}.")
    return bundle


def find_bundle(models_dir: Path, pathway: str, task: Task) -> Bundle | None:
    """The bundle for a pathway and task; of several, the first by folder name.

    A folder without ``configs/metadata.json`` is not a bundle and is passed over; a bundle that
    is there but unfit raises, so that it is never silently replaced by another.
    """
    for metadata in sorted(models_dir.glob("*/configs/metadata.json")):
        bundle = read_bundle(metadata.parent.parent)
        if bundle.contract.pathway == pathway and bundle.contract.task == task:
            return bundle
    return None


def _check_plain(node: object, where: str) -> None:
    if isinstance(node, dict):
        target = node.get("_target_")
        if target is not None and not str(target).startswith(_SAFE_TARGETS):
            raise ModelError("unsafe_bundle", f"{where} asks for {target}, which is not allowed.")
        for value in node.values():
            _check_plain(value, where)
    elif isinstance(node, list):
        for value in node:
            _check_plain(value, where)
    elif isinstance(node, str) and node.startswith(("$", "@", "%")):
        raise ModelError("unsafe_bundle", f"{where} holds an expression; only values are allowed.")


def build(path: Path, part: str) -> Any:
    """One object of ``configs/inference.json``: ``network_def`` or ``inferer``."""
    where = f"{path.name}/configs/inference.json"
    try:
        config = json.loads((path / "configs" / "inference.json").read_text("utf-8"))[part]
    except (FileNotFoundError, json.JSONDecodeError, KeyError) as error:
        raise ModelError("bad_bundle", f"{where} gives no {part}.") from error
    _check_plain(config, where)
    parser = ConfigParser({part: config})
    return parser.get_parsed_content(part)


def load_network(bundle: Bundle, device: str) -> torch.nn.Module:
    """The network with its weights, in evaluation mode on ``device``.

    The file is hashed before anything in it is opened: ModelError ``altered_weights`` when it is
    not the file that the metadata names.
    """
    weights = bundle.path / "models" / "model.pt"
    if not weights.is_file():
        raise ModelError("no_weights", f"Model {bundle.name} has no models/model.pt.")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    if digest != bundle.contract.weights_sha256:
        raise ModelError(
            "altered_weights",
            f"The weights of model {bundle.name} are not those its metadata names; they were "
            "altered or damaged. Install the bundle again.",
        )
    network: torch.nn.Module = build(bundle.path, "network_def")
    state = torch.load(weights, map_location="cpu", weights_only=True)
    # Shipped weights are stored in half precision to stay small; they are computed with in single.
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(
            "bad_bundle", f"The weights of model {bundle.name} do not fit its network."
        ) from error
    return network.to(device).eval()
