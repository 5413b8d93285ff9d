"""DICOM series to trusted volumes: ordered, complete, in physical units, or refused with a reason.

``reading`` opens files, ``frames`` makes single frames of any object, ``splitting`` sorts them into
volumes, ``stacking`` proves the geometry, ``values`` turns stored numbers into HU, SUV or signal,
``series`` puts them together (what a series is, ``analysis.roles`` says), ``scanning`` finds the
series in a folder.
"""

from analysis.volumes.scanning import scan_folder
from analysis.volumes.series import (
    LoadedVolume,
    PlannedVolume,
    SeriesHeader,
    SeriesPlan,
    load_series,
    load_volume,
    plan_series,
)

__all__ = [
    "LoadedVolume",
    "PlannedVolume",
    "SeriesHeader",
    "SeriesPlan",
    "load_series",
    "load_volume",
    "plan_series",
    "scan_folder",
]
