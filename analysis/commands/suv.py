"""``suv``: the factor from a PET series' values to SUV, with its inputs, or the refusal."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.commands.choosing import choose_series
from analysis.commands.effort import Effort
from analysis.entries import ENTRY_LIMITS, EnteredName, EnteredValue
from analysis.errors import InputRefused
from analysis.images import is_image_file
from analysis.provenance import versions
from analysis.suv import VARIANTS, native_unit, other_variants, suv_of, variant_of
from analysis.volumes.frames import all_frames
from analysis.volumes.reading import read_objects

_ENTRIES: dict[EnteredName, tuple[str, str]] = {
    "weight_kg": ("--weight-kg", "patient weight in kg"),
    "dose_mbq": ("--dose-mbq", "injected dose in MBq, at the time of injection"),
    "height_m": ("--height-m", "patient height in m"),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of ``suv``."""
    parser.description = """\
The factor that turns the values of a PET series (stored number x RescaleSlope + RescaleIntercept of
its slice) into SUV, with every input and the DICOM attribute it came from; or the code of the
refusal and its reason. Nothing is guessed. Values given here are used only where the header has
none that can be used, and every result that stands on one says so. Not for diagnostic use."""
    parser.add_argument("path", metavar="SERIES", type=Path, help="DICOM folder or file")
    parser.add_argument(
        "--series", default="", metavar="UID",
        help="which series, where the folder holds several PET series",
    )  # fmt: skip
    parser.add_argument(
        "--variant", default="bw", choices=list(VARIANTS),
        help="what to normalise to (default: bw): "
        + "; ".join(f"{v.code}: {v.formula}" for v in VARIANTS.values()),
    )  # fmt: skip
    for name, (option, text) in _ENTRIES.items():
        low, high = ENTRY_LIMITS[name]
        parser.add_argument(
            option, type=float, metavar="NUMBER", help=f"{text}, {low:g} to {high:g}"
        )
    parser.add_argument("--sex", choices=["M", "F"], help="for lean mass and ideal weight")


def perform(arguments: argparse.Namespace) -> dict[str, Any]:
    """What is printed. A refused SUV is an answer, not an error."""
    effort = Effort()
    path: Path = arguments.path
    if path.is_file() and is_image_file(path):
        raise InputRefused(
            "not_dicom",
            f"{path.name} is no DICOM: weight, dose and times stand in the DICOM header alone.",
        )
    entered = _entered(arguments)
    series, notices = choose_series(path, arguments.series, "PT")
    objects, more = read_objects(series)
    headers = [frame.header for frame in all_frames(objects)]
    variant = variant_of(arguments.variant)
    found: dict[str, Any] = {
        "series": {
            "path": str(path),
            "series_instance_uid": series.series_instance_uid,
            "description": series.description,
            "files": len(series.paths),
            "unit_as_stored": native_unit(headers),
        },
        "variant": variant.name,
        "formula": variant.formula,
    }
    told = [*notices, *more]
    try:
        suv = suv_of(headers, variant, entered)
    except InputRefused as refusal:
        found |= {
            "state": "refused",
            "factor": None,
            "unit": None,
            "refusal": {"code": refusal.code, "reason": refusal.message},
        }
    else:
        told += suv.notices
        found |= {
            "state": "computed",
            "factor": suv.factor,
            "unit": suv.unit,
            "branch": suv.branch,
            "inputs": suv.evidence["inputs"],
            "dose_at_scan_bq": suv.evidence.get("dose_at_scan_bq"),
            "scan_time_from": suv.evidence.get("scan_time_from"),
            "entered": suv.evidence.get("entered", []),
            "other_variants": other_variants(headers, suv, entered),
        }
    found["notices"] = [asdict(n) for n in told]
    found["versions"] = versions("pydicom", "numpy")
    return found | effort.figures()


def _entered(arguments: argparse.Namespace) -> list[EnteredValue]:
    """Raises ``InputRefused`` (``pet_entry``) for a number out of every range."""
    found = []
    for name, (option, _) in _ENTRIES.items():
        value = getattr(arguments, name)
        if value is None:
            continue
        low, high = ENTRY_LIMITS[name]
        if not low <= value <= high:
            raise InputRefused(
                "pet_entry", f"{option} {value:g} lies outside {low:g} to {high:g}: check the unit."
            )
        found.append(EnteredValue(name, value))
    return [*found, EnteredValue("sex", arguments.sex)] if arguments.sex else found
