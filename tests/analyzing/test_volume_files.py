"""The web's reader of stored volumes, against a volume whose every value is known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.contracts import IDENTITY, to_json
from analysis.slice_codec import decode_slice
from tests.analyzing.results import AFFINE, ramp, stored
from tests.conftest import ROOT
from tests.factories import LayerFactory
from workstation.analyzing.models import Layer, LayerKind, Run
from workstation.analyzing.requests import run_folder
from workstation.analyzing.volume_files import (
    StoredVolume,
    VolumeUnreadable,
    open_layer,
    read_volume,
    sample,
)

HALF = {"slope": 0.5, "intercept": -1000.0}


def layer_of(run: Run, array: np.ndarray, kind: str = "series", **more: object) -> Layer:
    record = stored(run_folder(run), "heatmap", array, path="assemble/v.rfv", **more)
    index = json.loads(to_json(record))
    return LayerFactory(run=run, kind=kind, key=kind, series=None, record=index)


def lps(i: float, j: float, k: float) -> list[float]:
    """The point of a voxel index, by the affine of the test volumes."""
    return (np.array(AFFINE) @ [i, j, k, 1.0])[:3].tolist()


def expected(i: float, j: float, k: float) -> float:
    return (100 * k + 10 * j + i) * 0.5 - 1000.0


def test_slices_are_the_stored_bytes(run: Run) -> None:
    array = ramp((6, 8, 10))
    with open_layer(layer_of(run, array, coarse=2)) as volume:
        for k in range(6):
            assert (decode_slice(volume.read_slice(0, k), (8, 10), 1) == array[k]).all()
        for k in range(3):
            coarse = decode_slice(volume.read_slice(1, k), (4, 5), 1)
            assert (coarse == array[2 * k, ::2, ::2]).all()
        for level, k in ((0, 6), (0, -1), (1, 3)):
            with pytest.raises(IndexError):
                volume.read_slice(level, k)


def test_a_whole_volume_in_physical_values(run: Run) -> None:
    layer = layer_of(run, ramp(), **HALF)
    values = read_volume(layer)
    assert values.array.dtype == np.float32 and values.unit == "[hnsf'U]"
    assert np.array_equal(values.array, ramp() * np.float32(0.5) - 1000)
    assert np.array_equal(values.affine, np.array(AFFINE))


def test_labels_stay_labels(run: Run) -> None:
    labels = (ramp() % 3).astype(np.uint8)
    layer = layer_of(run, labels, kind=LayerKind.SEGMENTATION, unit="1")
    assert np.array_equal(read_volume(layer).array, labels)
    between = [lps(1.4, 1.0, 0.0), lps(1.6, 1.0, 0.0)]
    assert sample(layer, between, IDENTITY).tolist() == [labels[0, 1, 1], labels[0, 1, 2]]


def test_the_coarse_level_lies_where_the_fine_one_does(run: Run) -> None:
    values = read_volume(layer_of(run, ramp((6, 8, 10)), coarse=2), level=1)
    corner = values.affine @ [-0.5, -0.5, -0.5, 1]
    assert np.allclose(corner, np.array(AFFINE) @ [-0.5, -0.5, -0.5, 1])


@given(
    i=st.floats(0, 5), j=st.floats(0, 4), k=st.floats(0, 3)
)
def test_sampling_a_linear_volume_is_exact(
    tmp_path_factory: pytest.TempPathFactory, i: float, j: float, k: float
) -> None:
    folder = tmp_path_factory.getbasetemp() / "linear"
    with StoredVolume(stored(folder, "v", ramp(), path="v.rfv", **HALF), folder) as volume:
        (value,) = volume.values_at([lps(i, j, k)], nearest=False)
    assert value == pytest.approx(expected(i, j, k), abs=1e-6)


def test_sampling_through_a_registration(run: Run) -> None:
    """layer -> reference is a quarter turn about z and a shift; the same voxel is hit."""
    layer = layer_of(run, ramp(), **HALF)
    matrix = np.array([[0, -1, 0, 7], [1, 0, 0, -3], [0, 0, 1, 11], [0, 0, 0, 1.0]])
    points = [(matrix @ [*lps(*ijk), 1])[:3] for ijk in ((1, 2, 3), (4.5, 0.25, 1.5))]
    values = sample(layer, points, matrix)
    assert values.tolist() == pytest.approx([expected(1, 2, 3), expected(4.5, 0.25, 1.5)])


def test_outside_is_not_a_number(run: Run) -> None:
    layer = layer_of(run, ramp(), **HALF)
    rim = [lps(-0.5, 0, 0), lps(5.5, 4.5, 3.5)]
    beyond = [lps(-0.51, 0, 0), lps(0, 4.51, 0), lps(0, 0, 3.51)]
    assert sample(layer, rim, IDENTITY).tolist() == [expected(0, 0, 0), expected(5, 4, 3)]
    assert np.isnan(sample(layer, beyond, IDENTITY)).all()


def test_a_missing_or_short_file_is_said(run: Run) -> None:
    layer = layer_of(run, ramp())
    file = run_folder(run) / "assemble" / "v.rfv"
    file.write_bytes(file.read_bytes()[:-3])
    with open_layer(layer) as volume, pytest.raises(VolumeUnreadable, match="damaged"):
        volume.read_slice(0, 3)
    file.unlink()
    with pytest.raises(VolumeUnreadable, match="gone"):
        open_layer(layer)


def test_a_path_cannot_leave_the_run(run: Run) -> None:
    layer = layer_of(run, ramp())
    layer.record["path"] = "../../secret"
    with pytest.raises(VolumeUnreadable, match="outside"):
        open_layer(layer)


def test_the_web_process_loads_no_science() -> None:
    code = (
        "import os, sys, django; os.environ['DJANGO_SETTINGS_MODULE'] = "
        "'workstation.settings.testing'; django.setup(); "
        "import workstation.urls, workstation.sockets, workstation.analyzing.volume_files, "
        "workstation.workers; "
        "print(sorted({'torch', 'monai', 'SimpleITK'} & set(sys.modules)), "
        "'analysis.slice_codec' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(ROOT), capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "[] True"
