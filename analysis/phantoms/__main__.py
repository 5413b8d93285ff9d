"""``python -m analysis.phantoms OUT --kind thorax|head --seed N``: DICOM and truth.json."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from analysis.phantoms.dicom import PATIENT_NAME, default_patient_id, identities, write_dicom
from analysis.phantoms.head import make_head
from analysis.phantoms.thorax import make_thorax
from analysis.phantoms.truth import write_truth


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.phantoms", description=__doc__)
    parser.add_argument("out", type=Path, help="an empty or new folder")
    parser.add_argument("--kind", choices=("thorax", "head"), required=True)
    parser.add_argument("--seed", type=int, required=True)
    disease = parser.add_mutually_exclusive_group()
    disease.add_argument(
        "--positive",
        dest="positive",
        action="store_true",
        default=None,
        help="an FDG-avid nodule, or a high-grade glioma",
    )
    disease.add_argument(
        "--negative",
        dest="positive",
        action="store_false",
        help="no avid nodule, or a low-grade glioma",
    )
    parser.add_argument(
        "--spacing",
        type=float,
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="voxel size of the reference series in mm",
    )
    parser.add_argument("--patient-name", default=PATIENT_NAME)
    parser.add_argument("--patient-id")
    parser.add_argument("--noise-free", action="store_true")
    options = parser.parse_args(arguments)
    if not options.patient_name.startswith("SYNTHETIC^"):
        parser.error("the patient's name must begin with SYNTHETIC^")
    out: Path = options.out
    if out.exists() and any(out.iterdir()):
        parser.error(f"the folder {out} is not empty")
    make = make_thorax if options.kind == "thorax" else make_head
    spacing = tuple(options.spacing) if options.spacing else None
    phantom = make(options.seed, spacing_mm=spacing, positive=options.positive)
    patient_id = options.patient_id or default_patient_id(phantom)
    folders = write_dicom(
        phantom,
        out,
        patient_name=options.patient_name,
        patient_id=patient_id,
        noise_free=options.noise_free,
    )
    uids = identities(phantom, patient_id, noise_free=options.noise_free)
    write_truth(phantom, uids, out / "truth.json")
    for folder in folders:
        print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
