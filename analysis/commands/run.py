"""``run``: all steps over the DICOM folders of one patient."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.commands.answering import Progress
from analysis.contracts import (
    STEPS,
    AssembleResult,
    DraftResult,
    InferResult,
    MeasureResult,
    Notice,
    RegisterResult,
    StepRequest,
)
from analysis.errors import InputRefused
from analysis.pipeline import read_result, run_step
from analysis.volumes import scan_folder


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``run``."""
    parser.add_argument("folders", nargs="+", metavar="SERIES_FOLDER", type=Path)
    parser.add_argument("--out", required=True, type=Path, help="folder for all results")
    parser.add_argument("--seed", type=int, default=20260101)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--models", default="", help="folder of model bundles (default: shipped)")


def summary(run_dir: Path, scan_notices: Sequence[Notice] = ()) -> dict[str, Any]:
    """What a finished run found, as plain JSON values."""
    assembled = read_result(run_dir, AssembleResult)
    registered = read_result(run_dir, RegisterResult)
    inferred = read_result(run_dir, InferResult)
    measured = read_result(run_dir, MeasureResult)
    drafted = read_result(run_dir, DraftResult)
    results = (assembled, registered, inferred, measured, drafted)
    notices = [*scan_notices, *(notice for result in results for notice in result.notices)]
    return {
        "pathway": assembled.pathway,
        "pathway_reason": assembled.pathway_reason,
        "reference_series_uid": assembled.reference_series_uid,
        "series": [
            {
                "series_instance_uid": v.series_instance_uid,
                "volume": v.number,
                "volumes": v.count,
                "modality": v.modality,
                "role": v.role,
                "label": v.label,
                "shape_zyx": v.levels[0].shape,
                "unit": v.unit,
                "value_range": v.value_range,
                "synthetic": v.synthetic,
                "lossy": v.lossy,
                "file": v.path,
            }
            for v in assembled.volumes
        ],
        "outlines": [outline.name for outline in assembled.outlines],
        "registrations": [asdict(r) for r in registered.registrations],
        "segmentation_model": _maybe(inferred.segmentation_model),
        "classifier_model": _maybe(inferred.classifier_model),
        "case_probability": inferred.case_probability,
        "case_label": inferred.case_label,
        "heatmap": inferred.heatmap.path if inferred.heatmap else None,
        "segmentation": measured.segmentation.path if measured.segmentation else None,
        "findings": [asdict(f) for f in measured.findings],
        "sentences": [asdict(s) for s in drafted.sentences],
        "notices": [asdict(n) for n in notices],
    }


def _maybe(value: Any) -> dict[str, Any] | None:
    return None if value is None else asdict(value)


def perform(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every step in order; progress on standard error."""
    for folder in arguments.folders:
        if not folder.exists():
            raise InputRefused("no_such_folder", f"There is no folder {folder}.")
    series, notices = scan_folder([str(folder) for folder in arguments.folders])
    if not series:
        raise InputRefused("no_dicom", "No DICOM image series was found in the given folders.")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    told = Progress()
    for number, step in enumerate(STEPS):

        def show(fraction: float, text: str, number: int = number, step: str = step) -> None:
            told((number + fraction) / len(STEPS), f"{step:<9} {text}")

        run_step(
            StepRequest(
                step=step,  # type: ignore[arg-type]
                run_dir=str(out.resolve()),
                series=series,
                seed=arguments.seed,
                device=arguments.device,
                threads=arguments.threads,
                models_dir=arguments.models,
            ),
            show,
        )
    told(1.0, "done")
    return summary(out, notices)
