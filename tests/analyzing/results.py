"""Small, valid results of every step, and real stored volumes, for tests and the fake child."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from analysis.contracts import (
    IDENTITY,
    AssembleResult,
    DraftResult,
    FindingRecord,
    InferResult,
    LevelRecord,
    MeasureResult,
    ModelUse,
    Notice,
    OutlineRecord,
    QualityFigure,
    RefineRequest,
    RefineResult,
    RegisterResult,
    RegistrationRecord,
    SentenceRecord,
    StepResult,
    VolumeRecord,
    to_json,
)
from analysis.deformation import Deformation
from analysis.grids import Grid, as_matrix
from analysis.slice_codec import encode_slice

AFFINE = ((2.0, 0.0, 0.0, -10.0), (0.0, 2.0, 0.0, -20.0), (0.0, 0.0, 3.0, 100.0), (0, 0, 0, 1.0))
"""Voxel 2 x 2 x 3 mm, first centre at (-10, -20, 100) LPS."""


def ramp(shape: tuple[int, int, int] = (4, 5, 6)) -> np.ndarray:
    """int16 [z, y, x] whose stored value is 100 z + 10 y + x: linear, so interpolation is exact."""
    z, y, x = np.indices(shape)
    return (100 * z + 10 * y + x).astype(np.int16)


def stored(
    run_dir: Path,
    key: str,
    array: np.ndarray,
    *,
    path: str,
    slope: float = 1.0,
    intercept: float = 0.0,
    role: str = "CT",
    unit: str = "[hnsf'U]",
    coarse: int = 0,
) -> VolumeRecord:
    """Write ``array`` as a store file and describe it. ``coarse`` > 1 adds a subsampled level."""
    levels, position, payloads = [], 0, []
    for factor in (1, coarse) if coarse > 1 else (1,):
        data = np.ascontiguousarray(array[::factor, ::factor, ::factor])
        offsets = [position]
        for pixels in data:
            payloads.append(encode_slice(pixels))
            position += len(payloads[-1])
            offsets.append(position)
        checksums = tuple(zlib.crc32(payload) for payload in payloads[-len(data) :])
        levels.append(LevelRecord(data.shape, (factor,) * 3, tuple(offsets), checksums))
    file = run_dir / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"".join(payloads))
    series = key if key[0].isdigit() else ""
    return VolumeRecord(
        key=key,
        path=path,
        sha256="0" * 64,
        levels=tuple(levels),
        affine=AFFINE,
        dtype=str(array.dtype),
        slope=slope,
        intercept=intercept,
        unit=unit,
        modality=role,
        role=role,
        label=role,
        series_instance_uid=series,
        synthetic=True,
    )


def result_of(step: str, run_dir: Path, uids: tuple[str, ...]) -> StepResult:
    """A result of ``step`` for a case with these series; the same input gives the same result."""
    reference = uids[0]
    if step == "assemble":
        square = ((0.0, 0.0, 100.0), (10.0, 0.0, 100.0), (10.0, 10.0, 100.0))
        return AssembleResult(
            pathway="lung",
            pathway_reason="The CT shows lungs.",
            reference_series_uid=reference,
            volumes=tuple(
                stored(run_dir, uid, ramp(), path=f"assemble/{n}.rfv")
                for n, uid in enumerate(uids)
            ),
            outlines=(OutlineRecord(1, "GTV", "#ff0000", "1.2", reference, (square,)),),
            notices=(Notice("gap", "A slice is missing.", "warning", reference),),
        )
    if step == "register":
        states = ["reference"] + ["registered"] * (len(uids) - 1)
        return RegisterResult(
            tuple(
                RegistrationRecord(
                    uid, reference, state, IDENTITY, "Mattes mutual information, rigid", "1",
                    "usable", (), (QualityFigure("overlap", 0.9, "1", "fraction", True),), {},
                )
                for uid, state in zip(uids, states, strict=True)
            )
        )  # fmt: skip
    if step == "infer":
        use = ModelUse("fusion-lung", "1", "ab" * 32, ("CT", "PET"), ("CT",), "Synthetic only.")
        heat = stored(
            run_dir, "heatmap", (ramp() % 256).astype(np.uint8), path="infer/h.rfv",
            slope=1 / 255, unit="1",
        )  # fmt: skip
        return InferResult(heat, use, None, 0.75, "malignant nodule")
    if step == "measure":
        labels = np.zeros((4, 5, 6), np.uint8)
        labels[1:3, 2, 3] = 1
        record = stored(run_dir, "segmentation", labels, path="measure/s.rfv", unit="1")
        finding = FindingRecord(
            1, "2.25.7", "Lung nodule", "right upper lung zone", "right", 0.9, (-4.0, -16.0, 104.5),
            12.0, 9.0, 0.7, 5.4, 4.6, 3.2, (-4.0, -16.0, 103.0), 40.0, "[hnsf'U]", "test 1",
            {"voxels": 2},
        )  # fmt: skip
        return MeasureResult((finding,), record)
    return DraftResult(
        (
            SentenceRecord("technique", "CT of the chest.", 0, "series"),
            SentenceRecord("findings", "A nodule of 12 mm.", 1),
        )
    )


def leave_result(step: str, run_dir: Path, uids: tuple[str, ...]) -> str:
    """Make the step's files as a child would, the result last; its path."""
    result = result_of(step, run_dir, uids)
    folder = run_dir / step
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"result.json.{os.getpid()}"
    partial.write_bytes(to_json(result))
    partial.replace(folder / "result.json")
    return f"{step}/result.json"


FIELD_SHIFT = (0.0, 0.0, 3.0)
"""mm: the deformation that :func:`leave_refinement` makes moves every point alike."""


def leave_refinement(request: RefineRequest, *, refused: bool = False) -> str:
    """A refinement's files: 1 mm further to the left than its start; deformable ones keep the start
    and move by ``FIELD_SHIFT``."""
    run_dir = Path(request.run_dir)
    folder = run_dir / request.folder
    folder.mkdir(parents=True, exist_ok=True)
    matrix, field, deformed = np.array(request.start.matrix), None, None
    if request.model != "deformable":
        matrix[0, 3] += 1.0
    elif not refused:
        displacement = np.zeros((3, 3, 3, 3), np.float32) + np.array(FIELD_SHIFT, np.float32)
        affine = np.diag([100.0, 100.0, 100.0, 1.0])
        affine[:3, 3] = (-100, -100, 0)
        deformation = Deformation(displacement, Grid((3, 3, 3), affine), request.start.matrix)
        field = deformation.record(run_dir, folder / "field.npz")
        deformed = stored(
            run_dir, f"deformed-{folder.name}", ramp(), path=f"{request.folder}/deformed.rfv",
            slope=request.moving.slope, role=request.moving.role, unit=request.moving.unit,
        )  # fmt: skip
    record = RegistrationRecord(
        request.moving.series_instance_uid, request.reference.series_instance_uid,
        "not_registered" if refused else "registered", as_matrix(matrix), f"test {request.model}",
        "1", "refused" if refused else "usable", ("It folds.",) if refused else (),
        (QualityFigure("smallest_jacobian", 1.0, "1", "test", not refused),), {}, request.model,
        field,
    )  # fmt: skip
    partial = folder / f"result.json.{os.getpid()}"
    partial.write_bytes(to_json(RefineResult(record, deformed)))
    partial.replace(folder / "result.json")
    return f"{request.folder}/result.json"
