"""The mock case as one of each kind that a hanging protocol is for: same voxels, other series."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.browser.mock_case import CT, HEATMAP, LABELS, LOOSE, PET, Case

SECOND, THIRD, FOURTH = 41, 42, 43
Series = tuple[int, str, str, str, str]
"""Layer, label, modality, coarse role, role of the archive."""

KINDS: dict[str, tuple[str, list[Series]]] = {
    "stroke": ("stroke", [
        (CT, "CT", "CT", "CT", "CT_NATIVE"), (SECOND, "CTA", "CT", "CT", "CTA"),
    ]),
    "heart": ("heart", [
        (CT, "CTA", "CT", "CT", "CTA"), (SECOND, "LGE", "MR", "MR", "MR_LGE"),
    ]),
    "glioma": ("glioma", [
        (CT, "T1 + contrast", "MR", "T1c", "MR_T1C"), (SECOND, "FLAIR", "MR", "FLAIR", "MR_FLAIR"),
        (THIRD, "T2", "MR", "T2", "MR_T2"), (FOURTH, "ADC", "MR", "MR", "MR_ADC"),
    ]),
    "glioma-pet": ("glioma", [
        (CT, "T1 + contrast", "MR", "T1c", "MR_T1C"), (SECOND, "FLAIR", "MR", "FLAIR", "MR_FLAIR"),
        (THIRD, "T2", "MR", "T2", "MR_T2"), (FOURTH, "ADC", "MR", "MR", "MR_ADC"),
        (PET, "PET", "PT", "PET", "PET_AC"),
    ]),
    "prior": ("lung", [
        (CT, "CT", "CT", "CT", "CT"), (SECOND, "CT (prior 2025-01-01)", "CT", "CT", "CT"),
    ]),
    "pet-ct": ("lung", [
        (CT, "CT", "CT", "CT", "CT_AC"), (PET, "PET", "PT", "PET", "PET_AC"),
    ]),
    "mpr": ("lung", [(CT, "CT", "CT", "CT", "CT")]),
}  # fmt: skip
"""Kind of case (the protocol it is shown in) -> pathway and its series, the reference first."""


class KindCase(Case):
    """A case whose ``kind`` can be changed between two openings."""

    kind = "pet-ct"
    loose = False
    """True: the PET is not registered."""
    other_patient = False
    tilted = False
    """True: the gantry leaned by 15 degrees."""

    def __init__(self) -> None:
        super().__init__(size=64, slices=30)
        for n, layer in enumerate((SECOND, THIRD, FOURTH), start=1):
            shifted = np.roll(self.arrays[CT], 2 * n, axis=2)
            self.arrays[layer] = np.ascontiguousarray(shifted)
            self.affines[layer], self.matrices[layer] = self.affines[CT], np.eye(4)
            self.factors[layer] = self.factors[CT]
            self.encode(layer)

    def reset(self) -> None:
        super().reset()
        self.preferences = {}
        self.kind, self.loose, self.other_patient, self.tilted = "pet-ct", False, False, False

    def view(self) -> dict[str, Any]:
        view = super().view()
        pathway, series = KINDS[self.kind]
        view["case"]["pathway"] = pathway
        known = {layer["id"]: layer for layer in view["layers"]}
        unregistered = known[LOOSE]["fusion"]
        layers = []
        for n, (one, label, modality, role, code) in enumerate(series):
            made = {**known.get(one, known[CT]), "id": one, "series": one, "label": label}
            made |= {"modality": modality, "role": role, "prior": "prior" in label}
            made["series_role"] = {"code": code, "label": label, "reason": "", "by_hand": False}
            made["volume"] = {"number": 1, "count": 1, "setting": "", "main": True}
            if modality == "MR":
                made |= {"unit": "1", "window": [2000, 0]}
            if n:
                made["registration_id"] = 3
                made["fusion"] = unregistered if self.loose else self.pet_fusion()
            layers.append(made)
        if self.tilted:
            c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
            lean = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]])
            for made in layers:
                made["affine"] = (lean @ made["affine"]).tolist()
        view["layers"] = [*layers, known[HEATMAP], known[LABELS]]
        if self.other_patient:
            view["patient"]["patient_id"] = "SYN-2"
        return view
