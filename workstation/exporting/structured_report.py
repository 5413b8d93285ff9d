"""The signed findings as a DICOM Comprehensive 3D SR after TID 1500 (PS3.16)."""

from __future__ import annotations

from typing import Any

import highdicom as hd
from highdicom import sr
from pydicom import Dataset
from pydicom.sr.codedict import codes

from workstation.exporting import codes as terms
from workstation.exporting.reader_measurements import reader_groups
from workstation.exporting.sources import (
    DEVICE_SERIAL,
    MANUFACTURER,
    MODEL_NAME,
    SOFTWARE_VERSION,
    Sources,
    date_as_signed,
    person_name,
)

SERIES_NUMBER = 1002
Group = (
    sr.VolumetricROIMeasurementsAndQualitativeEvaluations | sr.MeasurementsAndQualitativeEvaluations
)


def write_report(
    sources: Sources,
    sop_instance_uid: str,
    series_uid: str,
    segmentation: hd.seg.Segmentation | None,
) -> sr.Comprehensive3DSR:
    """A verified, final SR: the reader signed it. Each finding refers to its segment."""
    signature = sources.content["signature"]
    signed_at = sources.signed_at
    report = sr.MeasurementReport(
        observation_context=_context(sources, signature["name"], sop_instance_uid),
        procedure_reported=terms.PROCEDURE,
        imaging_measurements=[
            *([_group(sources, f, segmentation) for f in sources.findings]
              or [_nothing_found(sources)]),
            *reader_groups(sources),
        ],
        title=codes.DCM.ImagingMeasurementReport,
        referenced_images=None,
    )
    evidence: list[Dataset] = [*sources.reference_headers]
    if segmentation is not None:
        evidence.append(segmentation)
    document = sr.Comprehensive3DSR(
        evidence=evidence,
        content=report,
        series_instance_uid=series_uid,
        series_number=SERIES_NUMBER,
        sop_instance_uid=sop_instance_uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=SOFTWARE_VERSION,
        device_serial_number=DEVICE_SERIAL,
        is_complete=True,
        is_final=True,
        is_verified=True,
        verifying_observer_name=person_name(signature["name"]),
        verifying_organization=sources.content["site"]["name"][:64],
        content_date=signed_at.date(),
        content_time=signed_at.timetz().replace(tzinfo=None),
        series_description="Radfuse: measurements. Not for diagnostic use",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )
    date_as_signed(document, signed_at)
    document.VerifyingObserverSequence[0].VerificationDateTime = signed_at.strftime(
        "%Y%m%d%H%M%S%z"
    )
    return document


def _context(sources: Sources, name: str, uid: str) -> sr.ObservationContext:
    person = sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=sr.PersonObserverIdentifyingAttributes(
            name=person_name(name),
            login_name=sources.content["signature"]["username"],
        ),
    )
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=hd.UID("2.25.166029357023012351237"),
            name=MODEL_NAME,
            manufacturer_name=MANUFACTURER,
            model_name=SOFTWARE_VERSION,
        ),
    )
    return sr.ObservationContext(observer_person_context=person, observer_device_context=device)


def _measurement(
    name: Any, value: float | None, unit: Any, derivation: Any = None
) -> list[sr.Measurement]:
    if value is None:
        return []
    rounded = round(float(value), 4)
    return [sr.Measurement(name=name, value=rounded, unit=unit, derivation=derivation)]


def _group(
    sources: Sources, finding: dict[str, Any], segmentation: hd.seg.Segmentation | None
) -> Group:
    site = terms.site_code(finding["label"], finding["location"])
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=finding["tracking_uid"], identifier=f"Finding {finding['number']}"
        ),
        "finding_type": terms.finding_code(finding["label"]),
        "finding_category": terms.MORPHOLOGY,
        "finding_sites": [
            sr.FindingSite(
                anatomic_location=site, laterality=terms.laterality_code(finding["laterality"])
            )
        ]
        if site
        else None,
        "algorithm_id": sr.AlgorithmIdentification(
            name=finding["method"][:64] or MODEL_NAME, version=SOFTWARE_VERSION
        ),
        "measurements": [
            *_measurement(terms.VOLUME, finding["volume_ml"], terms.MILLILITRE),
            *_measurement(terms.LONG_AXIS, finding["long_axis_mm"], terms.MILLIMETRE),
            *_measurement(terms.SHORT_AXIS, finding["short_axis_mm"], terms.MILLIMETRE),
            *_measurement(terms.SUV, finding["suv_max"], terms.SUV_UNIT, terms.MAXIMUM),
            *_measurement(terms.SUV, finding["suv_peak"], terms.SUV_UNIT, terms.PEAK),
            *_measurement(terms.SUV, finding["suv_mean"], terms.SUV_UNIT, terms.MEAN),
            *_measurement(terms.PROBABILITY, finding["probability"], terms.ONE),
        ],
        "qualitative_evaluations": [
            sr.QualitativeEvaluation(
                name=terms.READER_JUDGEMENT,
                value=terms.EDITED if finding["state"] == "edited" else terms.ACCEPTED,
            )
        ],
    }
    segment = sources.segment_numbers.get(finding["number"])
    if segment is None or segmentation is None:
        return sr.MeasurementsAndQualitativeEvaluations(**common)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        # Not from_segmentation(): highdicom 0.28 fails on a segmentation of a single frame.
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=segment,
            source_series=sr.SourceSeriesForSegmentation(
                referenced_series_instance_uid=sources.reference.key
            ),
        ),
        **common,
    )


def _nothing_found(sources: Sources) -> sr.MeasurementsAndQualitativeEvaluations:
    """An explicit negative: an empty report cannot be told from a failed one (IHE AIR)."""
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=sources.uid_for("no finding"), identifier="No finding"
        ),
        qualitative_evaluations=[
            sr.QualitativeEvaluation(name=terms.FINDING, value=terms.NO_FINDING)
        ],
    )
