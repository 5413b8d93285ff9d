"""One object of every kind a URL can name, in one site, with hostile names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from tests.factories import (
    CaseFactory,
    ClaimFactory,
    FindingFactory,
    InstanceFactory,
    PatientFactory,
    RegistrationFactory,
    RemoteNodeFactory,
    RunFactory,
    RunNoticeFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import AccessToken, Role, Site, User
from workstation.analyzing.models import PetEntry, Refinement
from workstation.exporting.models import Delivery, Destination, Export, ExportObject
from workstation.reading.models import KeyImage, LandmarkPair, Measurement, PriorPair
from workstation.receiving.models import (
    DeidentificationProfile,
    IdentityChange,
    PatientLink,
    PriorRule,
    Quarantined,
    RetentionRule,
    Retrieval,
    UnknownCaller,
    Upload,
    UploadedFile,
)
from workstation.reporting.models import Origin, Report, ReportSection, Sentence, Version
from workstation.worklist.models import AssemblyRule

SCRIPT = "<script>alert('x')</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
HOSTILE = (SCRIPT, IMAGE)


@dataclass
class House:
    site: Site
    own: User
    """A radiologist of the site, who holds the case and started the upload."""
    foreign: User
    """A radiologist of another site."""
    administrator: User
    lead: User
    arguments: dict[str, Any]
    """URL argument name -> the pk of this site's object (``pk`` depends on the route)."""
    routes: dict[str, dict[str, Any]]
    """Routes whose argument is only called ``pk``."""
    report: Report


def build() -> House:
    """Everything belongs to one site; its words try to become markup."""
    patient = PatientFactory(name=f"{SCRIPT}^{IMAGE}", patient_id=IMAGE[:64], issuer=SCRIPT[:64])
    study = StudyFactory(patient=patient, description=SCRIPT, accession_number=IMAGE)
    series = [
        SeriesFactory(study=study, modality=m, description=IMAGE, role_reason=SCRIPT)
        for m in ("CT", "PT")
    ]
    instances = [InstanceFactory(series=one) for one in series]
    case = CaseFactory(patient=patient, studies=[study], state="draft", title=SCRIPT)
    case.problem = IMAGE
    case.save()
    site = case.site
    token = AccessToken.objects.create(
        site=site, user=UserFactory(role=Role.ADMINISTRATOR, sites=[site]), name=SCRIPT,
        prefix="rf_", digest="0" * 64, expires_at=timezone.now(),
    )  # fmt: skip
    own = UserFactory(sites=[site], first_name=SCRIPT[:20], last_name=IMAGE[:20])
    run = RunFactory(case=case)
    RunNoticeFactory(run=run, message=SCRIPT)
    finding = FindingFactory(run=run, label=SCRIPT, location=IMAGE, method=SCRIPT)
    registration = RegistrationFactory(run=run, reasons=[IMAGE])
    report = Report.objects.create(case=case, run=run)
    sentence = Sentence.objects.create(
        report=report, section=ReportSection.IMPRESSION, position=0, text=SCRIPT, original=IMAGE,
        origin=Origin.EDITED, finding=finding,
    )  # fmt: skip
    ClaimFactory(case=case, user=own)
    measurement = Measurement.objects.create(
        case=case, number=1, tool="length", points=[[0, 0, 0], [1, 0, 0]], value=1, unit="mm",
        text=IMAGE, label=SCRIPT, by=own,
    )  # fmt: skip
    key_image = KeyImage.objects.create(
        case=case, number=1, label=IMAGE, state={"layers": []}, picture=b"\x89PNG",
        picture_type="image/png", by=own,
    )  # fmt: skip
    landmark = LandmarkPair.objects.create(
        registration=registration, reference=[0, 0, 0], moving=[0, 0, 0], label=SCRIPT, by=own
    )
    refinement = Refinement.objects.create(
        registration=registration, model="rigid", start_matrix=registration.matrix,
        start_method="hand", state="failed", error=IMAGE, by=own,
    )  # fmt: skip
    upload = Upload.objects.create(site=site, user=own, started_at=timezone.now())
    file = UploadedFile.objects.create(
        upload=upload, key=uuid4(), fingerprint="f" * 64, name=IMAGE, size=9
    )
    held = Quarantined.objects.create(
        site=site, source="upload:1", filename=IMAGE, code="not_dicom", reason=SCRIPT, size=1,
        sha256="0" * 64, upload=upload,
    )  # fmt: skip
    delivery = _delivery(site, own)
    retention = RetentionRule.objects.create(site=site, name=SCRIPT, days=1)
    other = PatientFactory(site=site, name=IMAGE)
    change = IdentityChange.objects.create(
        site=site, kind="move", from_patient=other, to_patient=patient, reason=SCRIPT, by=own
    )
    link = PatientLink.objects.create(
        site=site, patient=patient, other=PatientFactory(name=SCRIPT), reason=IMAGE, by=own
    )
    node = RemoteNodeFactory(
        site=site, name=SCRIPT, host=SCRIPT, port=104, may_be_queried=True, last_echo_error=IMAGE
    )
    rule = PriorRule.objects.create(site=site, name=IMAGE, node=node, fetch_modalities=SCRIPT)
    UnknownCaller.objects.create(
        ae_title=SCRIPT[:16], address=IMAGE, reason=SCRIPT, last_at=timezone.now()
    )
    retrieval = Retrieval.objects.create(
        site=site, node=node, study_instance_uid="1.2", description=SCRIPT, modalities=IMAGE,
        state="failed", error=SCRIPT, rule=rule,
    )  # fmt: skip
    return House(
        site=site,
        own=own,
        foreign=UserFactory(sites=[CaseFactory().site]),
        administrator=UserFactory(role=Role.ADMINISTRATOR, sites=[site]),
        lead=UserFactory(role=Role.LEAD, sites=[site]),
        arguments={
            "case_id": case.pk,
            "run_id": run.pk,
            "finding_id": finding.pk,
            "registration_id": registration.pk,
            "measurement_id": measurement.pk,
            "key_image_id": key_image.pk,
            "landmark_id": landmark.pk,
            "pair_id": PriorPair.objects.create(
                case=case, measurement=measurement, earlier_finding=finding, study=study, by=own
            ).pk,
            "refinement_id": refinement.pk,
            "sentence_id": sentence.pk,
            "delivery_id": delivery.pk,
            "object_id": delivery.object_id,
            "export_id": delivery.object.export_id,
            "destination_id": delivery.destination_id,
            "profile_id": DeidentificationProfile.objects.create(site=site, name=IMAGE).pk,
            "study_id": study.pk,
            "series_id": series[0].pk,
            "patient_id": patient.pk,
            "change_id": change.pk,
            "link_id": link.pk,
            "site_id": site.pk,
            "study_uid": study.study_instance_uid,
            "series_uid": series[0].series_instance_uid,
            "instance_uid": instances[0].sop_instance_uid,
            "frame_list": "1",
            "element_path": "7FE00010",
            "token_id": token.pk,
            "node_id": node.pk,
            "prior_rule_id": rule.pk,
            "retrieval_id": retrieval.pk,
            "pet_entry_id": PetEntry.objects.create(
                case=case, series=series[1], quantity="weight_kg", value=70, reason=SCRIPT, by=own
            ).pk,
        },
        routes={
            "preference": {"key": "language"},
            "worklist:rule": {
                "rule_id": AssemblyRule.objects.create(
                    site=site, name=SCRIPT[:60], position=1, within_days=1, body=IMAGE
                ).pk
            },
            "receiving:upload-files": {"pk": upload.pk},
            "receiving:upload-finish": {"pk": upload.pk},
            "receiving:upload-known": {"pk": upload.pk},
            "receiving:upload-state": {"pk": upload.pk},
            "receiving:uploaded-file": {"pk": file.pk},
            "receiving:quarantine-bytes": {"pk": held.pk},
            "receiving:correct": {"pk": held.pk},
            "receiving:release": {"pk": held.pk},
            "receiving:discard": {"pk": held.pk},
            **{
                f"auditing:retention-{name}": {"rule_id": retention.pk}
                for name in ("plan", "edit", "run")
            },
        },
        report=report,
    )


def _delivery(site: Site, signer: User) -> Delivery:
    """Of a second, signed case of the site: its file is there to be downloaded."""
    case = CaseFactory(patient=PatientFactory(site=site), state="signed")
    report = Report.objects.create(case=case, run=RunFactory(case=case))
    version = Version.objects.create(
        report=report, number=1, kind="final", content="{}", sha256="ab" * 32, signed_by=signer,
        signer_name="A", meaning="m", signed_at=timezone.now(),
    )  # fmt: skip
    export = Export.objects.create(version=version, state="failed", error=SCRIPT)
    item = ExportObject.objects.create(
        export=export, kind="sr", sop_class_uid="1.2", sop_instance_uid="1.2.3", path="a/sr.dcm",
        sha256="0" * 64,
    )  # fmt: skip
    path = settings.EXPORTS_DIR / item.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    destination = Destination.objects.create(
        site=site, name=IMAGE, ae_title="PACS", host=SCRIPT, port=104
    )
    return Delivery.objects.create(
        object=item, destination=destination, state="failed", error=SCRIPT
    )
