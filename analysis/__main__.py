"""The science from a shell.

``python -m analysis run SERIES_FOLDER... --out DIR``
    All steps over the DICOM folders of one patient. Progress on standard error; one JSON document
    on standard output: pathway, series, registrations, model, findings, sentences, notices.
``python -m analysis serve``
    The child process of a worker (see :mod:`analysis.serve`).

Exit codes: 0 done; 2 the input or the arguments cannot be used (one sentence says why);
3 the computation failed; 4 memory or disk ran out, worth another try; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

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
from analysis.errors import AnalysisError, InputRefused, ResourceExhausted
from analysis.pipeline import read_result, run_step
from analysis.serve import as_analysis_error, protected_stdout, serve
from analysis.volumes import scan_folder

EXIT_DONE, EXIT_REFUSED, EXIT_FAILED, EXIT_EXHAUSTED, EXIT_INTERRUPTED = 0, 2, 3, 4, 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis",
        description="Fused analysis of multi-modal DICOM studies. Not for diagnostic use.",
        epilog="Exit codes: 0 done, 2 input refused, 3 failed, 4 out of memory or disk.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="analyse the DICOM folders of one patient")
    run.add_argument("folders", nargs="+", metavar="SERIES_FOLDER", type=Path)
    run.add_argument("--out", required=True, type=Path, help="folder for all results")
    run.add_argument("--seed", type=int, default=20260101)
    run.add_argument("--threads", type=int, default=2)
    run.add_argument("--device", default="cpu", help="cpu or cuda")
    run.add_argument("--models", default="", help="folder of model bundles (default: shipped)")
    commands.add_parser("serve", help="answer step requests on standard input")
    return parser


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


def run_all(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every step in order; progress on standard error."""
    for folder in arguments.folders:
        if not folder.exists():
            raise InputRefused("no_such_folder", f"There is no folder {folder}.")
    series, notices = scan_folder([str(folder) for folder in arguments.folders])
    if not series:
        raise InputRefused("no_dicom", "No DICOM image series was found in the given folders.")
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for number, step in enumerate(STEPS):

        def show(fraction: float, text: str, number: int = number, step: str = step) -> None:
            percent = 100 * (number + fraction) / len(STEPS)
            print(f"{percent:5.1f} %  {step:<9} {text}", file=sys.stderr, flush=True)

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
    return summary(out, notices)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    if arguments.command == "serve":
        return serve()
    try:
        with protected_stdout() as out:
            json.dump(run_all(arguments), out, indent=2)
            out.write("\n")
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (AnalysisError, MemoryError, OSError, RuntimeError) as error:
        known = as_analysis_error(error)
        if known is None:
            raise  # a defect: the traceback is what helps
        print(f"error: {known.message}", file=sys.stderr)
        if isinstance(known, InputRefused):
            return EXIT_REFUSED
        return EXIT_EXHAUSTED if isinstance(known, ResourceExhausted) else EXIT_FAILED
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
