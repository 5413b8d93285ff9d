"""Fusion of registered modalities by networks in MONAI bundles. See README.md."""

from analysis.fusion.inference import FusionOutput, infer

__all__ = ["FusionOutput", "infer"]
