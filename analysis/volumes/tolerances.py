"""How far headers may be from an even, straight, orthogonal stack: every tolerance by its name.

What lies within them is read as it stands, what lies a little beyond is interpolated and said, the
rest is refused in words. How far the result is from what each slice says of itself is measured for
every volume (:data:`PLACEMENT_NOTICE_MM`), whatever the tolerances let pass.
"""

from __future__ import annotations

MIN_SLICES = 3
"""Fewer images are a localiser or a key image, not a volume."""
SAME_POSITION_MM = 0.01
"""Slices closer than this lie at the same position."""

# --- orientation ---------------------------------------------------------------------------------

PARALLEL = 1e-3
"""Largest difference between direction cosines of slices that count as parallel (0.06 degrees)."""
SAME_PLANE = 1e-2
"""Frames whose cosines differ by more were never meant to be parallel (0.6 degrees)."""
OWN_ORIENTATION = 10
"""Parallel slices in a series of several orientations that are believed to be a volume of their
own; fewer (localisers in three planes, radial scans) and the series is refused as mixed."""
UNIT_LENGTH = 1e-2
"""How far a direction's length may be from 1: headers round cosines."""
ORTHOGONAL = 2e-3
"""Largest cosine between rows and columns: three decimals of rounding."""

# --- spacing along the stack ---------------------------------------------------------------------

EVEN = 0.05
"""A slice of an even stack may lie this part of the spacing off its place ..."""
EVEN_MM = 0.06
"""... or this far, whichever is more: headers round positions to 0.1 mm."""
DRIFT = 0.25
"""Part of the spacing that slices may drift off even places, summed up along the stack."""
UNEVEN_STEPS = (0.5, 1.6)
"""Slices off even places are interpolated to even ones while all steps are within these multiples
of the usual step. Below 2, so that a missing slice is never bridged."""
CONTIGUOUS = 0.1
"""Steps of other lengths are planned, and no slices are missing, where each step is the mean of its
two slices' thicknesses to this part: thin slices of the skull base, thick ones above."""
CONTIGUOUS_STEPS_MM = 12.0
"""The longest such step that is interpolated."""
HEADER_SPACING = 0.1
"""Relative difference to SpacingBetweenSlices above which a notice is given."""

# --- straightness --------------------------------------------------------------------------------

SIDEWAYS_MM = 0.1
"""A slice may lie this far beside the straight line through all slices."""
TILT_DEGREES = 0.05
"""A stack that leans more than this against its slices' normal (gantry tilt) is resampled ..."""
TILT_MM = 0.15
"""... if it leans by more than this from end to end: less is rounding of positions."""

# --- in the plane --------------------------------------------------------------------------------

SAME_PIXELS = 1e-3
"""Relative difference of PixelSpacing within one volume."""

PLACEMENT_NOTICE_MM = 0.5
"""A notice is given when a voxel lies this far from where its own slice's header puts it."""
