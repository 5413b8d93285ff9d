"""A department's years in PostgreSQL, written by the database itself: rows only, no bytes."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, models
from django.utils import timezone

from tests.factories import STEP_QUEUES
from workstation.accounts.models import Role, Site, User
from workstation.analyzing.models import Finding, Layer, Run, RunFact, Step
from workstation.receiving.models import Instance, Patient, Series, Study, StudyNotice
from workstation.worklist.models import Case, Claim, Placement
from workstation.worklist.services import ensure_default_rules

SITES = 4
SERIES_OF_STUDY = 5
FAMILY = ["Müller", "Wang", "Smith", "García", "Nguyen", "Kowalski", "Yamada", "Ivanova", "Rossi",
          "Öztürk", "Dubois", "Hansen"]  # fmt: skip
GIVEN = ["Anna", "Xiao", "Marie", "José", "Linh", "Piotr", "Tarou", "Olga", "Luca", "Ayşe",
         "Camille", "Lars", "Emma", "Wei", "Noah"]  # fmt: skip
MODALITIES = ["CT", "MR", "PT", "CT", "CR"]
REGIONS = ["Thorax", "Abdomen", "Head", "Knee", "Whole-body"]
IDENTITY = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]]
RECORD = {
    "key": "k", "path": "p", "sha256": "0" * 64, "affine": IDENTITY, "dtype": "int16",
    "levels": [{"shape": [200, 512, 512], "factors": [1, 1, 1], "offsets": list(range(200))}],
    "slope": 1.0, "intercept": 0.0, "unit": "", "modality": "CT", "role": "CT", "label": "CT",
    "series_instance_uid": "", "sop_instance_uids": [f"2.25.{n}" for n in range(200)],
    "synthetic": True, "lossy": False, "value_range": [0, 1], "window": [0, 1],
    "frame_of_reference_uid": "2.25.1",
}  # fmt: skip
EVIDENCE = {"SpecificCharacterSet": "ISO_IR 192", "InstitutionName": "Hospital", "StudyID": "1",
            "PatientSize": "1.75", "PatientWeight": "80"}  # fmt: skip


def write(model: type[models.Model], count: int | str, **columns: str) -> None:
    """Insert rows ``n`` = 1, 2, ...; ``columns`` are SQL expressions of ``n``, the rest defaults.

    ``count`` may be a whole ``FROM`` clause instead.
    """
    names, values = [], []
    for column in model._meta.concrete_fields:
        names.append(f'"{column.column}"')
        if column.name in columns:
            values.append(columns[column.name])
        else:
            values.append("n" if column.primary_key else _default(column))
    source = f"generate_series(1, {count}) AS n" if isinstance(count, int) else count
    sql = f'INSERT INTO "{model._meta.db_table}" ({", ".join(names)}) '
    with connection.cursor() as cursor:
        cursor.execute(sql + f"SELECT {', '.join(values)} FROM {source}")


def _default(column: Any) -> str:
    if isinstance(column, models.DateTimeField):
        return "NULL" if column.null else "now()"
    value = column.get_default()
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(column, models.JSONField):
        return f"'{json.dumps(value)}'::jsonb"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def _one_of(words: list[str], index: str) -> str:
    quoted = ", ".join(f"'{word}'" for word in words)
    return f"(ARRAY[{quoted}])[1 + ({index}) % {len(words)}]"


def fill(studies: int, instances: int) -> User:
    """Everything; returns a reader of three of the four sites."""
    patients = studies * 3 // 5
    of_series = max(1, instances // (studies * SERIES_OF_STUDY))
    for number in range(1, SITES + 1):
        ensure_default_rules(Site.objects.create(code=f"site-{number}", name=f"Hospital {number}"))
    first = Site.objects.order_by("pk").values_list("pk", flat=True)[0]
    reader = User.objects.create(username="reader", role=Role.LEAD, first_name="R")
    reader.sites.set(Site.objects.order_by("pk")[:3])
    family, given = _one_of(FAMILY, "n"), _one_of(GIVEN, "n / 7")
    write(
        Patient, patients, site=f"{first} + n % {SITES}", patient_id="'P' || (100000 + n)",
        name=f"{family} || '^' || {given} || '^' || n",
        name_key=f"' ' || lower(translate({family}, 'üíÖ', 'uiO')) || ' ' || "
        f"lower(translate({given}, 'éş', 'es')) || ' ' || n || ' '",
        birth_date="date '1930-01-01' + (n * 7919) % 30000", sex="'O'", synthetic="true",
    )  # fmt: skip
    patient = f"1 + (n * 31) % {patients}"
    write(
        Study, studies, patient=patient, site=f"{first} + ({patient}) % {SITES}",
        study_instance_uid="'2.25.1000000' || n", accession_number="'A' || (500000 + n)",
        study_date="current_date - (n * 7919) % 3650", study_time="time '10:00'",
        description=f"{_one_of(REGIONS, 'n / 3')} || ' ' || {_one_of(MODALITIES, 'n')}",
        referring_physician="'Doctor^A'", header=f"'{json.dumps(EVIDENCE)}'::jsonb",
        received_at="now() - interval '1 minute' * n", completed_at="now()",
        last_received_at="now() - interval '1 minute' * n",
    )  # fmt: skip
    study = f"1 + (n - 1) / {SERIES_OF_STUDY}"
    write(
        Series, studies * SERIES_OF_STUDY, study=study, series_number="n % 5",
        series_instance_uid="'2.25.2000000' || n", modality=_one_of(MODALITIES, study),
        description="'Axial ' || n % 5", body_part=f"upper({_one_of(REGIONS, f'({study}) / 3')})",
        frame_of_reference_uid=f"'2.25.3000000' || ({study})", role="'CT'",
    )  # fmt: skip
    series = f"1 + (n - 1) / {of_series}"
    of = f"1 + ((1 + ((1 + ({series} - 1) / {SERIES_OF_STUDY}) * 31) % {patients})) % {SITES}"
    write(
        Instance, studies * SERIES_OF_STUDY * of_series, series=series,
        site=f"{first} - 1 + {of}", sop_instance_uid="'2.25.4000000' || n",
        sop_class_uid="'1.2.840.10008.5.1.4.1.1.2'", transfer_syntax_uid="'1.2.840.10008.1.2.1'",
        instance_number=f"1 + n % {of_series}", rows="512", columns="512", size="524288",
        sha256="md5(n::text) || md5((-n)::text)", source="'dimse:SCANNER'",
    )  # fmt: skip
    _cases(studies, first)
    with connection.cursor() as cursor:
        for model in (Patient, Study, StudyNotice, Series, Instance, Case, Placement, Claim, Run,
                      Step, RunFact, Layer, Finding):  # fmt: skip
            table = model._meta.db_table
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM"
                f' "{table}"))'
            )
        cursor.execute("VACUUM ANALYZE")
    return reader


def _cases(studies: int, first_site: int) -> None:
    """A case for four of five studies, the others joined to one of the same patient if it has one;
    every case with its run, layers and findings."""
    own = studies * 4 // 5
    study, case = Study._meta.db_table, Case._meta.db_table
    state = (
        "CASE WHEN s.id % 100 < 70 THEN 'signed' WHEN s.id % 100 < 80 THEN 'addended' "
        "WHEN s.id % 100 < 92 THEN 'ready' WHEN s.id % 100 < 95 THEN 'reading' "
        "WHEN s.id % 100 < 97 THEN 'draft' ELSE 'analysing' END"
    )
    write(
        Case, f'"{study}" s WHERE s.id <= {own}', id="s.id", site="s.site_id",
        patient="s.patient_id", state=state, priority="1 + s.id % 3", title="s.description",
        modalities=_one_of(MODALITIES, "s.id"), pathway="'lung'", received_at="s.received_at",
    )  # fmt: skip
    members = Case.studies.through._meta.db_table
    pairs = (
        f'SELECT id AS c, id AS s FROM "{study}" WHERE id <= {own} UNION ALL '
        f'SELECT (SELECT min(c.id) FROM "{case}" c WHERE c.patient_id = s.patient_id), s.id '
        f'FROM "{study}" s WHERE s.id > {own} '
        f'AND EXISTS (SELECT 1 FROM "{case}" c WHERE c.patient_id = s.patient_id)'
    )
    with connection.cursor() as cursor:
        cursor.execute(f'INSERT INTO "{members}" (case_id, study_id) {pairs}')
    write(Placement, f"({pairs}) AS p", id="p.s", case="p.c", study="p.s", kind="'joined'",
          reason="'rule'")  # fmt: skip
    reader = User.objects.get(username="reader").pk
    write(Claim, f"\"{case}\" c WHERE c.state = 'reading'", id="c.id", case="c.id",
          user=str(reader))  # fmt: skip
    write(Run, own, case="n", number="1", reason="'first images'", inputs_digest="md5(n::text)",
          finished_at="now()")  # fmt: skip
    for position, (name, queue) in enumerate(STEP_QUEUES.items()):
        write(Step, own, id=f"n * 5 + {position}", run="n", name=f"'{name}'", queue=f"'{queue}'",
              position=str(position), state="'done'")  # fmt: skip
    write(RunFact, own, run="n", name="'pathway'", value="'\"lung\"'::jsonb")
    record = json.dumps(RECORD)
    write(
        Layer, own * 2, run="1 + (n - 1) / 2", kind="'series'", key="'k' || n % 2",
        series=f"1 + ((n - 1) / 2) * {SERIES_OF_STUDY} + n % 2", label="'CT'", role="'CT'",
        unit="''", position="n % 2", is_reference="n % 2 = 1", record=f"'{record}'::jsonb",
    )  # fmt: skip
    write(
        Finding, own * 3, run="1 + (n - 1) / 3", number="1 + n % 3",
        tracking_uid="'2.25.5000000' || n", label="'Nodule'", location="'lung'",
        laterality="'right'", probability="0.5", x_mm="1", y_mm="2", z_mm="3",
        long_axis_mm="4", short_axis_mm="3", volume_ml="1", suv_max="2", suv_peak="2",
        suv_mean="1", method="'m'",
    )  # fmt: skip
    write(
        StudyNotice, f'"{study}" s WHERE s.id % 50 = 0', id="s.id", study="s.id",
        code="'dates_differ'", level="'warn'", text="'Dates differ.'",
        created_at=f"timestamptz '{timezone.now().isoformat()}'",
    )  # fmt: skip
