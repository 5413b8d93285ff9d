"""A known bend is found, in other contrast too; folds, strangers and noise are not passed off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from analysis.contracts import IDENTITY, Matrix, QualityFigure, RegistrationRecord, Verdict
from analysis.deformation import Deformation
from analysis.geometry import FloatArray, Grid, Volume, as_matrix
from analysis.registration import deformable as d
from analysis.registration.answers import ASPECTS
from analysis.registration.deformable import deform_series, stored
from analysis.registration.deformable_quality import Figures, judge
from analysis.resampling import resample

SIZE = 44
GRID = Grid((SIZE, SIZE, SIZE), np.diag([2.5, 2.5, 2.5, 1.0]))


def anatomy(seed: int = 1) -> FloatArray:
    """A ball of 110 mm with structure of about 12 mm in it, 0 outside; values 100 to 300."""
    rng = np.random.default_rng(seed)
    texture = ndimage.gaussian_filter(rng.normal(size=GRID.shape), 2.0)
    axis = np.linspace(-1, 1, SIZE)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    inside = x**2 + y**2 + z**2 < 0.8
    return np.where(inside, 200 + 50 * np.clip(texture / texture.std(), -2, 2), 0.0)


def bend(height_mm: float) -> Deformation:
    """moving(y) = image(y + s(y)): a smooth bump in the middle."""
    axis = np.linspace(-1, 1, SIZE)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    bump = np.exp(-((x**2 + y**2 + z**2) / 0.18))
    u = height_mm * np.stack([bump, 0 * bump, 0.6 * bump], axis=-1)
    return Deformation(u.astype(np.float32), GRID)


def scan(array: FloatArray, seed: int, grid: Grid = GRID) -> Volume:
    noise = np.random.default_rng(seed).normal(0, 3, array.shape)
    return Volume((array + noise).astype(np.float32), grid, "1", "MR")


def through(array: FloatArray, map_: Deformation) -> FloatArray:
    k, j, i = np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij")
    index = GRID.to_index(map_.to_moving(GRID.to_lps(np.stack([i, j, k], axis=-1))))
    return ndimage.map_coordinates(
        array, np.moveaxis(index[..., ::-1], -1, 0), order=1, mode="nearest"
    )


def rigid_record(verdict: Verdict = "usable", matrix: Matrix = IDENTITY) -> RegistrationRecord:
    refused = verdict == "refused"
    return RegistrationRecord(
        "1.2.3", "1.2.4", "not_registered" if refused else "registered", matrix, "rigid", "1",
        verdict, () if verdict == "usable" else ("look at it",),
        (QualityFigure("estimated_error", 0.5, "mm", "test"),),
    )


def solve(
    moving: Volume, reference: Volume, record: RegistrationRecord, threads: int = 2
) -> tuple[RegistrationRecord, Deformation]:
    return deform_series(moving, reference, record, seed=3, threads=threads)


@pytest.fixture
def solved(monkeypatch: pytest.MonkeyPatch, bent: object) -> None:
    """The descents of ``bent`` again, at no cost."""
    monkeypatch.setattr(d, "_solve", lambda *_: KEPT["velocities"])


def middle_points() -> FloatArray:
    rng = np.random.default_rng(0)
    return GRID.centre + rng.uniform(-25, 25, (300, 3))


def error_mm(found: Deformation, truth: Deformation, shift: FloatArray | float = 0.0) -> FloatArray:
    points = middle_points()
    wanted = truth.to_reference(points) + shift
    return np.asarray(np.linalg.norm(found.to_moving(points) - wanted, axis=1))


KEPT: dict[str, Any] = {}


@pytest.fixture(scope="module", autouse=True)
def fewer_steps() -> Iterator[None]:
    """Half the steps find these small bends; the benchmark runs them all."""
    with pytest.MonkeyPatch.context() as patch:
        halved = tuple((voxel, node, n // 2, pace) for voxel, node, n, pace in d.STAGES)
        patch.setattr(d, "STAGES", halved)
        yield


@pytest.fixture(scope="module")
def bent(fewer_steps: None) -> tuple[RegistrationRecord, Deformation]:
    own = d._solve

    def keeping(*arguments: Any) -> Any:
        KEPT["velocities"] = own(*arguments)
        return KEPT["velocities"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(d, "_solve", keeping)
        return solve(scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6), rigid_record())


def test_a_known_bend_is_found(bent: tuple[RegistrationRecord, Deformation]) -> None:
    record, field = bent
    assert (record.model, record.state, record.verdict) == ("deformable", "registered", "usable")
    before = np.linalg.norm(bend(9.0).to_reference(middle_points()) - middle_points(), axis=1)
    after = error_mm(field, bend(9.0))
    assert before.mean() > 3.5
    assert after.mean() < 0.8
    assert np.percentile(after, 95) < 2.0
    figures = {q.name: q for q in record.quality}
    assert figures["folded"].value == 0.0
    assert figures["shared_information_gain"].passed
    assert figures["jacobian_min"].value > 0.33
    assert figures["estimated_error"].value < 2.0
    assert all(not figures.keys().isdisjoint(names) for names in ASPECTS.values())
    assert 0 < figures["start_spread"].value < 2.0


def test_there_and_back_is_one_deformation(bent: tuple[RegistrationRecord, Deformation]) -> None:
    points = middle_points()
    again = bent[1].to_reference(bent[1].to_moving(points))
    assert np.linalg.norm(again - points, axis=1).max() < 0.1


def test_another_contrast_and_another_place_are_found_too() -> None:
    """Inverted grey values; and the moving series lies 300 mm away, as the matrix knows."""
    away = np.eye(4)
    away[:3, 3] = (300.0, -40.0, 10.0)
    image = through(anatomy(), bend(8.0))
    inverted = np.where(image > 50, 400 - image, image)
    moving = scan(inverted, 5, Grid(GRID.shape, away @ GRID.affine))
    matrix = as_matrix(np.linalg.inv(away))
    record, field = solve(moving, scan(anatomy(), 6), rigid_record(matrix=matrix))
    assert record.verdict != "refused"
    assert (record.model, record.matrix) == ("deformable", matrix)
    assert error_mm(field, bend(8.0), away[:3, 3]).mean() < 1.2


def test_the_same_seed_gives_the_same_field_on_any_number_of_threads(
    bent: tuple[RegistrationRecord, Deformation],
) -> None:
    record, field = solve(
        scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6), rigid_record(), threads=1
    )
    assert record == bent[0]
    assert np.array_equal(field.displacement, bent[1].displacement)


def test_without_a_bend_the_rigid_alignment_is_kept() -> None:
    record, field = solve(scan(anatomy(), 5), scan(anatomy(), 6), rigid_record())
    assert (record.model, record.verdict, record.method) == ("rigid", "usable", "rigid")
    assert "no gain" in record.parameters["deformable"]["result"]
    assert not field.displacement.any()
    assert np.isfinite(field.to_moving(GRID.centre)).all()


@pytest.mark.usefixtures("solved")
def test_what_rigid_doubts_stays_doubtful_and_what_it_refuses_is_not_tried() -> None:
    moving, reference = scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6)
    record, _ = solve(moving, reference, rigid_record("doubtful"))
    assert record.verdict == "doubtful"
    assert "look at it" in record.reasons

    def never(_share: float, _text: str) -> None:
        pytest.fail("nothing is computed after a refusal")

    refused, field = deform_series(
        moving, reference, rigid_record("refused"), seed=3, threads=2, progress=never
    )
    assert (refused.verdict, refused.state) == ("refused", "not_registered")
    assert not field.displacement.any()


def test_images_without_common_structure_do_not_become_usable() -> None:
    """Another patient whose rigid alignment was passed by mistake."""
    record, field = solve(scan(anatomy(7), 5), scan(anatomy(1), 6), rigid_record())
    if record.model == "deformable":
        assert record.verdict != "usable"
    else:
        assert not field.displacement.any()


def test_what_a_mask_leaves_out_has_no_say() -> None:
    moving, reference = scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6)
    half = np.zeros(GRID.shape, np.uint8)
    half[:, :, : SIZE // 2 + 6] = 1
    # Beyond the mask the reference shows something else altogether.
    reference.array[:, :, SIZE // 2 + 8 :] = anatomy(9)[:, :, SIZE // 2 + 8 :]
    _, field = deform_series(
        moving, reference, rigid_record(), seed=3, threads=2,
        reference_mask=Volume(half, GRID, "1"),
    )
    counted = middle_points()[:, 0] < GRID.centre[0] + 5.0
    assert error_mm(field, bend(9.0))[counted].mean() < 1.0


def test_masks_that_leave_nothing_are_an_error() -> None:
    nothing = Volume(np.zeros(GRID.shape, np.uint8), GRID, "1")
    with pytest.raises(ValueError, match="nothing to compare"):
        deform_series(
            scan(anatomy(), 5), scan(anatomy(), 6), rigid_record(), seed=3, threads=2,
            moving_mask=nothing,
        )


def test_what_is_in_hounsfield_units_is_a_ct_whatever_it_is_called() -> None:
    """Table and air of a CT without a modality must not become the body."""
    array = np.full(GRID.shape, -1000.0, np.float32)
    array[:, 12:32, 12:32] = 40.0
    array[:, 38:40] = -300.0
    views = [
        d._Scene(ct, ct, IDENTITY, None, None).at(5.0)
        for ct in (Volume(array, GRID, "[hnsf'U]", name) for name in ("CT", ""))
    ]
    assert np.array_equal(views[0].body, views[1].body)
    assert 0 < views[1].body.mean() < 0.4


def test_progress_grows_and_can_stop_the_work() -> None:
    seen: list[float] = []

    class Cancelled(Exception):
        """The reader has had enough."""

    def progress(share: float, _text: str) -> None:
        seen.append(share)
        if share > 0.2:
            raise Cancelled

    with pytest.raises(Cancelled):
        deform_series(
            scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6), rigid_record(),
            seed=3, threads=2, progress=progress,
        )
    assert seen == sorted(seen)


@pytest.mark.usefixtures("solved")
def test_a_folded_field_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Folding(Deformation):
        def folded_share(self) -> float:
            return 1e-6

    monkeypatch.setattr(d, "Deformation", Folding)
    record, field = solve(
        scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6), rigid_record()
    )
    assert (record.verdict, record.state) == ("refused", "not_registered")
    assert any("folds" in reason for reason in record.reasons)
    assert not field.displacement.any()


GOOD = Figures(
    shared_before=0.2, shared_after=0.4, mismatch_before=0.05, mismatch_after=0.02,
    consistency_mean_mm=0.5, consistency_p95_mm=1.0, jacobian_min=0.7, jacobian_p1=0.8,
    jacobian_p99=1.2, jacobian_max=1.4, folded=0.0, moved_mean_mm=3.0, moved_max_mm=12.0,
    covered=0.9, voxel_mm=2.0, start_error_mm=0.5, spread_mm=0.5,
)  # fmt: skip


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "usable"),
        ({"folded": 1e-9}, "refused"),
        ({"jacobian_min": 0.3}, "doubtful"),
        ({"jacobian_max": 3.1}, "doubtful"),
        ({"consistency_p95_mm": 3.5}, "doubtful"),
        ({"consistency_p95_mm": 3.5, "voxel_mm": 4.0}, "usable"),
        ({"consistency_mean_mm": 6.0, "consistency_p95_mm": 9.0}, "refused"),
        ({"moved_max_mm": 60.0}, "doubtful"),
        ({"spread_mm": 3.5}, "doubtful"),
        ({"spread_mm": float("nan")}, "refused"),
        ({"shared_after": 0.05}, "doubtful"),
        ({"shared_after": 0.02}, "refused"),
        ({"covered": 0.2}, "doubtful"),
        ({"consistency_mean_mm": float("nan")}, "refused"),
        ({"jacobian_max": float("nan")}, "refused"),
        ({"folded": float("nan")}, "refused"),
    ],
)
def test_each_figure_has_its_limit(change: dict[str, float], verdict: Verdict) -> None:
    found, reasons = judge(replace(GOOD, **change))
    assert found == verdict
    assert bool(reasons) == (verdict != "usable")


def test_the_result_is_stored_and_shown(
    bent: tuple[RegistrationRecord, Deformation], tmp_path: Path
) -> None:
    record = stored(*bent, tmp_path, tmp_path / "register" / "field.npz")
    assert record.deformation is not None
    read = Deformation.read(tmp_path / record.deformation.path, sha256=record.deformation.sha256)
    moving, reference = scan(through(anatomy(), bend(9.0)), 5), scan(anatomy(), 6)
    shown, inside = resample(moving, reference.grid, deformation=read)
    unbent, _ = resample(moving, reference.grid)
    middle = (slice(14, 30),) * 3

    def alike(volume: Volume) -> float:
        return float(
            np.corrcoef(volume.array[middle].ravel(), reference.array[middle].ravel())[0, 1]
        )

    assert alike(shown) > 0.9 > alike(unbent)
    assert inside[middle].all()
    assert stored(rigid_record(), read, tmp_path, tmp_path / "none.npz").deformation is None
