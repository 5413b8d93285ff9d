"""Accepted findings as a DICOM Segmentation (PS3.3 A.51), one segment per finding."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from pydicom.sr.codedict import codes

from workstation.exporting import codes as terms
from workstation.exporting.source_frames import SourceFrame, needed, restore, stand_ins
from workstation.exporting.sources import (
    DEVICE_SERIAL,
    MANUFACTURER,
    MODEL_NAME,
    SOFTWARE_VERSION,
    Sources,
    date_as_signed,
)

SERIES_NUMBER = 1001


def write_segmentation(
    sources: Sources, sop_instance_uid: str, series_uid: str
) -> hd.seg.Segmentation:
    """A binary SEG on the grid of the stored segmentation.

    The stored geometry is written, not the images': the two differ where the reference series was
    resampled (gantry tilt). Where they agree, the source image of each frame is named, with its
    frame number if it is a frame of a multi-frame object.
    """
    labels = sources.labels
    assert labels is not None, "called only when a finding has voxels"
    numbers = sources.segment_numbers
    findings = {f["number"]: f for f in sources.findings}
    pixels = np.stack([labels.array == finding for finding in numbers], axis=-1).astype(np.uint8)
    volume = hd.Volume(
        pixels,
        # Ours maps (i, j, k), highdicom's (k, j, i), both to LPS mm.
        labels.affine[:, [2, 1, 0, 3]],
        coordinate_system="PATIENT",
        frame_of_reference_uid=sources.frame_of_reference_uid,
        channels={"SegmentNumber": list(numbers.values())},
    )
    descriptions = [
        _description(findings[finding], segment) for finding, segment in numbers.items()
    ]
    headers = sources.reference_headers
    frames: dict[str, SourceFrame] = {}
    record = sources.reference.record
    if needed(record):
        headers, frames = stand_ins(record, {str(h.SOPInstanceUID): h for h in headers})
    segmentation = hd.seg.Segmentation(
        source_images=headers,
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=series_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=SOFTWARE_VERSION,
        device_serial_number=DEVICE_SERIAL,
        content_label="FINDINGS",
        content_description="Findings accepted by the reader",
        series_description="Radfuse: findings. Not for diagnostic use",
        omit_empty_frames=True,
    )
    if frames:
        restore(segmentation, frames, resampled="resampled" in record["source"])
    segmentation.ContentQualification = "RESEARCH"
    date_as_signed(segmentation, sources.signed_at)
    # highdicom draws this UID by chance; an export done again must give the same object.
    for item in (
        *segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence,
    ):  # fmt: skip
        item.DimensionOrganizationUID = sources.uid_for("seg dimensions")
    return segmentation


def _description(finding: dict[str, object], segment: int) -> hd.seg.SegmentDescription:
    method = str(finding["method"])[:64] or "Radfuse"
    return hd.seg.SegmentDescription(
        segment_number=segment,
        segment_label=f"Finding {finding['number']}: {finding['label']}"[:64],
        segmented_property_category=terms.MORPHOLOGY,
        segmented_property_type=terms.finding_code(str(finding["label"])),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=method,
            version=SOFTWARE_VERSION,
            family=codes.DCM.ArtificialIntelligence,
            source=MANUFACTURER,
        ),
        tracking_uid=str(finding["tracking_uid"]),
        tracking_id=f"Finding {finding['number']}",
    )
