"""Fusion inference: registered series in, a probability map and a case probability out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from analysis.contracts import Matrix, ModelUse, Notice, Pathway, Role
from analysis.errors import ModelError
from analysis.fusion.bundle import SHIPPED, Bundle, build, find_bundle, load_network
from analysis.fusion.channels import FloatArray, Prepared, crop_around, prepare
from analysis.geometry import Grid, Volume
from analysis.progress import Progress, silent

Voxel = tuple[int, int, int]
"""(z, y, x)."""
MIN_COVERAGE = 0.9
"""A channel that covers less of the body is named in a notice. In the synthetic patients that the
networks were trained on, slabs and turns leave 0.92 and more."""
CANDIDATE_EDGE, CANDIDATE_PEAK = 0.2, 0.5
"""Probabilities that bound a candidate region and that it must reach."""

BEYOND: dict[str, str] = {"CT": "air", "PET": "no uptake"}
"""What a channel holds outside its field of view, as its networks were trained; else no signal."""


@dataclass(frozen=True, eq=False)
class FusionOutput:
    """What the networks say about a case. Volumes are float32 probabilities, unit ``1``, on the
    model grid: cubic voxels along the patient axes, in the reference's LPS."""

    heatmap: Volume
    """The primary output of the segmentation network, judged by the classifier where that is
    what the classifier is for (``Contract.judges_candidates``)."""
    outputs: dict[str, Volume]
    """Every output by name, the primary one (as in ``heatmap``) included."""
    model: ModelUse
    probability: float | None
    """The classifier's; None without a classifier."""
    classifier: ModelUse | None
    label: str
    """What ``probability`` (or, without it, the heatmap) is the probability of."""
    notices: tuple[Notice, ...] = ()


def segment(network: torch.nn.Module, bundle: Bundle, image: FloatArray, device: str) -> FloatArray:
    """Probabilities [output, z, y, x] for a prepared image [channel, z, y, x], window by window."""
    inferer = build(bundle.path, "inferer")
    with torch.inference_mode():
        batch = torch.from_numpy(image)[None].to(device)
        logits = inferer(batch, network)
    probabilities = torch.sigmoid(logits[0] / bundle.contract.temperature)
    return np.asarray(probabilities.cpu().numpy(), dtype=np.float32)


def classify(
    network: torch.nn.Module,
    bundle: Bundle,
    image: FloatArray,
    centre: Voxel,
    device: str,
) -> float:
    """The probability for the crop of a prepared image around voxel ``centre`` (z, y, x)."""
    crop = crop_around(image, centre, bundle.contract.window, bundle.contract.zoom)
    with torch.inference_mode():
        logit = network(torch.from_numpy(crop)[None].to(device))
    return float(torch.sigmoid(logit / bundle.contract.temperature).item())


def peak(heatmap: FloatArray) -> Voxel:
    """Voxel (z, y, x) of the highest probability; the first of equals, so it is deterministic."""
    z, y, x = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    return int(z), int(y), int(x)


def judge_candidates(
    heatmap: FloatArray, ask: Callable[[Voxel], float]
) -> tuple[FloatArray, float]:
    """(judged heatmap, highest answer): one network proposes, the other judges.

    A candidate is a connected region (26-neighbourhood) above ``CANDIDATE_EDGE`` that reaches
    ``CANDIDATE_PEAK``. ``ask`` gives the classifier's probability for the voxel at its centre of
    mass, and the whole region is multiplied by it. Without a candidate the peak is asked about.
    """
    marks, count = ndimage.label(heatmap >= CANDIDATE_EDGE, structure=np.ones((3, 3, 3)))
    judged, answers = heatmap.copy(), []
    for number, box in enumerate(ndimage.find_objects(marks, count), start=1):
        inside = marks[box] == number
        values = np.where(inside, heatmap[box], 0.0)
        if values.max() < CANDIDATE_PEAK:
            continue
        middle = zip((part.start for part in box), ndimage.center_of_mass(values), strict=True)
        z, y, x = (round(start + offset) for start, offset in middle)
        answers.append(ask((z, y, x)))
        judged[box][inside] *= answers[-1]
    if not answers:
        return judged, ask(peak(heatmap))
    return judged, max(answers)


def _notices(bundle: Bundle, prepared: Prepared) -> list[Notice]:
    notices = [
        Notice(
            "missing_channel",
            f"No usable {role} series: {bundle.name} ran with "
            f"{', '.join(prepared.present)} only and is less sure than with all its channels.",
        )
        for role in prepared.missing
    ]
    notices += [
        Notice(
            "partial_channel",
            f"The {role} series covers {100 * share:.0f} % of the body that {bundle.name} looked "
            f"at. Beyond its field of view the network was shown {BEYOND.get(role, 'no signal')}; "
            "its answer there stands on the other series.",
        )
        for role in prepared.present
        if (share := prepared.coverage[role]) < MIN_COVERAGE
    ]
    notices.append(Notice("model_note", f"{bundle.name}: {bundle.contract.note}", "info"))
    return notices


def infer(
    pathway: Pathway,
    channels: Mapping[Role, tuple[Volume, Matrix]],
    reference: Grid,
    *,
    models_dir: Path | str = "",
    device: str = "cpu",
    threads: int = 2,
    progress: Progress = silent,
) -> FusionOutput:
    """Run a pathway's segmentation network and, where there is one, its classifier.

    ``channels``: by role, each volume on its own grid with the matrix series LPS -> reference
    LPS. Roles the model does not know are ignored; roles it lacks are given as missing and named
    in a notice. ``models_dir``: folder of bundles, empty for the shipped ones.

    Raises ModelError: ``no_model`` (no bundle for this pathway or for these channels),
    ``altered_weights``, ``bad_bundle``, ``unsafe_bundle``, ``wrong_unit``, ``nothing_in_view``.
    The same input, device and thread count give the same output.
    """
    series: dict[str, tuple[Volume, Matrix]] = {str(role): v for role, v in channels.items()}
    folder = Path(models_dir) if str(models_dir) else SHIPPED
    bundle = find_bundle(folder, pathway, "segmentation")
    if bundle is None:
        raise ModelError("no_model", f"No model is installed for the {pathway} pathway.")
    if not bundle.contract.present(set(series)):
        needed = " or ".join(bundle.contract.minimum or bundle.contract.channels)
        raise ModelError("no_model", f"{bundle.name} needs a registered {needed} series.")
    torch.set_num_threads(max(1, threads))

    progress(0.05, "preparing the channels")
    prepared = prepare(series, reference, bundle.contract)
    progress(0.25, f"running {bundle.name}")
    maps = segment(load_network(bundle, device), bundle, prepared.image, device)
    maps[:, ~prepared.seen] = 0.0  # where no series has voxels, nothing was found or excluded
    primary = bundle.contract.outputs.index(bundle.contract.primary)
    notices = _notices(bundle, prepared)

    progress(0.8, "classifying")
    probability, classifier, label = None, None, bundle.contract.label
    judge = find_bundle(folder, pathway, "classification")
    if judge is None or not judge.contract.present(set(series)):
        notices.append(
            Notice("no_classifier", "No case probability: no classifier fits this case.", "info")
        )
    else:
        seen = prepared
        if not _same_input(judge, bundle):
            seen = prepare(series, reference, judge.contract)
        network = load_network(judge, device)

        def ask(voxel: Voxel) -> float:
            place = seen.grid.to_index(prepared.grid.to_lps(voxel[::-1]))
            x, y, z = (int(v) for v in np.rint(place))
            return classify(network, judge, seen.image, (z, y, x), device)

        if judge.contract.judges_candidates:
            maps[primary], probability = judge_candidates(maps[primary], ask)
        else:
            probability = ask(peak(maps[primary]))
        classifier, label = judge.use(seen.present), judge.contract.label
        notices.append(Notice("model_note", f"{judge.name}: {judge.contract.note}", "info"))
    outputs = {
        name: Volume(maps[i], prepared.grid, "1", role="OTHER")
        for i, name in enumerate(bundle.contract.outputs)
    }
    heatmap = outputs[bundle.contract.primary]
    progress(1.0, "networks done")
    return FusionOutput(
        heatmap, outputs, bundle.use(prepared.present), probability, classifier, label,
        tuple(notices),
    )


def _same_input(one: Bundle, other: Bundle) -> bool:
    a, b = one.contract, other.contract
    mine, theirs = (a.channels, a.spacing_mm), (b.channels, b.spacing_mm)
    return mine == theirs and a.normalisation == b.normalisation
