"""Refine from here, as a worker asks for it: a request on one line, files and a result."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis import refining
from analysis.contracts import (
    IDENTITY,
    AssembleResult,
    Matrix,
    RefineRequest,
    RefineResult,
    RegisterResult,
    RegistrationRecord,
    StepRequest,
    VolumeRecord,
    from_json,
    to_json,
)
from analysis.deformation import Deformation
from analysis.deformed_layers import MOST_VOXELS, layer_grid
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Grid, Volume, as_matrix, subgrid
from analysis.phantoms.head import make_head
from analysis.pipeline import run_step
from analysis.refining import refine
from analysis.registration import deformable
from analysis.resampling import resample
from analysis.volume_store import read_volume, write_volume

ROOT = Path(__file__).resolve().parents[2]


def silent(_fraction: float, _text: str) -> None:
    """Progress that nobody watches."""


def shifted(x: float, y: float, z: float) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, 3] = (x, y, z)
    return matrix


@pytest.fixture(scope="module")
def head() -> Volume:
    return make_head(5, spacing_mm=(3.0, 3.0, 3.0)).reference.volume


def store(run_dir: Path, uid: str, volume: Volume) -> VolumeRecord:
    return write_volume(
        run_dir / "assemble" / f"{uid}.rfv", volume, run_dir=run_dir, key=uid, label=uid,
        series_instance_uid=uid, frame_of_reference_uid=f"{uid}.9",
    )  # fmt: skip


def started(matrix: Matrix, verdict: str = "doubtful") -> RegistrationRecord:
    return RegistrationRecord(
        "1.2", "1.1", "registered", matrix, "aligned by hand", "", verdict, ("by hand",)
    )


def request(
    run_dir: Path, moving: Volume, reference: Volume, model: str, start: FloatArray
) -> RefineRequest:
    return RefineRequest(
        str(run_dir), "refine/7", model, started(as_matrix(start)),
        store(run_dir, "1.2", moving), store(run_dir, "1.1", reference),
    )  # fmt: skip


def test_a_child_process_refines_from_a_start_by_hand(tmp_path: Path, head: Volume) -> None:
    """The same head 5 mm away; the reader's start is 7 mm off."""
    truth = shifted(5.0, -3.0, 2.0)
    moving = replace(head, grid=Grid(head.grid.shape, np.linalg.inv(truth) @ head.grid.affine))
    asked = request(tmp_path, moving, head, "rigid", shifted(11.0, -6.0, 0.0))
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "serve"], input=to_json(asked) + b"\n", cwd=ROOT,
        capture_output=True, check=True,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1] == {"event": "done", "result": "refine/7/result.json"}
    assert {e["event"] for e in events[:-1]} == {"progress"}
    result = from_json(RefineResult, (tmp_path / "refine/7/result.json").read_bytes())
    found = result.registration
    assert (found.model, found.state, found.series_instance_uid) == ("rigid", "registered", "1.2")
    assert np.abs(np.array(found.matrix) - truth)[:3, 3].max() < 0.5
    assert found.quality and result.deformed is None


def test_a_deformation_is_stored_and_drawn_on_the_reference(
    tmp_path: Path, head: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of a head that bulges by up to 5 mm: afterwards it lies closer, and the file says how.
    How well it does is asked in tests/analysis/registration; here a few steps must do."""
    monkeypatch.setattr(deformable, "STAGES", ((4.0, 8.0, 20, 0.6), (2.0, 5.0, 20, 0.42)))
    middle = np.array(head.grid.shape) // 2
    low, high = middle - 16, middle + 16
    part = head.array[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    head = Volume(part, subgrid(head.grid, tuple(low), tuple(high)), head.unit, head.modality)
    points = head.grid.to_lps(np.moveaxis(np.indices(head.grid.shape)[::-1], 0, -1))
    away = ((points - head.grid.centre) ** 2).sum(axis=-1)
    bulge = np.zeros((*head.grid.shape, 3), np.float32)
    bulge[..., 0] = 5.0 * np.exp(-away / (2 * 20.0**2))
    bent, _ = resample(head, head.grid, deformation=Deformation(bulge, head.grid, IDENTITY))
    asked = request(tmp_path, bent, head, "deformable", np.eye(4))
    earlier = replace(asked.moving, prior=True, study_date="2025-01-31")
    result = refine(replace(asked, moving=earlier), silent)
    found = result.registration
    assert (found.model, found.verdict) == ("deformable", "doubtful"), found.reasons
    assert found.matrix == IDENTITY and found.deformation is not None
    field = Deformation.read(tmp_path / found.deformation.path, sha256=found.deformation.sha256)
    assert field.smallest_jacobian() > 0
    assert result.deformed is not None
    assert (result.deformed.key, result.deformed.frame_of_reference_uid) == ("deformed-7", "1.1.9")
    assert (result.deformed.prior, result.deformed.study_date) == (True, "2025-01-31")
    drawn = read_volume(tmp_path, result.deformed)
    there, inside = resample(head, drawn.grid)
    before, _ = resample(bent, drawn.grid)
    inner = inside & (np.linalg.norm(
        drawn.grid.to_lps(np.moveaxis(np.indices(drawn.grid.shape)[::-1], 0, -1))
        - head.grid.centre, axis=-1) < 30)  # fmt: skip
    error = np.abs(drawn.array - there.array)[inner].mean()
    assert error < 0.7 * np.abs(before.array - there.array)[inner].mean()


def test_what_cannot_be_compared_is_refused_with_words(tmp_path: Path, head: Volume) -> None:
    asked = request(tmp_path, head, head, "deformable", shifted(2000.0, 0, 0))
    with pytest.raises(InputRefused, match="share no region"):
        refine(asked, silent)
    assert not (tmp_path / "refine/7/result.json").exists()


@pytest.mark.parametrize("model", ["rigid", "deformable"])
def test_what_was_refined_before_is_not_refined_again(
    model: str, tmp_path: Path, head: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    field = field_on(head.grid, np.eye(4), 3.0)

    def rigid(*_: object, **__: object) -> RegistrationRecord:
        calls.append("rigid")
        return started(IDENTITY, "usable")

    def bent(*_: object, **__: object) -> tuple[RegistrationRecord, Deformation]:
        calls.append("deformable")
        return replace(started(IDENTITY), model="deformable"), field

    monkeypatch.setattr(refining, "register_series", rigid)
    monkeypatch.setattr(refining, "deform_series", bent)
    asked = request(tmp_path, head, head, model, np.eye(4))
    asked = replace(asked, cache_dir=str(tmp_path / "registrations"))
    first = refine(asked, silent)
    again = refine(replace(asked, folder="refine/8", threads=1), silent)
    assert calls == [model]
    assert again.registration.quality == first.registration.quality
    if model == "deformable":
        stored = again.registration.deformation
        assert stored is not None and stored.path == "refine/8/field.npz"
        assert Deformation.read(tmp_path / stored.path, sha256=stored.sha256)
        assert again.deformed is not None and again.deformed.path.startswith("refine/8/")
    refine(replace(asked, seed=9), silent)
    assert calls == [model, model]


def test_a_defect_is_not_called_a_refusal(
    tmp_path: Path, head: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr(refining, "deform_series", broken)
    with pytest.raises(ValueError, match="broadcast"):
        refine(request(tmp_path, head, head, "deformable", np.eye(4)), silent)


def test_a_run_draws_what_lies_deformed_and_computes_nothing_that_was_decided(
    tmp_path: Path, head: Volume
) -> None:
    """A deformation that the reader accepted goes along to the next run."""
    reference, moving = store(tmp_path, "1.1", head), store(tmp_path, "1.2", head)
    assembled = AssembleResult("glioma", "", "1.1", (reference, moving))
    (tmp_path / "assemble/result.json").write_bytes(to_json(assembled))
    field = field_on(head.grid, np.eye(4), 3.0).record(tmp_path, tmp_path / "field.npz")
    decided = replace(
        started(IDENTITY, "usable"), reference_series_uid="1.1", model="deformable",
        deformation=field,
    )  # fmt: skip
    request = StepRequest("register", str(tmp_path), (), fixed_registrations={"1.2": decided})
    result = run_step(request, silent)
    assert isinstance(result, RegisterResult)
    assert decided in result.registrations
    [drawn] = result.deformed
    assert (drawn.key, drawn.unit) == ("deformed-1.2", head.unit)
    # The image appears 3 mm before where it was: x + 3 in the moving series is seen at x.
    there = read_volume(tmp_path, drawn)
    shown, inside = resample(head, there.grid, matrix=as_matrix(shifted(-3.0, -3.0, -3.0)))
    assert np.abs(there.array - shown.array)[inside].mean() < 0.01 * np.ptp(head.array)


def field_on(grid: Grid, matrix: FloatArray, reach: float = 0.0) -> Deformation:
    displacement = np.full((2, 2, 2, 3), reach, np.float32)
    affine = grid.affine.copy()
    affine[:3, :3] = affine[:3, :3] * (np.array(grid.shape[::-1]) - 1)
    return Deformation(displacement, Grid((2, 2, 2), affine), as_matrix(matrix))


def test_the_lattice_of_a_deformed_layer() -> None:
    reference = Grid((100, 200, 200), np.diag([1.0, 1.0, 2.0, 1.0]))
    coarse = Grid((40, 50, 50), np.diag([4.0, 4.0, 5.0, 1.0]))
    same = layer_grid(reference, coarse, field_on(reference, np.eye(4)))
    assert same.spacing == pytest.approx((4.0, 4.0, 5.0))
    assert same.to_lps([-0.5, -0.5, -0.5]) == pytest.approx([-0.5, -0.5, -1.0]), "its own corner"
    far = layer_grid(reference, coarse, field_on(reference, shifted(150.0, 0, 0)))
    assert far.shape[2] < same.shape[2], "only the part that the image reaches"
    wide = layer_grid(reference, coarse, field_on(reference, shifted(150.0, 0, 0), 20.0))
    assert wide.shape[2] > far.shape[2], "as far as the field carries it"
    nowhere = layer_grid(reference, coarse, field_on(reference, shifted(1e4, 0, 0)))
    assert nowhere.spacing == pytest.approx((4.0, 4.0, 5.0))
    turned = np.eye(4)[[1, 0, 2, 3]] * [[-1], [1], [1], [1]]
    tall = Grid((40, 50, 50), np.diag([2.0, 4.0, 5.0, 1.0]))
    assert layer_grid(reference, tall, field_on(reference, turned)).spacing == pytest.approx(
        (4.0, 2.0, 5.0)
    )
    fine = Grid((1500, 1500, 1500), np.diag([0.2, 0.2, 0.2, 1.0]))
    capped = layer_grid(reference, fine, field_on(reference, np.eye(4)))
    assert 0.8 * MOST_VOXELS < np.prod(capped.shape, dtype=float) < 1.05 * MOST_VOXELS
