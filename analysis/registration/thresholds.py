"""Every limit that decides a registration's verdict, in one place, each with its reason.

"Measured" means: chosen so that the pairs of ``python -m tests.benchmarks.registration`` fall on
the right side with room to spare; the measured values stand in this folder's README.
"""

from __future__ import annotations

REGISTRATION_VERSION = "2.2"
"""Version of this method, stored with each record. Raise it when results can change."""

# --- Resolution and sampling -----------------------------------------------------------------

LEVELS_MM = (8.0, 4.0, 2.0)
"""Target voxel size of each level. Finer than 2 mm gains nothing that the images can show."""

POINTS = (2_500, 8_000, 24_000)
"""Reference points compared on each level, coarsest first."""

FINAL_POINTS = 60_000
"""Points of the last descents, which give the result. On brain averages they change less than
0.05 mm, on a native T2 with 5 mm slices 0.2 mm (measured)."""

BINS = (16, 24, 18)
"""Intensity classes of the joint histogram on each level. Few points carry few classes; near the
end many classes let voxels of mixed tissue pull: on PD against T1 64 classes ended 1.2 mm off, 32
0.9 mm, 18 0.7 mm, 16 no better elsewhere (measured)."""

MIDDLE_MM = 2.0
"""The result lies in the middle between both directions if they end at most this far apart;
farther, one of them is wrong, and the middle would be as well."""

CT_HU = (-200.0, -120.0, 150.0, 1200.0)
CT_SHARES = (0.0, 0.10, 0.75, 1.0)
"""HU kept for registration and their places on the scale that the histogram covers: below is air
and lung, above is metal; fat, fluid and muscle get two thirds of the bins."""

# --- Can the pair be judged at all -----------------------------------------------------------

MIN_FOREGROUND_ML = 60.0
"""Less tissue than a 5 cm ball holds too little shape to fix six parameters."""

MIN_EXTENT_MM = 20.0
"""A slab thinner than this cannot fix rotations out of its plane."""

# --- Rigid registration ----------------------------------------------------------------------

OVERLAP_REFUSED = 0.30
OVERLAP_DOUBTFUL = 0.60
"""Share of the smaller body region that lies inside the other's field of view."""

AGREEMENT_REFUSED = 0.60
AGREEMENT_DOUBTFUL = 0.75
"""Dice of the two body outlines where both fields of view overlap. Measured: synthetic true pairs
0.93 and more, real brain PET on MR 0.80; head against thorax 0.48-0.71, which this figure alone
only doubts: others refuse it."""

SHARED_INFORMATION_REFUSED = 0.015
SHARED_INFORMATION_DOUBTFUL = 0.04
"""Normalised mutual information minus 1 inside the shared body (air left out, small-sample bias
removed): 0 for unrelated images."""

CONSISTENCY_DOUBTFUL_MM = 2.0
CONSISTENCY_REFUSED_MM = 5.0
ROUND_TRIP_REFUSED_MM = 6.0
"""AAPM TG-132: within the largest voxel dimension, 2-3 mm. The first two are for the distance
between a delivered transform and the place to which the images move it, the first and the last for
the mean round trip of our own two registrations with exchanged roles, which on real PET and CT of a
leg differ by 5 mm and yet lie within 2 mm of the clinical fusion. Half the largest voxel (doubtful)
or all of it (refused) counts instead where that is more."""

SPREAD_DOUBTFUL_MM = 2.0
SPREAD_REFUSED_MM = 6.0
"""Mean distance between solutions reached from perturbed starts: a wide spread means that the
images do not determine the position."""

SHARPNESS_REFUSED = 0.10
SHARPNESS_DOUBTFUL = 0.20
"""Relative loss of shared information for a 10 mm shift. A true pair loses most of it."""

MIRROR_DOUBTFUL = 0.0
MIRROR_REFUSED = 0.02
"""Relative gain of shared information when the moving image is mirrored left-right: a real gain
means that one of the two was stored flipped."""

TARGET_ERROR_DOUBTFUL_MM = 4.0
TARGET_ERROR_REFUSED_MM = 10.0
"""Estimated error above which fused reading is not supported without a look. AAPM TG-132 asks
for 2-3 mm on landmarks; PET voxels reach 4-5 mm. Refused above the second where errors of several
legs add up (chains); within one registration the parts have limits of their own."""

DISAGREEMENT_DOUBTFUL = 0.30
DISAGREEMENT_MM = 25.0
"""Local misfit (share of misplaced blocks) plus local distance over 25 mm: each alone leaves true
pairs and other patients closer together. Measured: true pairs 0.01-0.30, other patients 0.34 and
more. It never refuses: limbs move and breathing changes."""

DISAGREEMENT_BLIND = 1.35
"""Misfit and distance of blocks that have nothing to do with each other lie between 1.4 and 1.75
(measured, 40 mm and more from the true place). So high, and in a shared frame, the blocks cannot
tell whether it is right: PET on CT of a leg 1.40 and 1.59 where it is; other patients, whose blocks
do tell, 0.46 to 1.03."""

BLOCKS_DOUBTFUL = 6
"""Fewer blocks than this say nothing about the rest of the body."""

SCALE_DOUBTFUL = 1.10
SCALE_REFUSED = 1.25
SHEAR_DOUBTFUL = 0.08
SHEAR_REFUSED = 0.15
"""Scanners are calibrated to 1-2 %; more than 10 % is another body, or a wrong voxel size."""

# --- Same frame of reference -----------------------------------------------------------------

SAME_FRAME_SHIFT_MM = 6.0
"""Shift of the best match that counts as moved (plus half of the largest voxel): beyond what
breathing, contrast and voxel size explain between the parts of one examination."""

SAME_FRAME_GAIN = 0.10
"""Relative gain of shared information at the shifted place that makes the shift credible."""
