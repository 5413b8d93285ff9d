"""``register``: one image into the space of another, with figures and a verdict."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from analysis.commands.answering import Progress, plain
from analysis.commands.choosing import Chosen, choose
from analysis.commands.effort import Effort
from analysis.commands.transforms import write_transform
from analysis.contracts import RegistrationRecord
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, to_sitk
from analysis.images import MODALITIES
from analysis.provenance import versions
from analysis.registration import register_series
from analysis.resampling import fill_of, resample

MAPS = "point of FIXED -> point of MOVING, DICOM patient coordinates (LPS), mm"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``register``."""
    parser.description = """\
Find where each point of FIXED lies in MOVING, judge the result, and print it. FIXED and MOVING are
DICOM folders (or single files) or NIfTI, MHA/MHD or NRRD files. "matrix" is 4x4, row by row, and
maps points of FIXED to points of MOVING in DICOM patient coordinates (LPS: +x left, +y posterior,
+z head), in mm. For points from a NIfTI program (RAS) turn the signs of x and y before and after.

"verdict" is usable, doubtful (look at the images before you use it) or refused. A refused result
has no matrix; what was found and not believed stands in "rejected_matrix". "quality" has every
figure with its unit, what it stands on, and whether it passed. Not for diagnostic use."""
    parser.add_argument("fixed", metavar="FIXED", type=Path, help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", type=Path, help="the image that is brought")
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="write result.json, the transform for ITK and 3D Slicer, MOVING on FIXED's voxels and "
        "its field of view there",
    )  # fmt: skip
    for name in ("fixed", "moving"):
        parser.add_argument(
            f"--{name}-series", default="", metavar="UID",
            help=f"which DICOM series, where {name.upper()} holds several",
        )  # fmt: skip
        parser.add_argument(
            f"--{name}-modality", default="", choices=MODALITIES,
            help="for NIfTI, MHA and NRRD; else guessed, and said",
        )  # fmt: skip
    parser.add_argument(
        "--ignore-frame-of-reference", action="store_true",
        help="register two DICOM series although they name the same frame of reference; else "
        "nothing is moved and the frame is checked against the images",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="same seed, same result (default: 0)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, metavar="N",
        help="default: all processors; the result does not depend on it",
    )  # fmt: skip


def perform(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is printed."""
    effort = Effort()
    progress = Progress()
    if arguments.threads < 1 or arguments.seed < 0:
        raise InputRefused("bad_option", "--threads starts at 1 and --seed at 0.")
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    progress(0.0, "reading FIXED")
    fixed = choose(
        arguments.fixed, series_uid=arguments.fixed_series, modality=arguments.fixed_modality
    )
    progress(0.0, "reading MOVING")
    moving = choose(
        arguments.moving, series_uid=arguments.moving_series, modality=arguments.moving_modality
    )
    shared = bool(fixed.frame_of_reference_uid) and (
        fixed.frame_of_reference_uid == moving.frame_of_reference_uid
    )
    reading = effort.figures()["seconds_wall"]
    record = register_series(
        moving.volume,
        fixed.volume,
        moving_uid=moving.uid,
        reference_uid=fixed.uid,
        same_frame=shared and not arguments.ignore_frame_of_reference,
        seed=arguments.seed,
        threads=arguments.threads,
        progress=progress,
    )
    result = _result(record, fixed, moving, shared) | effort.figures()
    result["seconds_reading"] = reading
    if arguments.out is not None:
        _write(arguments.out, result, record, fixed, moving)
    return result


def _pull(record: RegistrationRecord) -> FloatArray:
    """Fixed LPS -> moving LPS: the record's matrix goes the other way."""
    return np.asarray(np.linalg.inv(np.asarray(record.matrix)), dtype=np.float64)


def _result(
    record: RegistrationRecord, fixed: Chosen, moving: Chosen, shared: bool
) -> dict[str, Any]:
    parameters = dict(record.parameters)
    rejected = parameters.pop("rejected_matrix", None)
    refused = record.verdict == "refused"
    return {
        "verdict": record.verdict,
        "reasons": list(record.reasons),
        "state": record.state,
        "model": record.model,
        "matrix": None if refused else _pull(record).tolist(),
        "matrix_maps": MAPS,
        "rejected_matrix": np.linalg.inv(np.asarray(rejected)).tolist() if rejected else None,
        "quality": [asdict(figure) for figure in record.quality],
        "same_frame_of_reference": shared,
        "fixed": fixed.about,
        "moving": moving.about,
        "method": record.method,
        "version": record.version,
        "versions": versions("SimpleITK", "numpy", "scipy", "pydicom"),
        "parameters": parameters,
        "notices": _notices(fixed, moving),
    }


def _notices(fixed: Chosen, moving: Chosen) -> list[dict[str, Any]]:
    told = [
        {"image": name, "code": notice.code, "message": notice.message}
        for name, chosen in (("FIXED", fixed), ("MOVING", moving))
        for notice in chosen.notices
    ]
    if fixed.patient_key and moving.patient_key and fixed.patient_key != moving.patient_key:
        told.append(
            {
                "image": "both",
                "code": "different_patients",
                "message": "FIXED and MOVING name different patients (or none).",
            }
        )
    return told


def _write(
    out: Path, result: dict[str, Any], record: RegistrationRecord, fixed: Chosen, moving: Chosen
) -> None:
    """The files of ``--out``. A refused result leaves only its JSON: nothing is fused by it."""
    files: dict[str, str] = {"result": "result.json"}
    if record.verdict != "refused":
        brought, inside = resample(moving.volume, fixed.volume.grid, matrix=record.matrix)
        files |= {
            "transform": "fixed_to_moving.tfm",
            "moving_on_fixed": "moving_on_fixed.nii.gz",
            "field_of_view": "field_of_view.nii.gz",
        }
        write_transform(out / files["transform"], _pull(record))
        sitk.WriteImage(to_sitk(brought), str(out / files["moving_on_fixed"]))
        covered = brought.with_array(inside.astype(np.uint8))
        sitk.WriteImage(to_sitk(covered), str(out / files["field_of_view"]))
        result["outside_value"] = fill_of(moving.volume.unit)
        result["covered_share"] = float(inside.mean())
    result["out"] = {name: str(out / file) for name, file in files.items()}
    text = json.dumps(plain({"command": "register", **result}), indent=2, allow_nan=False)
    (out / files["result"]).write_text(text + "\n", "utf-8")
