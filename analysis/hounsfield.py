"""Hounsfield units: their code, and the value of air. Nothing else."""

from __future__ import annotations

HU_UNIT = "[hnsf'U]"
"""Hounsfield units in UCUM."""
AIR_HU = -1024.0
"""What stands where a CT shows nothing."""
