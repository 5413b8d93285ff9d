"""``register``: one image into the space of another, with figures and a verdict."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from analysis.commands.answering import Progress, plain
from analysis.commands.choosing import Chosen, choose
from analysis.commands.effort import Effort
from analysis.commands.transforms import (
    read_start,
    write_composite,
    write_field,
    write_transform,
)
from analysis.contracts import RegistrationRecord
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Volume, to_sitk
from analysis.images import MODALITIES, read_image
from analysis.provenance import versions
from analysis.registration import register_series
from analysis.registration.answers import NOT_MEASURED
from analysis.registration.cache import CachedRegister, Contents
from analysis.resampling import fill_of, resample

MAPS = "point of FIXED -> point of MOVING, DICOM patient coordinates (LPS), mm"
OUTPUTS = (
    "result.json", "moving_on_fixed.nii.gz", "field_of_view.nii.gz", "fixed_to_moving.tfm",
    "fixed_to_moving.h5", "displacement.mha",
)  # fmt: skip
BENT = "matrix @ (x + u(x)), u from displacement.mha (mm, LPS) at the point x of FIXED"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``register``."""
    parser.description = """\
Find where each point of FIXED lies in MOVING, judge the result, and print it. FIXED and MOVING are
DICOM folders (or single files) or NIfTI, MHA/MHD or NRRD files. "matrix" is 4x4, row by row, and
maps points of FIXED to points of MOVING in DICOM patient coordinates (LPS: +x left, +y posterior,
+z head), in mm. For points from a NIfTI program (RAS) turn the signs of x and y before and after.

With --deformable a displacement field is added: x lies at matrix @ (x + u(x)); --out writes it. The
rigid or affine result it started from stands under "linear". The field is refused where it folds,
and left away where it wins nothing.

"verdict" is usable, doubtful (look at the images before you use it) or refused. A refused result
has no matrix; what was found and not believed stands in "rejected_matrix". "quality" has every
figure with its unit, what it stands on, and whether it passed; "not_measured" says why one of gain,
inverse consistency, spread of starts, overlap, volume ratio and error is missing.

Not for diagnostic use."""
    parser.add_argument("fixed", metavar="FIXED", type=Path, help="the image that stays")
    parser.add_argument("moving", metavar="MOVING", type=Path, help="the image that is brought")
    parser.add_argument(
        "--affine", action="store_true",
        help="allow scales and shears after the rigid fit; default: rigid, 6 parameters",
    )  # fmt: skip
    parser.add_argument(
        "--deformable", action="store_true",
        help="bend MOVING after the rigid or affine fit (needs PyTorch, takes longer)",
    )  # fmt: skip
    parser.add_argument(
        "--start", type=Path, metavar="FILE",
        help="begin here and refine, without a global search: an ITK transform (.tfm, .txt, .h5), "
        "or the JSON of an earlier result",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="write result.json, the transform for ITK and 3D Slicer, MOVING on FIXED's voxels and "
        "its field of view there",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep results here, and take them from here: equal images with equal options are not "
        "registered twice",
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
            f"--{name}-mask", type=Path, metavar="FILE",
            help=f"compare only where this image is not 0; any grid in the space of {name.upper()}",
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
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for --deformable")


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
    same_frame = shared and not arguments.ignore_frame_of_reference
    if same_frame and arguments.start is not None:
        raise InputRefused(
            "bad_option", "Both series name one frame of reference, so nothing is moved from a "
            "start. Add --ignore-frame-of-reference to register them all the same.",
        )  # fmt: skip
    start = None if arguments.start is None else read_start(arguments.start)
    masks = {
        "reference_mask": _mask(arguments.fixed_mask),
        "moving_mask": _mask(arguments.moving_mask),
    }
    reading = effort.figures()["seconds_wall"]
    part = 0.4 if arguments.deformable else 1.0
    contents = Contents()
    record = CachedRegister(arguments.cache, register_series, contents)(
        moving.volume,
        fixed.volume,
        moving_uid=moving.uid,
        reference_uid=fixed.uid,
        same_frame=same_frame,
        seed=arguments.seed,
        threads=arguments.threads,
        progress=lambda share, text: progress(part * share, text),
        model="affine" if arguments.affine else "rigid",
        start=start,
        **masks,
    )
    linear, field = record, None
    if arguments.deformable:
        # Loaded when it is asked for: it needs PyTorch.
        bend = import_module("analysis.commands.bending").bend
        record, field = bend(
            moving.volume, fixed.volume, record, seed=arguments.seed, threads=arguments.threads,
            device=arguments.device, masks=masks, cache=arguments.cache, contents=contents,
            progress=lambda share, text: progress(part + (1 - part) * share, text),
        )  # fmt: skip
    result = _result(record, fixed, moving, shared) | effort.figures()
    if arguments.deformable:
        result["linear"] = _core(linear)
    result["seconds_reading"] = reading
    if arguments.out is not None:
        _write(arguments.out, result, record, field, fixed, moving)
    return result


def _mask(path: Path | None) -> Volume | None:
    """A mask of 0 and 1. Raises ``InputRefused`` as :func:`read_image` does, and ``empty_mask``."""
    if path is None:
        return None
    volume = read_image(path, "MR").volume
    inside = (np.asarray(volume.array) != 0).astype(np.uint8)
    if not inside.any():
        raise InputRefused("empty_mask", f"The mask {path.name} is 0 everywhere.")
    return volume.with_array(inside)


def _pull(record: RegistrationRecord) -> FloatArray:
    """Fixed LPS -> moving LPS: the record's matrix goes the other way."""
    return np.asarray(np.linalg.inv(np.asarray(record.matrix)), dtype=np.float64)


def _core(record: RegistrationRecord) -> dict[str, Any]:
    """The judged transform of a record, without the rejected one."""
    return {
        "verdict": record.verdict,
        "reasons": list(record.reasons),
        "state": record.state,
        "model": record.model,
        "matrix": None if record.verdict == "refused" else _pull(record).tolist(),
        "matrix_maps": BENT if record.model == "deformable" else MAPS,
        "quality": [asdict(figure) for figure in record.quality],
        NOT_MEASURED: record.parameters.get(NOT_MEASURED, {}),
        "method": record.method,
        "version": record.version,
    }


def _result(
    record: RegistrationRecord, fixed: Chosen, moving: Chosen, shared: bool
) -> dict[str, Any]:
    parameters = dict(record.parameters)
    parameters.pop(NOT_MEASURED, None)  # stands beside the figures
    rejected = parameters.pop("rejected_matrix", None)
    return _core(record) | {
        "rejected_matrix": np.linalg.inv(np.asarray(rejected)).tolist() if rejected else None,
        "same_frame_of_reference": shared,
        "fixed": fixed.about,
        "moving": moving.about,
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
    out: Path,
    result: dict[str, Any],
    record: RegistrationRecord,
    field: Deformation | None,
    fixed: Chosen,
    moving: Chosen,
) -> None:
    """The files of ``--out``. A refused result leaves only its JSON: nothing is fused by it."""
    for old in OUTPUTS:
        (out / old).unlink(missing_ok=True)  # of an earlier call, which this result is not
    files = {"result": "result.json"}
    if record.verdict != "refused":
        bent = field if record.model == "deformable" else None
        brought, inside = resample(
            moving.volume,
            fixed.volume.grid,
            matrix=record.matrix if bent is None else None,
            deformation=bent,
        )
        files |= {"moving_on_fixed": "moving_on_fixed.nii.gz"}
        files |= {"field_of_view": "field_of_view.nii.gz", "transform": "fixed_to_moving.tfm"}
        if bent is not None:
            files |= {"transform": "fixed_to_moving.h5", "displacement": "displacement.mha"}
            write_composite(out / files["transform"], bent)
            write_field(out / files["displacement"], bent)
        else:
            write_transform(out / files["transform"], _pull(record))
        sitk.WriteImage(to_sitk(brought), str(out / files["moving_on_fixed"]))
        covered = brought.with_array(inside.astype(np.uint8))
        sitk.WriteImage(to_sitk(covered), str(out / files["field_of_view"]))
        result["outside_value"] = fill_of(moving.volume.unit)
        result["covered_share"] = float(inside.mean())
    result["out"] = {name: str(out / file) for name, file in files.items()}
    text = json.dumps(plain({"command": "register", **result}), indent=2, allow_nan=False)
    (out / files["result"]).write_text(text + "\n", "utf-8")
