"""The thorax: same seed same patient, true volumes, and neither modality enough alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from analysis.contracts import IDENTITY
from analysis.phantoms.model import LesionSpec, Phantom
from analysis.phantoms.thorax import PET_FWHM_MM, make_thorax
from analysis.resampling import resample

VERY_COARSE = (6.0, 6.0, 6.0)


def test_same_seed_same_patient_bit_for_bit(thorax: Phantom) -> None:
    again = make_thorax(7, spacing_mm=(4.0, 4.0, 4.0), positive=True)
    assert again.lesions == thorax.lesions
    for role, series in thorax.series.items():
        assert np.array_equal(series.volume.array, again.series[role].volume.array)
    other = make_thorax(8, spacing_mm=(4.0, 4.0, 4.0), positive=True)
    assert not np.array_equal(other.series["CT"].volume.array, thorax.series["CT"].volume.array)


def test_voxel_size_does_not_change_the_patient(thorax: Phantom) -> None:
    coarse = make_thorax(7, spacing_mm=VERY_COARSE, positive=True)
    assert coarse.lesions == thorax.lesions
    a, b = thorax.series["CT"].noise_free, coarse.series["CT"].noise_free
    back = resample(a, b.grid)[0].array
    assert np.corrcoef(back.ravel(), b.array.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("positive", [True, False])
def test_positive_decides_the_avid_nodule(positive: bool) -> None:
    for seed in range(2):
        phantom = make_thorax(seed, spacing_mm=VERY_COARSE, positive=positive)
        assert phantom.high_risk is positive
        assert any(lesion.suspicious for lesion in phantom.lesions) is positive
        assert positive or not phantom.labels["suspicious"].array.any()


def test_ct_and_pet_share_one_frame(thorax: Phantom) -> None:
    ct, pet = thorax.series["CT"], thorax.series["PET"]
    assert ct.frame == pet.frame
    assert ct.to_reference == pet.to_reference == IDENTITY
    assert ct.volume.unit == "[hnsf'U]" and pet.volume.unit == "g/ml{SUVbw}"


def test_labels_hold_the_true_volume_and_place(fine_thorax: Phantom) -> None:
    label = fine_thorax.labels["nodule"]
    parts, count = ndimage.label(label.array)
    assert count == len(fine_thorax.lesions)
    for lesion in fine_thorax.lesions:
        k, j, i = np.round(label.grid.to_index(lesion.centre)).astype(int)[::-1]
        mask = parts == parts[k, j, i]
        volume = mask.sum() * label.grid.voxel_volume_ml
        assert volume == pytest.approx(lesion.volume_ml, rel=0.05)
        centroid = label.grid.to_lps(np.argwhere(mask).mean(axis=0)[::-1])
        assert np.linalg.norm(centroid - lesion.centre) < 1.5
        assert lesion.laterality == ("right" if lesion.centre[0] < 0 else "left")
    avid = fine_thorax.labels["suspicious"].array
    assert not np.any(avid & ~label.array)


@pytest.mark.parametrize("picture", ["noise_free", "volume"])
def test_half_maximum_on_ct_gives_the_true_volume(fine_thorax: Phantom, picture: str) -> None:
    """The border between lung (about -860 HU) and nodule (about 40 HU) lies at -410 HU."""
    ct = getattr(fine_thorax.series["CT"], picture)
    for lesion in fine_thorax.lesions:
        centre = ct.grid.to_index(lesion.centre)
        reach = 0.8 * lesion.diameter_mm / np.array(ct.grid.spacing)
        low = np.floor(centre - reach).astype(int)
        high = np.ceil(centre + reach).astype(int) + 1
        part = ct.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
        parts, _ = ndimage.label(part > -410)
        k, j, i = np.round(centre - low).astype(int)[::-1]
        volume = (parts == parts[k, j, i]).sum() * ct.grid.voxel_volume_ml
        assert volume == pytest.approx(lesion.volume_ml, rel=0.10)


def test_a_large_lesion_keeps_its_uptake_and_a_small_one_loses_it(fine_thorax: Phantom) -> None:
    pet = fine_thorax.series["PET"].noise_free
    recovery = []
    for lesion in fine_thorax.lesions:
        if lesion.suspicious:
            here = pet.grid.to_index(lesion.centre)[::-1]
            value = ndimage.map_coordinates(pet.array, here[:, None], order=1)[0]
            recovery.append(value / lesion.uptake_suv)
    assert recovery == sorted(recovery)  # by size
    assert recovery[-1] == pytest.approx(1.0, abs=0.01)
    assert recovery[0] < 0.85  # 11 mm under a blur of 6.5 mm
    assert PET_FWHM_MM == 6.5


def test_organs_have_their_usual_values(fine_thorax: Phantom) -> None:
    ct, pet = (fine_thorax.series[r].volume for r in ("CT", "PET"))

    def mean(volume, lps, size=8.0):
        low, high = (
            np.round(volume.grid.to_index(np.add(lps, d))).astype(int) for d in (-size, size)
        )
        return float(volume.array[low[2] : high[2], low[1] : high[1], low[0] : high[0]].mean())

    liver = (-70.0, 10.0, -120.0)
    assert mean(ct, liver) == pytest.approx(58, abs=8)
    assert 1.7 < mean(pet, liver) < 2.5
    assert mean(ct, (0.0, 10.0, 60.0), 3.0) < -950  # trachea
    assert mean(ct, (0.0, -150.0, 0.0), 3.0) == pytest.approx(-1000, abs=15)


def test_neither_modality_is_enough_alone() -> None:
    """Nodules without uptake (CT misleads) and uptake without nodule (PET misleads)."""
    cold_nodules = hot_places = 0
    for seed in range(6):
        phantom = make_thorax(seed, spacing_mm=VERY_COARSE, noise=0.0)
        cold_nodules += sum(not lesion.suspicious for lesion in phantom.lesions)
        pet = phantom.series["PET"].noise_free
        share = phantom.labels["suspicious"]
        label = resample(share, pet.grid)[0].array
        away = ndimage.distance_transform_edt(label < 0.3, sampling=pet.grid.spacing[::-1]) > 15
        z = pet.grid.to_lps(np.argwhere(np.ones(pet.array.shape))[:, ::-1])
        lung_level = ((z[:, 2] > 5) & (np.abs(z[:, 0]) < 130)).reshape(pet.array.shape)
        hot_places += int(((pet.array > 2.2) & away & lung_level).any())
    assert cold_nodules >= 3
    assert hot_places >= 2


def test_a_lesion_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        make_thorax(1, spacing_mm=VERY_COARSE, lesions=[LesionSpec(150.0, 5.0, True)])
