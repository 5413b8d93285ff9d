"""Rows for tests, shared by every room. Add a factory beside its neighbours; keep defaults valid.

``UserFactory(role=Role.LEAD, sites=[site])`` signs in with the password ``PASSWORD``.
``CaseFactory()`` makes a patient with one complete CT study of one series and one instance.
"""

from __future__ import annotations

import hashlib
from typing import Any

import factory
from django.utils import timezone
from factory.django import DjangoModelFactory

from workstation.accounts.models import Role, Site, User
from workstation.analyzing.models import (
    DraftSentence,
    Finding,
    Layer,
    Registration,
    Run,
    RunFact,
    RunNotice,
    Step,
    StepState,
)
from workstation.receiving.models import Instance, Patient, RemoteNode, Series, Study
from workstation.receiving.names import name_key
from workstation.worklist.models import Case, Claim

PASSWORD = "correct horse battery staple"
IDENTITY = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
STEP_QUEUES = {
    "assemble": "cpu",
    "register": "cpu",
    "infer": "gpu",
    "measure": "cpu",
    "draft": "cpu",
}


def uid(*parts: object) -> str:
    """A valid UID that depends only on ``parts``."""
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    return f"2.25.{int(digest[:30], 16)}"


class SiteFactory(DjangoModelFactory):
    class Meta:
        model = Site

    code = factory.Sequence(lambda n: f"site-{n}")
    name = factory.Sequence(lambda n: f"Hospital {n}")


class RemoteNodeFactory(DjangoModelFactory):
    class Meta:
        model = RemoteNode

    site = factory.SubFactory(SiteFactory)
    name = factory.Sequence(lambda n: f"Node {n}")
    ae_title = factory.Sequence(lambda n: f"NODE{n}")


class UserFactory(DjangoModelFactory):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    first_name = "Ada"
    last_name = factory.Sequence(lambda n: f"Reader{n}")
    role = Role.RADIOLOGIST

    @factory.post_generation
    def password(user: User, create: bool, value: str | None, **_: Any) -> None:
        user.set_password(value or PASSWORD)
        if create:
            user.save(update_fields=["password"])

    @factory.post_generation
    def sites(user: User, create: bool, value: list[Site] | None, **_: Any) -> None:
        if create and value:
            user.sites.set(value)


class PatientFactory(DjangoModelFactory):
    class Meta:
        model = Patient

    site = factory.SubFactory(SiteFactory)
    patient_id = factory.Sequence(lambda n: f"P{n:05d}")
    name = factory.Sequence(lambda n: f"SYNTHETIC^Person{n}")
    name_key = factory.LazyAttribute(lambda patient: name_key(patient.name))
    sex = "O"
    synthetic = True


class StudyFactory(DjangoModelFactory):
    """A complete study without series; pass ``completed_at=None`` for one still arriving."""

    class Meta:
        model = Study

    patient = factory.SubFactory(PatientFactory)
    site = factory.SelfAttribute("patient.site")
    study_instance_uid = factory.Sequence(lambda n: uid("study", n))
    study_date = factory.LazyFunction(lambda: timezone.now().date())
    description = "Chest CT"
    last_received_at = factory.LazyFunction(timezone.now)
    completed_at = factory.LazyFunction(timezone.now)


class SeriesFactory(DjangoModelFactory):
    class Meta:
        model = Series

    study = factory.SubFactory(StudyFactory)
    series_instance_uid = factory.Sequence(lambda n: uid("series", n))
    modality = "CT"
    series_number = factory.Sequence(lambda n: n)
    description = "Axial"
    frame_of_reference_uid = factory.LazyAttribute(
        lambda s: uid("frame", s.study.study_instance_uid)
    )


class InstanceFactory(DjangoModelFactory):
    """A row only; no bytes are stored."""

    class Meta:
        model = Instance

    series = factory.SubFactory(SeriesFactory)
    site = factory.SelfAttribute("series.study.site")
    sop_instance_uid = factory.Sequence(lambda n: uid("instance", n))
    sop_class_uid = "1.2.840.10008.5.1.4.1.1.2"
    transfer_syntax_uid = "1.2.840.10008.1.2.1"
    instance_number = factory.Sequence(lambda n: n)
    sha256 = factory.LazyAttribute(
        lambda i: hashlib.sha256(i.sop_instance_uid.encode()).hexdigest()
    )
    size = 1024
    source = "test"


class CaseFactory(DjangoModelFactory):
    """A case; ``studies=[...]`` or, if not given, one complete CT study with one instance."""

    class Meta:
        model = Case
        skip_postgeneration_save = True

    patient = factory.SubFactory(PatientFactory)
    site = factory.SelfAttribute("patient.site")
    title = "Chest CT"
    modalities = "CT"
    received_at = factory.LazyFunction(timezone.now)

    @factory.post_generation
    def studies(case: Case, create: bool, value: list[Study] | None, **_: Any) -> None:
        if not create:
            return
        if value is None:
            study = StudyFactory(patient=case.patient)
            InstanceFactory(series=SeriesFactory(study=study))
            value = [study]
        case.studies.set(value)


class ClaimFactory(DjangoModelFactory):
    class Meta:
        model = Claim

    case = factory.SubFactory(CaseFactory)
    user = factory.SubFactory(UserFactory)


class RunFactory(DjangoModelFactory):
    """A run with its five steps, all in ``state`` (default: done)."""

    class Meta:
        model = Run
        skip_postgeneration_save = True

    case = factory.SubFactory(CaseFactory)
    number = factory.LazyAttribute(lambda r: r.case.runs.count() + 1)
    reason = "test"
    inputs_digest = factory.Sequence(lambda n: hashlib.sha256(str(n).encode()).hexdigest())

    @factory.post_generation
    def state(run: Run, create: bool, value: str | None, **_: Any) -> None:
        if not create:
            return
        for position, (name, queue) in enumerate(STEP_QUEUES.items()):
            Step.objects.create(
                run=run,
                name=name,
                position=position,
                queue=queue,
                state=value or StepState.DONE,
                token="held" if value == StepState.RUNNING else "",
                progress=1.0 if value in (None, StepState.DONE) else 0.0,
            )


class LayerFactory(DjangoModelFactory):
    """A layer row of a series of the run's case; ``record`` names no real file."""

    class Meta:
        model = Layer

    run = factory.SubFactory(RunFactory)
    kind = "series"
    series = factory.LazyAttribute(
        lambda layer: Series.objects.filter(study__cases=layer.run.case).first()
    )
    key = factory.LazyAttribute(
        lambda layer: layer.series.series_instance_uid if layer.series else layer.kind
    )
    label = "CT"
    role = "CT"
    unit = "[hnsf'U]"
    record = factory.LazyAttribute(
        lambda layer: {
            "key": layer.key,
            "path": "assemble/none.rfv",
            "sha256": "0" * 64,
            "levels": [{"shape": [2, 3, 4], "factors": [1, 1, 1], "offsets": [0, 10, 20]}],
            "affine": IDENTITY,
            "dtype": "int16",
            "slope": 1.0,
            "intercept": 0.0,
            "unit": layer.unit,
            "modality": layer.role,
            "role": layer.role,
            "label": layer.label,
            "series_instance_uid": layer.series.series_instance_uid if layer.series else "",
            "sop_instance_uids": [],
            "synthetic": True,
        }
    )


class RegistrationFactory(DjangoModelFactory):
    class Meta:
        model = Registration

    run = factory.SubFactory(RunFactory)
    series = factory.LazyAttribute(
        lambda r: Series.objects.filter(study__cases=r.run.case).order_by("pk").last()
    )
    reference = factory.LazyAttribute(
        lambda r: Series.objects.filter(study__cases=r.run.case).order_by("pk").first()
    )
    state = "registered"
    verdict = "usable"
    method = "Mattes mutual information, rigid"
    version = "1"
    matrix = factory.LazyFunction(lambda: [row[:] for row in IDENTITY])


class FindingFactory(DjangoModelFactory):
    class Meta:
        model = Finding

    run = factory.SubFactory(RunFactory)
    number = factory.LazyAttribute(lambda f: f.run.findings.count() + 1)
    tracking_uid = factory.Sequence(lambda n: uid("finding", n))
    label = "Lung nodule"
    location = "right upper lung zone"
    laterality = "right"
    probability = 0.9
    x_mm = -40.0
    y_mm = 10.0
    z_mm = 120.0
    long_axis_mm = 12.3
    short_axis_mm = 9.8
    volume_ml = 0.71
    suv_max = 5.4
    suv_peak = 4.6
    suv_mean = 3.2
    method = "test"


class DraftSentenceFactory(DjangoModelFactory):
    class Meta:
        model = DraftSentence

    run = factory.SubFactory(RunFactory)
    position = factory.LazyAttribute(lambda s: s.run.sentences.count())
    section = "findings"
    text = "A lung nodule of 12 mm lies in the right upper lung zone."
    finding = None


class RunNoticeFactory(DjangoModelFactory):
    class Meta:
        model = RunNotice

    run = factory.SubFactory(RunFactory)
    step = "assemble"
    code = "missing_slice"
    message = "A slice is missing."
    severity = "warning"


class RunFactFactory(DjangoModelFactory):
    class Meta:
        model = RunFact

    run = factory.SubFactory(RunFactory)
    name = "pathway"
    value = "lung"
