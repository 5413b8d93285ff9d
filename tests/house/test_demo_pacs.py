"""The demo's stand-in for a PACS, asked by DCMTK; the prior it holds is last year's CT."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.conftest import need
from tests.factories import RemoteNodeFactory
from tests.receiving.objects import ct
from tests.receiving.pacs import work
from workstation import flow
from workstation.management.commands.demo import leave_prior
from workstation.management.demo_pacs import start_pacs
from workstation.receiving.models import Inquiry, PriorRule, Retrieval, Study
from workstation.receiving.services import store_instance

pytestmark = pytest.mark.peer


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    new = tmp_path / "new"
    new.mkdir()
    for number in (1, 2):
        (new / f"{number}.dcm").write_bytes(ct(number))
    leave_prior(new, tmp_path / "pacs" / "priors")
    server = start_pacs(tmp_path / "pacs", "DEMO_PACS", 0)
    yield server.server_address[1]
    server.shutdown()


def asked(
    port: int, program: str, *keys: str, level: str = "STUDY", out: Path | None = None
) -> str:
    command = [need(program), "-S", "-aec", "DEMO_PACS", "127.0.0.1", str(port)]
    for key in (f"QueryRetrieveLevel={level}", *keys):
        command += ["-k", key]
    if out is not None:
        command += ["-od", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout + done.stderr


def test_the_prior_is_found_by_patient_date_and_modality(port: int) -> None:
    keys = ("PatientID=PHANTOMINE-7", "StudyInstanceUID", "NumberOfStudyRelatedInstances")
    found = asked(port, "findscu", *keys, "StudyDate=20250101-20251231", "ModalitiesInStudy=CT")
    assert "20250311" in found and "[2 ]" in found
    assert "20250311" not in asked(port, "findscu", *keys, "StudyDate=20260101-")
    assert "20250311" not in asked(port, "findscu", *keys, "ModalitiesInStudy=MR")


def test_series_and_images_are_listed(port: int) -> None:
    for level, key in (("SERIES", "SeriesInstanceUID"), ("IMAGE", "SOPInstanceUID")):
        found = asked(port, "findscu", "PatientID=PHANTOMINE-7", key, level=level)
        assert found.count(f"[{level}") == {"SERIES": 1, "IMAGE": 2}[level]
    none = asked(port, "findscu", "StudyInstanceUID=1.2.3", "SOPInstanceUID", level="IMAGE")
    assert "[IMAGE" not in none


def test_the_prior_is_fetched_with_its_own_uids(port: int, tmp_path: Path) -> None:
    prior = pydicom.dcmread(next((tmp_path / "pacs" / "priors").iterdir()))
    new = pydicom.dcmread(tmp_path / "new" / "1.dcm")
    out = tmp_path / "out"
    out.mkdir()
    asked(port, "getscu", f"StudyInstanceUID={prior.StudyInstanceUID}", out=out)
    fetched = [pydicom.dcmread(path) for path in out.iterdir()]
    assert len({image.SOPInstanceUID for image in fetched}) == 2
    assert {image.StudyInstanceUID for image in fetched} == {prior.StudyInstanceUID}
    assert prior.StudyInstanceUID != new.StudyInstanceUID
    assert prior.PatientID == new.PatientID


@pytest.mark.django_db(transaction=True)
def test_the_product_finds_and_fetches_the_prior_by_rule(port: int, settings: Any) -> None:
    node = RemoteNodeFactory(
        ae_title="DEMO_PACS", host="127.0.0.1", port=port, may_be_queried=True, may_send=False
    )
    PriorRule.objects.create(
        site=node.site, name="Earlier CT", node=node, when_modalities="CT",
        fetch_modalities="CT", years=3,
    )  # fmt: skip
    settings.QUIET_SECONDS = settings.COUNTED_QUIET_SECONDS = 0
    store_instance(node.site, [ct(1)], source="test")
    flow.sweep()
    work()
    assert Inquiry.objects.get().result == "1 to fetch."
    fetched = Retrieval.objects.get()
    assert (fetched.state, fetched.error, fetched.completed) == ("done", "", 2)
    assert sorted(Study.objects.values_list("study_date__year", flat=True)) == [2025, 2026]
