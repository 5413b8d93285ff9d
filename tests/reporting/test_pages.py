"""The report beside the images: who sees what, what a save, a signature, an addendum answer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from django.test import Client

from tests.conftest import missing, need
from tests.factories import (
    PASSWORD,
    CaseFactory,
    DraftSentenceFactory,
    FindingFactory,
    PatientFactory,
    RunFactory,
    UserFactory,
)
from workstation.accounts.models import AuditRecord, User
from workstation.reading.services import review_finding
from workstation.reporting.documents import render_pdf
from workstation.reporting.models import Report
from workstation.reporting.services import MEANINGS, prepare_report, seal
from workstation.worklist.models import CaseState
from workstation.worklist.services import claim_case

pytestmark = pytest.mark.django_db
NAME = "SYNTHETIC^Wang Xiao=合成^王小东"


@pytest.fixture
def reader() -> User:
    return UserFactory(title="MD")


@pytest.fixture
def report(reader: User) -> Report:
    case = CaseFactory(state=CaseState.READY, patient=PatientFactory(name=NAME, patient_id="P-77"))
    reader.sites.add(case.site)
    run = RunFactory(case=case)
    finding = FindingFactory(run=run)
    DraftSentenceFactory(run=run, text="Nodule of 12 mm.", finding=finding)
    DraftSentenceFactory(run=run, section="impression", text="Avid nodule.", finding=finding)
    DraftSentenceFactory(run=run, section="impression", text="No effusion.")
    claim_case(case, reader)
    return prepare_report(run)


@pytest.fixture
def desk(reader: User) -> Client:
    client = Client()
    client.force_login(reader)
    return client


def url(report: Report, what: str) -> str:
    return f"/reports/{report.case_id}/{what}"


def soup(answer: Any) -> BeautifulSoup:
    return BeautifulSoup(answer.content, "html.parser")


def sentence(report: Report, text: str) -> Any:
    return report.sentences.get(text=text)


def save(desk: Client, report: Report, revision: int, texts: dict[int, str]) -> Any:
    fields = {f"s-{pk}": text for pk, text in texts.items()}
    return desk.post(url(report, "save/"), {"revision": revision, **fields})


def accept(report: Report, reader: User) -> None:
    for finding in report.run.findings.filter(review=None):
        review_finding(finding, reader, state="accepted")


def sign(desk: Client, report: Report, password: str = PASSWORD, **more: str) -> Any:
    form = {"password": password, "meaning": MEANINGS[0], "seen": seal(report), **more}
    return desk.post(url(report, "sign/"), form)


def test_the_reader_writes_and_others_look(report: Report, desk: Client) -> None:
    mine = soup(desk.get(url(report, "panel/")))
    assert mine.find(id="report-form")["data-autosave"] == url(report, "save/")
    assert "Nodule of 12 mm." in [area.text for area in mine.find_all("textarea")]
    assert mine.find(attrs={"data-pending": "1"})
    other = Client()
    other.force_login(UserFactory(sites=[report.case.site]))
    theirs = soup(other.get(url(report, "panel/")))
    assert not theirs.find_all("textarea") and not theirs.find(id="open-sign")
    assert "is reading this case" in theirs.text
    assert "Nodule of 12 mm." in theirs.text
    looks = AuditRecord.objects.filter(action="view", case_id=report.case_id)
    assert [row.detail for row in looks] == [{"what": "report"}] * 2
    for page in (mine, theirs):
        assert "Not for diagnostic use" in page.text


def test_autosave_keeps_words_and_refuses_a_stale_tab(report: Report, desk: Client) -> None:
    row = sentence(report, "Nodule of 12 mm.")
    assert save(desk, report, 0, {row.pk: "Nodule of 13 mm."}).json() == {"revision": 1}
    stale = save(desk, report, 0, {row.pk: "Second tab."})
    assert stale.status_code == 409
    assert "changed elsewhere" in stale.json()["detail"]
    row.refresh_from_db()
    assert row.text == "Nodule of 13 mm."
    assert save(desk, report, 1, {row.pk: ""}).json() == {"revision": 2}
    panel = soup(desk.get(url(report, "panel/")))
    assert panel.find("del").text == "Nodule of 12 mm."
    back = soup(desk.post(url(report, f"sentences/{row.pk}/restore/")))
    assert "Nodule of 12 mm." in [area.text for area in back.find_all("textarea")]


@pytest.mark.parametrize("fields", [{}, {"revision": "x"}, {"revision": 0, "s-one": "text"}])
def test_a_save_that_is_none_says_so(report: Report, desk: Client, fields: dict[str, Any]) -> None:
    answer = desk.post(url(report, "save/"), fields)
    assert answer.status_code == 400
    assert "Reload" in answer.json()["detail"]


def test_only_the_holder_saves(report: Report) -> None:
    other = Client()
    other.force_login(UserFactory(sites=[report.case.site]))
    answer = save(other, report, 0, {})
    assert answer.status_code == 403
    assert "do not hold" in answer.json()["detail"]


def test_a_finding_is_judged_from_the_panel(report: Report, desk: Client) -> None:
    finding = report.run.findings.get()
    answer = desk.post(f"/reports/findings/{finding.pk}/review/", {"state": "rejected"})
    assert json.loads(answer["HX-Trigger"]) == {"radfuse:reviewed": {"finding": finding.pk}}
    page = soup(answer)
    assert page.find(attrs={"data-finding": finding.pk})["data-state"] == "rejected"
    assert "Left out: its finding was rejected." in page.text
    refused = desk.post(f"/reports/findings/{finding.pk}/review/", {"state": "edited"})
    assert "needs a new name" in soup(refused).find(role="alert").text


def test_the_dialog_shows_patient_difference_and_open_points(
    report: Report, desk: Client, reader: User
) -> None:
    save(desk, report, 0, {sentence(report, "No effusion.").pk: "No pleural effusion."})
    page = soup(desk.get(url(report, "sign/")))
    banner = page.find(attrs={"data-sign-banner": True}).text
    assert report.case.patient.display_name in banner and "P-77" in banner
    assert "Accept, edit or reject finding 1." in page.text
    assert page.find(id="confirm-sign").has_attr("disabled")
    assert page.find("ins").text.strip() == "pleural"
    assert [option.text for option in page.find_all("option")] == list(MEANINGS)
    accept(report, reader)
    assert not soup(desk.get(url(report, "sign/"))).find(id="confirm-sign").has_attr("disabled")


def test_signing_asks_for_the_password_and_ends_the_draft(
    report: Report, desk: Client, reader: User
) -> None:
    accept(report, reader)
    wrong = sign(desk, report, "wrong")
    assert wrong.status_code == 422
    assert "Nothing was signed" in soup(wrong).find(role="alert").text
    signed = sign(desk, report)
    assert signed.status_code == 200
    assert "radfuse:signed" in json.loads(signed["HX-Trigger"])
    page = soup(signed)
    assert not page.find_all("textarea", attrs={"data-origin": True})
    assert f"Signed by {reader.display_name}, MD" in page.text
    version = report.versions.get()
    assert version.sha256[:16] in page.text
    again = sign(desk, report)
    assert again.status_code == 422
    assert "It can only be amended" in soup(again).find(role="alert").text
    assert save(desk, report, 0, {}).status_code == 403


def test_nobody_signs_what_the_dialog_did_not_show(
    report: Report, desk: Client, reader: User
) -> None:
    accept(report, reader)
    seen = seal(report)
    save(desk, report, 0, {sentence(report, "No effusion.").pk: "Large effusion."})
    answer = sign(desk, report, seen=seen)
    assert answer.status_code == 422
    page = soup(answer)
    assert "changed while this dialog was open" in page.find(role="alert").text
    assert "Large effusion." in page.text, "the dialog now shows what would be signed"
    assert not report.versions.exists()
    review_finding(report.run.findings.get(), reader, state="edited", label="Granuloma")
    assert seal(report) != page.find("input", attrs={"name": "seen"})["value"]
    assert sign(desk, report).status_code == 200


def test_an_addendum_that_is_refused_keeps_its_text(
    report: Report, desk: Client, reader: User
) -> None:
    accept(report, reader)
    sign(desk, report)
    form = {"text": "Compared with 2024: unchanged.", "meaning": MEANINGS[1], "password": "wrong"}
    page = soup(desk.post(url(report, "addend/"), form))
    assert page.find("textarea", attrs={"name": "text"}).text == form["text"]
    assert page.find("details", attrs={"open": True})
    page = soup(desk.post(url(report, "addend/"), {**form, "password": PASSWORD}))
    assert "An addendum exists: read it below." in page.text
    assert form["text"] in page.find(attrs={"data-version": "2"}).text


# --- the document -------------------------------------------------------------------------------


def pages_of(data: bytes) -> list[str]:
    told = subprocess.run(
        [need("pdftotext"), "-layout", "-", "-"], input=data, capture_output=True, check=True
    )
    return told.stdout.decode().split("\f")[:-1]


def test_the_document_is_complete_and_its_file_name_tells_nothing(
    report: Report, desk: Client, reader: User
) -> None:
    assert desk.get(url(report, "report.pdf")).status_code == 409
    own = report.sentences.filter(origin="reader", section="findings").get()
    save(desk, report, 0, {own.pk: "\n\n".join(f"Remark {n}." for n in range(90))})
    accept(report, reader)
    sign(desk, report)
    desk.post(
        url(report, "addend/"),
        {"text": "Biopsy: granuloma.", "meaning": MEANINGS[0], "password": PASSWORD},
    )
    answer = desk.get(url(report, "report.pdf"))
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"] == (
        f'attachment; filename="report-case-{report.case_id}.pdf"'
    )
    assert AuditRecord.objects.filter(action="download", case_id=report.case_id).count() == 1
    pages = pages_of(answer.content)
    assert len(pages) > 1
    for number, page in enumerate(pages, start=1):
        assert "Not for diagnostic use" in page
        assert f"{number}/{len(pages)}" in page.replace(" ", "")
        assert "SYNTHETIC, Wang Xiao" in page and "P-77" in page, "a loose page says whose it is"
    text = "\n".join(pages)
    for words in ("SYNTHETIC, Wang Xiao", "P-77", "Avid nodule.", "Remark 89.", "granuloma"):
        assert words in text, words
    for version in report.versions.all():
        assert version.sha256 in text
    first = report.versions.get(number=1)
    assert "granuloma" not in "\n".join(pages_of(render_pdf(first)))


def test_chinese_names_have_glyphs(
    report: Report, desk: Client, reader: User, tmp_path: Path
) -> None:
    """Needs a font with Chinese glyphs (Debian: fonts-droid-fallback or fonts-noto-cjk)."""
    accept(report, reader)
    sign(desk, report)
    file = tmp_path / "report.pdf"
    file.write_bytes(render_pdf(report.versions.get()))
    command = [need("pdffonts"), str(file)]
    used = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "SYNTHETIC, Wang Xiao (合成, 王小东)" in pages_of(file.read_bytes())[0]
    if not any(name in used for name in ("CJK", "Droid", "WenQuanYi", "Zen-Hei")):
        missing("a font with Chinese glyphs (fonts-droid-fallback)")


def test_the_document_loads_nothing_from_anywhere(
    report: Report, desk: Client, reader: User
) -> None:
    accept(report, reader)
    own = report.sentences.filter(origin="reader", section="findings").get()
    save(desk, report, 0, {own.pk: '<img src="file:///etc/passwd"> <b>not bold</b>'})
    sign(desk, report)
    assert '<img src="file:///etc/passwd">' in "".join(pages_of(render_pdf(report.versions.get())))
