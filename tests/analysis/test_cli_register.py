"""``python -m analysis register``: the printed matrix is right, files open elsewhere, nonsense is
refused in words."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from analysis.__main__ import main
from analysis.commands.transforms import read_start, write_composite
from analysis.contracts import IDENTITY, QualityFigure, RegistrationRecord
from analysis.deformation import Deformation
from analysis.errors import InputRefused
from analysis.geometry import FloatArray, Grid, to_sitk
from analysis.images import read_image
from analysis.phantoms.head import make_head
from analysis.phantoms.model import Phantom
from analysis.registration.rigid import apply
from tests.analysis.dicom_series import make_series

ROOT = Path(__file__).resolve().parents[2]


def shell(*arguments: object) -> tuple[dict[str, Any], str]:
    """What the command printed on both outputs; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "register", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def head() -> Phantom:
    return make_head(5, spacing_mm=(3.0, 3.0, 3.0), positive=True)


def brain(head: Phantom) -> FloatArray:
    """Points of the brain in the frame of the reference series."""
    assert head.body is not None
    k, j, i = np.nonzero(head.body.array)
    return head.body.grid.to_lps(np.stack([i, j, k], axis=1))[::20]


def test_the_printed_matrix_maps_fixed_points_to_moving_points(
    head: Phantom, tmp_path: Path
) -> None:
    fixed, moving, out = tmp_path / "fixed.nii.gz", tmp_path / "moving.mha", tmp_path / "out"
    sitk.WriteImage(to_sitk(head.reference.volume), str(fixed))
    sitk.WriteImage(to_sitk(head.series["T2"].volume), str(moving))
    found, progress = shell(fixed, moving, "--out", out, "--threads", 2, "--seed", 3)
    assert (found["verdict"], found["reasons"]) == ("usable", [])
    # The truth maps moving to reference; the printed matrix goes the other way.
    truth = np.linalg.inv(np.array(head.series["T2"].to_reference))
    points = brain(head)
    printed = np.array(found["matrix"])
    wrong = np.linalg.norm(apply(printed, points) - apply(truth, points), axis=1)
    assert wrong.mean() < 1.0
    assert np.linalg.norm(apply(truth, points) - points, axis=1).mean() > 5.0
    figures = {figure["name"]: figure for figure in found["quality"]}
    assert figures["estimated_error"]["unit"] == "mm"
    assert all(figure["basis"] for figure in figures.values())
    for name in ("seconds_wall", "seconds_cpu", "peak_memory_mb"):
        assert found[name] > 0
    assert "%" in progress and "Traceback" not in progress
    assert found["fixed"]["modality_from"].startswith("guessed")

    assert json.loads((out / "result.json").read_text()) == found
    transform = sitk.ReadTransform(found["out"]["transform"])
    assert np.allclose(transform.TransformPoint(points[0].tolist()), apply(printed, points[:1])[0])
    brought = read_image(Path(found["out"]["moving_on_fixed"])).volume
    assert np.allclose(brought.grid.affine, head.reference.volume.grid.affine, atol=1e-4)
    inside = read_image(Path(found["out"]["field_of_view"])).volume.array
    assert 0 < inside.mean() <= 1 and inside.mean() == pytest.approx(found["covered_share"])


def test_a_real_pair(real_data: Path) -> None:
    folder = real_data / "brain-multimodal-mni"
    found, _ = shell(folder / "T1.nii", folder / "T2.nii")
    assert found["verdict"] == "usable"
    matrix = np.array(found["matrix"])
    corner = np.array([[60.0, 60.0, 60.0]])
    # Averages of different groups: they agree with the identity to about a millimetre.
    assert np.linalg.norm(apply(matrix, corner) - corner) < 2.0


def refused(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, str]:
    code = main(["register", *map(str, arguments)])
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert code == 2
    assert "Traceback" not in err
    assert found.keys() == {"command", "error"}
    return dict(found["error"])


def _image(array: np.ndarray, vector: bool = False) -> sitk.Image:
    return sitk.GetImageFromArray(array.astype(np.float32), isVector=vector)


@pytest.mark.parametrize(
    ("code", "array", "vector"),
    [
        ("not_3d", np.zeros((8, 8)), False),
        ("not_3d", np.zeros((3, 8, 8, 8)), False),
        ("not_3d", np.zeros((1, 8, 8)), False),
        ("colour_image", np.zeros((8, 8, 8, 3)), True),
        ("not_finite", np.full((8, 8, 8), np.nan), False),
        ("not_finite", np.full((8, 8, 8), np.inf), False),
    ],
)
def test_no_volume(
    code: str, array: np.ndarray, vector: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.nrrd"
    sitk.WriteImage(_image(array, vector), str(path))
    error = refused(capfd, path, path)
    assert error["code"] == code
    assert "image.nrrd" in error["message"]


def test_no_image(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = tmp_path / "good.mha"
    sitk.WriteImage(_image(np.zeros((8, 8, 8))), str(good))
    assert refused(capfd, tmp_path / "nowhere.nii", good)["code"] == "no_such_file"
    text = tmp_path / "letter.nii"
    text.write_text("hello")
    assert refused(capfd, text, good)["code"] == "unreadable_image"
    cut = tmp_path / "cut.mha"
    cut.write_bytes(good.read_bytes()[:-100])
    assert refused(capfd, cut, good)["code"] == "unreadable_image"
    letter = tmp_path / "letter.txt"
    letter.write_text("hello")
    assert refused(capfd, letter, good)["code"] == "no_dicom"
    error = refused(capfd, tmp_path, good)
    assert error["code"] == "no_dicom" and "name one of them" in error["message"]


def test_a_flat_image_is_refused_by_verdict(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It can be read, so there is an answer: refused, without a matrix and without images."""
    flat = tmp_path / "flat.mha"
    sitk.WriteImage(_image(np.zeros((40, 40, 40))), str(flat))
    assert main(["register", str(flat), str(flat), "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["verdict"], found["matrix"]) == ("refused", None)
    assert "empty" in found["reasons"][0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]


def test_dicom_folders_choose_by_uid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flat = np.full((30, 30, 30), 100, np.int16)
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    one = make_series(tmp_path / "a", flat, modality="MR", affine=affine, seed="one")
    two = make_series(tmp_path / "a" / "b", flat, modality="MR", affine=affine, seed="two")
    error = refused(capfd, tmp_path / "a", tmp_path / "a" / "b")
    assert error["code"] == "several_series"
    for series in (one, two):
        assert series.series_instance_uid in error["message"]
    uid = one.series_instance_uid
    folders = (tmp_path / "a", tmp_path / "a" / "b")
    assert refused(capfd, *folders, "--fixed-series", "1.2")["code"] == "no_such_series"
    main(["register", *map(str, folders), "--fixed-series", uid])
    found = json.loads(capfd.readouterr().out)
    assert found["fixed"]["series_instance_uid"] == uid
    assert found["moving"]["series_instance_uid"] == two.series_instance_uid
    assert found["same_frame_of_reference"] is True


def test_nifti_lies_in_lps(tmp_path: Path) -> None:
    """Voxel 0 of a NIfTI whose stored affine (RAS) says (10, 20, 30) lies at LPS (-10, -20, 30)."""
    path = tmp_path / "a.nii"
    sitk.WriteImage(_image(np.zeros((4, 5, 6))), str(path))
    raw = bytearray(path.read_bytes())
    raw[252:256] = np.array([0, 1], "<i2").tobytes()  # qform_code, sform_code
    rows = np.array([[2, 0, 0, 10], [0, 3, 0, 20], [0, 0, 4, 30]], "<f4")
    raw[280:328] = rows.tobytes()  # srow_x, srow_y, srow_z
    raw[76:92] = np.array([1, 2, 3, 4], "<f4").tobytes()  # pixdim
    path.write_bytes(raw)
    grid = read_image(path).volume.grid
    assert grid.shape == (4, 5, 6)
    assert grid.to_lps([0, 0, 0]) == pytest.approx([-10, -20, 30])
    assert grid.to_lps([1, 1, 1]) == pytest.approx([-12, -23, 34])


@pytest.mark.parametrize(
    ("name", "low", "modality"),
    [("a.mha", -1000, "CT"), ("brain_pet.mha", 0, "PT"), ("pettersson.mha", 0, "MR")],
)
def test_the_modality_is_guessed_and_said(
    name: str, low: float, modality: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    sitk.WriteImage(_image(np.linspace(low, 500, 64).reshape(4, 4, 4)), str(path))
    read = read_image(path)
    assert read.volume.modality == modality and read.modality_from.startswith("guessed")
    assert read_image(path, "MR").modality_from == "given"


def test_a_start_is_read_in_either_form(tmp_path: Path) -> None:
    euler = sitk.Euler3DTransform()
    euler.SetCenter((10.0, 20.0, 30.0))
    euler.SetRotation(0.1, -0.2, 0.3)
    euler.SetTranslation((5.0, 6.0, 7.0))
    sitk.WriteTransform(euler, str(tmp_path / "start.tfm"))
    start = np.array(read_start(tmp_path / "start.tfm"))
    point = np.array([[1.0, -2.0, 3.0]])
    there = np.array([euler.TransformPoint(point[0].tolist())])
    assert apply(start, there) == pytest.approx(point)
    (tmp_path / "result.json").write_text(json.dumps({"matrix": np.linalg.inv(start).tolist()}))
    assert np.allclose(read_start(tmp_path / "result.json"), start)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "deformable"}, 'under "linear"'),
        ({"matrix": np.diag([1.0, 1, 1, 2]).tolist()}, "last row"),
        ({"matrix": None}, "no 4x4 matrix"),
    ],
)
def test_a_start_that_would_lose_something_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"matrix": np.eye(4).tolist(), "model": "rigid"} | change))
    with pytest.raises(InputRefused, match=words) as refusal:
        read_start(path)
    assert refusal.value.code == "bad_start"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two small images that nobody registers for real."""
    rng = np.random.default_rng(1)
    paths = (tmp_path / "fixed.mha", tmp_path / "moving.mha")
    for path in paths:
        sitk.WriteImage(_image(rng.normal(100, 10, (8, 9, 10))), str(path))
    return paths


def _record(**more: Any) -> RegistrationRecord:
    shift = ((1.0, 0, 0, 5.0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))
    figure = QualityFigure("estimated_error", float("nan"), "mm", "test", None)
    return RegistrationRecord(
        "1", "2", "registered", shift, "test", "1", "usable", quality=(figure,), **more
    )


def test_options_reach_the_registration(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked: dict[str, Any] = {}

    def fake(moving: Any, reference: Any, **options: Any) -> RegistrationRecord:
        asked.update(options, moving=moving, reference=reference)
        return _record(model=options["model"])

    monkeypatch.setattr("analysis.commands.register.register_series", fake)
    start, mask = tmp_path / "start.json", tmp_path / "mask.nii"
    start.write_text(json.dumps({"matrix": np.diag([1, 1, 1, 1]).tolist()}))
    sitk.WriteImage(_image(np.eye(10)[None].repeat(10, 0)), str(mask))
    options = ["--affine", "--seed", "7", "--start", str(start), "--moving-mask", str(mask)]
    assert main(["register", *map(str, pair), *options, "--moving-modality", "PT"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (asked["model"], asked["seed"], asked["same_frame"]) == ("affine", 7, False)
    assert asked["start"] == IDENTITY and asked["moving"].modality == "PT"
    assert asked["reference_mask"] is None and set(np.unique(asked["moving_mask"].array)) == {0, 1}
    # The record brings moving points 5 mm to the left; fixed points go the other way.
    assert found["matrix"][0][3] == -5.0
    assert found["quality"][0]["value"] is None  # NaN is no JSON
    sitk.WriteImage(_image(np.zeros((8, 8, 8))), str(mask))
    error = refused(capfd, *pair, "--fixed-mask", mask)
    assert error["code"] == "empty_mask"
    assert refused(capfd, *pair, "--start", mask)["code"] == "bad_start"


def test_with_a_cache_no_call_does_work_twice(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    done: list[str] = []
    field = Deformation(np.ones((3, 3, 3, 3), np.float32), Grid((3, 3, 3), np.diag([5.0, 5, 5, 1])))

    def rigid(*_: Any, **options: Any) -> RegistrationRecord:
        done.append("rigid")
        return replace(_record(model=options["model"]), quality=())

    def bent(*_: Any, **__: Any) -> tuple[RegistrationRecord, Deformation]:
        done.append("bent")
        return replace(_record(model="deformable"), quality=()), field

    monkeypatch.setattr("analysis.commands.register.register_series", rigid)
    monkeypatch.setattr("analysis.commands.bending.deform_series", bent)

    def call(*options: str) -> dict[str, Any]:
        arguments = [*map(str, pair), "--cache", str(tmp_path / "kept"), *options]
        assert main(["register", *arguments]) == 0
        return dict(json.loads(capfd.readouterr().out))

    first, again = call(), call("--threads", "1")
    assert done == ["rigid"]
    assert again["matrix"] == first["matrix"] and again["seconds_wall"] > 0
    call("--deformable")
    out = tmp_path / "out"
    found = call("--deformable", "--out", str(out))
    assert done == ["rigid", "bent"]
    assert (out / "displacement.mha").is_file() and found["model"] == "deformable"
    pair[1].rename(pair[1].with_name("moved.mha"))
    sitk.WriteImage(sitk.ReadImage(str(pair[1].with_name("moved.mha"))) + 1, str(pair[1]))
    call()
    assert done == ["rigid", "bent", "rigid"]


def test_a_bent_result_is_written_for_others(
    pair: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    grid = Grid((3, 3, 3), np.diag([5.0, 5.0, 5.0, 1.0]))
    displacement = np.random.default_rng(2).normal(0, 1, (3, 3, 3, 3)).astype(np.float32)
    field = Deformation(displacement, grid, _record().matrix)
    monkeypatch.setattr(
        "analysis.commands.register.register_series", lambda *_, **__: _record()
    )
    monkeypatch.setattr(
        "analysis.commands.bending.deform_series",
        lambda *_, **__: (_record(model="deformable"), field),
    )
    out = tmp_path / "out"
    arguments = ["register", *map(str, pair), "--deformable", "--out", str(out)]
    assert main(arguments) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["model"], found["linear"]["model"]) == ("deformable", "rigid")
    transform = sitk.ReadTransform(found["out"]["transform"])
    stored = sitk.GetArrayFromImage(sitk.ReadImage(found["out"]["displacement"]))
    assert np.array_equal(stored, displacement)
    point = [4.0, 6.0, 3.0]
    assert transform.TransformPoint(point) == pytest.approx(field.to_moving(point), abs=1e-3)
    # A refused field leaves nothing but its verdict, not even files of the call before.
    refusal = replace(_record(model="deformable"), verdict="refused", state="not_registered")
    monkeypatch.setattr(
        "analysis.commands.bending.deform_series", lambda *_, **__: (refusal, field)
    )
    assert main(arguments) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["verdict"], found["matrix"]) == ("refused", None)
    assert found["linear"]["verdict"] == "usable"
    assert [path.name for path in out.iterdir()] == ["result.json"]


def test_a_deformation_is_written_as_itk_applies_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    displacement = rng.normal(0, 2, (5, 6, 7, 3)).astype(np.float32)
    grid = Grid((5, 6, 7), np.diag([10.0, 9.0, 8.0, 1.0]))
    turn = np.eye(4)
    turn[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turn[:3, 3] = (3, 4, 5)
    rows = tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in turn)
    deformation = Deformation(displacement, grid, rows)
    write_composite(tmp_path / "both.h5", deformation)
    transform = sitk.ReadTransform(str(tmp_path / "both.h5"))
    for point in ([20.0, 20.0, 16.0], [33.0, 21.0, 11.0]):
        assert transform.TransformPoint(point) == pytest.approx(
            deformation.to_moving(point).tolist(), abs=1e-3
        )
