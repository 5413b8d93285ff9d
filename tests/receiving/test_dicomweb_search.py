"""QIDO-RS by plain requests: what is found, in which order, with which attributes."""

from __future__ import annotations

import json
from datetime import date, time
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from tests.factories import InstanceFactory, PatientFactory, SeriesFactory, StudyFactory
from tests.receiving.dicomweb import stow
from tests.receiving.objects import ct, uid
from workstation.accounts.models import AuditRecord, Site
from workstation.receiving.models import Patient, Study
from workstation.receiving.names import name_key

pytestmark = pytest.mark.django_db


def found_uids(answer: Any, tag: str = "0020000D") -> list[str]:
    return [item[tag]["Value"][0] for item in json.loads(answer.content)]


@pytest.fixture
def archive(web: Client) -> dict[str, Study]:
    """Five studies of the site, one elsewhere."""
    site = Site.objects.get(code="north")

    def study(name: str, patient: Patient, day: date, **columns: Any) -> Study:
        columns.setdefault("study_time", time(10, 15, 30))
        return StudyFactory(
            patient=patient, study_date=day, study_instance_uid=uid(name), **columns
        )

    def patient(number: str, name: str, **columns: Any) -> Patient:
        return PatientFactory(
            site=site, patient_id=number, name=name, name_key=name_key(name), **columns
        )

    miller = patient("A-1", "Müller^Anna Maria", birth_date=date(1960, 2, 3), sex="F")
    wang = patient("B_2", "Wang^XiaoDong=王^小东")
    found = {
        "ct": study("ct", miller, date(2026, 1, 5), accession_number="ACC1",
                    description="Thorax", header={"StudyID": "77", "PatientAge": "065Y"}),
        "pt": study("pt", miller, date(2026, 2, 5), accession_number="ACC2",
                    study_time=time(23, 59, 59, 500000)),
        "mr": study("mr", wang, date(2025, 12, 31), description="100% head",
                    referring_physician="House^Gregory"),
        "no date": study("no date", wang, None, study_time=None),  # type: ignore[arg-type]
        "deleted": study("deleted", wang, date(2020, 1, 1), deleted_at=timezone.now()),
    }  # fmt: skip
    for name, modalities in {"ct": ["CT"], "pt": ["PT", "CT"], "mr": ["MR"]}.items():
        for number, modality in enumerate(modalities, 1):
            series = SeriesFactory(
                study=found[name], modality=modality, series_number=number,
                series_instance_uid=uid(name, modality), description=f"{modality} axial",
                body_part="CHEST",
            )  # fmt: skip
            for place in (1, 2, 3):
                InstanceFactory(
                    series=series, instance_number=place, rows=4, columns=6,
                    sop_instance_uid=uid(name, modality, place),
                )  # fmt: skip
    elsewhere = StudyFactory(study_instance_uid=uid("elsewhere"), study_date=date(2026, 1, 5))
    InstanceFactory(series=SeriesFactory(study=elsewhere, modality="CT"))
    return found


ALL = ["pt", "ct", "mr", "no date"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ALL),
        ("StudyDate=20260105", ["ct"]),
        ("00080020=20260101-20260131", ["ct"]),
        ("StudyDate=20260101-", ["pt", "ct"]),
        ("StudyDate=-20260101", ["mr"]),
        ("StudyTime=101530", ["ct", "mr"]),
        ("StudyTime=10", ["ct", "mr"]),
        ("StudyTime=1016-", ["pt"]),
        ("StudyTime=235959-235959", ["pt"]),
        ("AccessionNumber=ACC1", ["ct"]),
        ("AccessionNumber=ACC*", ["pt", "ct"]),
        ("AccessionNumber=*2", ["pt"]),
        ("AccessionNumber=A?C1", ["ct"]),
        ("AccessionNumber=?CC*", ["pt", "ct"]),
        ("AccessionNumber=*", ALL),
        ("AccessionNumber=acc1x", []),
        ("PatientID=A-1", ["pt", "ct"]),
        ("PatientID=B_*", ["mr", "no date"]),
        ("PatientID=A_1", []),
        ("PatientID=%251", []),
        ("StudyDescription=100%25*", ["mr"]),
        ("StudyDescription=*x", ["ct"]),
        ("StudyDescription=.*", []),
        ("PatientName=Müller^Anna Maria", ["pt", "ct"]),
        ("PatientName=müller^anna maria", ["pt", "ct"]),
        ("PatientName=Müller*", ["pt", "ct"]),
        ("PatientName=*anna*", ["pt", "ct"]),
        ("PatientName=Anna*", []),
        ("PatientName=王^小东", ["mr", "no date"]),
        ("PatientName=王*", ["mr", "no date"]),
        ("PatientName=anna muller&fuzzymatching=true", ["pt", "ct"]),
        ("PatientName=*mull*&fuzzymatching=true", ["pt", "ct"]),
        ("PatientName=王&fuzzymatching=true", ["mr", "no date"]),
        ("PatientName=una&fuzzymatching=true", []),
        ("PatientName=", ALL),
        ("PatientBirthDate=19600203", ["pt", "ct"]),
        ("PatientSex=F", ["pt", "ct"]),
        ("ReferringPhysicianName=house^*", ["mr"]),
        ("StudyID=77", ["ct"]),
        ("ModalitiesInStudy=CT", ["pt", "ct"]),
        ("ModalitiesInStudy=PT,MR", ["pt", "mr"]),
        ("ModalitiesInStudy=PT%5CMR", ["pt", "mr"]),
        ("ModalitiesInStudy=P*", ["pt"]),
        (f"StudyInstanceUID={uid('ct')},{uid('mr')},{uid('elsewhere')}", ["ct", "mr"]),
        (f"StudyInstanceUID={uid('ct')}%5C{uid('mr')}", ["ct", "mr"]),
        (f"StudyInstanceUID={uid('deleted')}", []),
        ("PatientID=A-1&StudyDate=20260105&ModalitiesInStudy=CT", ["ct"]),
        ("limit=2", ["pt", "ct"]),
        ("limit=2&offset=1", ["ct", "mr"]),
        ("limit=2&offset=4", []),
        ("limit=0", []),
        ("site=north", ALL),
        ("site=south", []),
    ],
)
def test_study_search(web: Client, archive: Any, query: str, names: list[str]) -> None:
    answer = web.get(f"/dicomweb/studies?{query}")
    assert answer.status_code == (200 if names else 204), answer.content
    if names and "no date" in names:
        # Where studies without a date stand is the database's.
        assert sorted(found_uids(answer)) == sorted(uid(name) for name in names)
    elif names:
        assert found_uids(answer) == [uid(name) for name in names]


@pytest.mark.parametrize(
    "query",
    [
        "StudyDate=2026", "StudyDate=20261301", "StudyDate=-", "StudyTime=99", "StudyTime=1:2",
        "limit=-1", "limit=x", "offset=1.5", "fuzzymatching=perhaps", "NoSuchThing=1",
        "includefield=NoSuchThing", "0020000=1", "limit=9999999999",
    ],
)  # fmt: skip
def test_impossible_searches_are_told_why(web: Client, archive: Any, query: str) -> None:
    answer = web.get(f"/dicomweb/studies?{query}")
    assert answer.status_code == 400
    assert len(answer.json()["detail"]) > 15


def test_a_study_carries_what_the_standard_asks_for(web: Client, archive: Any) -> None:
    [item] = web.get("/dicomweb/studies?AccessionNumber=ACC2").json()
    expected = {
        "00080005": ["ISO_IR 192"], "00080020": ["20260205"], "00080030": ["235959.500000"],
        "00080050": ["ACC2"], "00080056": ["ONLINE"], "00080061": ["CT", "PT"],
        "00081190": [f"http://testserver/dicomweb/studies/{uid('pt')}"],
        "00100010": [{"Alphabetic": "Müller^Anna Maria"}], "00100020": ["A-1"],
        "00100030": ["19600203"], "00100040": ["F"], "0020000D": [uid("pt")],
        "00201206": [2], "00201208": [6],
    }  # fmt: skip
    assert {tag: item[tag].get("Value") for tag in expected} == expected
    assert {"00080090", "00200010"} <= item.keys()
    assert "00101010" not in item
    [item] = web.get("/dicomweb/studies?StudyID=77&includefield=PatientAge").json()
    assert item["00101010"] == {"vr": "AS", "Value": ["065Y"]}
    [item] = web.get("/dicomweb/studies?StudyID=77&includefield=00101010,00081030").json()
    assert item["00101010"]["Value"] == ["065Y"] and item["00081030"]["Value"] == ["Thorax"]
    [item] = web.get("/dicomweb/studies?PatientID=B_2&StudyDate=20251231").json()
    assert item["00100010"]["Value"] == [{"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}]


def test_series_and_instances_at_every_path(web: Client, archive: Any) -> None:
    study, series = uid("pt"), uid("pt", "CT")
    answer = web.get(f"/dicomweb/studies/{study}/series")
    assert found_uids(answer, "0020000E") == [uid("pt", "PT"), series]
    item = answer.json()[1]
    assert item["00201209"]["Value"] == [3] and item["0008103E"]["Value"] == ["CT axial"]
    assert item["00081190"]["Value"][0].endswith(f"/studies/{study}/series/{series}")
    assert "00100010" not in item
    answer = web.get("/dicomweb/series?Modality=CT&PatientID=A-1")
    assert sorted(found_uids(answer, "0020000E")) == sorted([series, uid("ct", "CT")])
    assert answer.json()[0]["00100020"]["Value"] == ["A-1"]
    answer = web.get(f"/dicomweb/studies/{study}/series/{series}/instances?limit=2&offset=1")
    assert found_uids(answer, "00080018") == [uid("pt", "CT", 2), uid("pt", "CT", 3)]
    assert answer.json()[0]["00280010"]["Value"] == [4]
    answer = web.get(f"/dicomweb/studies/{study}/instances?InstanceNumber=3")
    assert found_uids(answer, "00080018") == [uid("pt", "PT", 3), uid("pt", "CT", 3)]
    answer = web.get(f"/dicomweb/instances?SOPInstanceUID={uid('mr', 'MR', 1)}")
    assert answer.json()[0]["00201208"]["Value"] == [3]
    assert len(web.get("/dicomweb/instances").json()) == 12
    assert web.get(f"/dicomweb/studies/{uid('elsewhere')}/series").status_code == 404
    assert web.get(f"/dicomweb/studies/{uid('deleted')}/series").status_code == 404
    assert web.get(f"/dicomweb/studies/{study}/series/1.2/instances").status_code == 404


def test_warnings_tell_what_was_not_done(
    web: Client, archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = web.get("/dicomweb/studies?StationName=X&00091001=Y")
    assert answer.status_code == 200 and len(answer.json()) == 4
    assert "StationName" in answer["Warning"] and "00091001" in answer["Warning"]
    assert "Warning" not in web.get("/dicomweb/studies?limit=2")
    monkeypatch.setattr(
        "workstation.receiving.dicomweb.searching.MOST",
        dict.fromkeys((0, 1, 2), 3),
    )
    answer = web.get("/dicomweb/studies")
    assert len(answer.json()) == 3 and "exceeded" in answer["Warning"]
    assert "Warning" not in web.get("/dicomweb/studies?offset=1")


def test_instances_can_carry_any_attribute_of_their_header(web: Client) -> None:
    stow(web, ct(1, ImagePositionPatient=[1, 2.5, -3], StationName="SCANNER 1"))
    answer = web.get("/dicomweb/instances?includefield=ImagePositionPatient")
    [item] = answer.json()
    assert item["00200032"] == {"vr": "DS", "Value": [1.0, 2.5, -3.0]}
    assert "00081010" not in item
    [item] = web.get("/dicomweb/instances?includefield=all").json()
    assert item["00081010"]["Value"] == ["SCANNER 1"] and "00100010" in item


def test_a_search_asks_the_database_little(
    web: Client, archive: Any, django_assert_max_num_queries: Any
) -> None:
    for path in ("studies", "series", "instances", f"studies/{uid('pt')}/instances"):
        with django_assert_max_num_queries(9):
            assert web.get(f"/dicomweb/{path}").status_code == 200
    assert AuditRecord.objects.filter(action="list").count() == 4
