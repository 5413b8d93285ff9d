"""Grey levels and FDG uptake of the tissues of the head.

``t1``, ``t2``, ``flair`` are arbitrary units, ``gd`` is what contrast medium adds to T1, ``pet``
is SUVbw. The values follow the usual order of grey levels of spin-echo images at 1.5 to 3 T and
the usual FDG uptake (grey matter about two and a half times white matter).
"""

from __future__ import annotations

from analysis.phantoms.canvas import Material


def hotter(material: Material, factor: float) -> Material:
    """The same material with another FDG uptake."""
    out = material.copy()
    out["pet"] = material["pet"] * factor
    return out


def _m(t1: float, t2: float, flair: float, gd: float, pet: float) -> Material:
    return {"t1": t1, "t2": t2, "flair": flair, "gd": gd, "pet": pet}


AIR = _m(4, 4, 4, 0, 0)
SKIN = _m(380, 300, 300, 60, 0.7)
FAT = _m(880, 560, 620, 10, 0.3)
MUSCLE = _m(390, 190, 260, 60, 0.8)
BONE = _m(55, 45, 45, 0, 0.3)
MARROW = _m(520, 300, 320, 20, 0.9)
CSF = _m(150, 980, 70, 0, 0.3)
GREY = _m(470, 500, 500, 20, 8.6)
WHITE = _m(660, 340, 390, 15, 3.4)
STEM = _m(612.5, 380, 417.5, 16.25, 4.7)
NUCLEUS = _m(510, 430, 450, 20, 9.4)
PALLIDUM = _m(590, 330, 380, 20, 5.5)
BLOOD = _m(110, 60, 90, 900, 1.6)
DURA = _m(240, 140, 200, 330, 1.0)
MUCOSA = _m(400, 720, 620, 320, 1.8)
VITREOUS = _m(150, 950, 80, 0, 0.3)
PLEXUS = _m(350, 620, 420, 420, 1.5)
GLAND = _m(480, 480, 470, 380, 2.0)
LENS = _m(420, 90, 150, 0, 0.4)
