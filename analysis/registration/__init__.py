"""Bringing the series of a case into one space, with proof. See README.md."""

from analysis.registration.series import register_series
from analysis.registration.thresholds import REGISTRATION_VERSION

__all__ = ["REGISTRATION_VERSION", "register_series"]
