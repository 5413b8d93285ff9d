"""Drafts, signatures, addenda."""

from __future__ import annotations

import hashlib
import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.test import RequestFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import (
    PASSWORD,
    CaseFactory,
    DraftSentenceFactory,
    FindingFactory,
    LayerFactory,
    RunFactory,
    SeriesFactory,
    StudyFactory,
    UserFactory,
)
from workstation.accounts.models import User
from workstation.analyzing.models import Run
from workstation.reading.services import review_finding
from workstation.reporting.difference import changes_since_draft, word_pieces
from workstation.reporting.models import Origin, Report, ReportSection, Sentence, Version
from workstation.reporting.services import (
    MEANINGS,
    ReportRefused,
    StaleRevision,
    WrongPassword,
    addend_report,
    included_sentences,
    obstacles,
    prepare_report,
    restore_sentence,
    save_draft,
    seal,
    sign_report,
)
from workstation.worklist.models import CaseState
from workstation.worklist.services import claim_case

pytestmark = pytest.mark.django_db
REQUEST = RequestFactory().post("/")


@pytest.fixture
def reader() -> User:
    return UserFactory(title="MD")


@pytest.fixture
def report(reader: User) -> Report:
    case = CaseFactory(state=CaseState.READY)
    run = RunFactory(case=case)
    finding = FindingFactory(run=run)
    DraftSentenceFactory(run=run, text="Nodule of 12 mm.", finding=finding)
    DraftSentenceFactory(run=run, text="No effusion seen.")
    DraftSentenceFactory(run=run, section="impression", text="1. Avid nodule.", finding=finding)
    claim_case(case, reader)
    return prepare_report(run)


def sentence(report: Report, text: str) -> Sentence:
    return report.sentences.get(text=text)


def sign(report: Report, reader: User, password: str = PASSWORD) -> Version:
    return sign_report(
        report, reader, REQUEST, password=password, meaning=MEANINGS[0], seen=seal(report)
    )


def accept_all(report: Report, reader: User) -> None:
    for finding in report.run.findings.all():
        review_finding(finding, reader, state="accepted")


def test_every_section_ends_with_the_readers_own_words(report: Report) -> None:
    own = report.sentences.filter(origin=Origin.READER)
    assert {s.section for s in own} == {
        "indication", "technique", "comparison", "findings", "impression",
    }  # fmt: skip


def test_saving_counts_revisions_and_marks_edits(report: Report, reader: User) -> None:
    row = sentence(report, "Nodule of 12 mm.")
    save_draft(report, reader, revision=0, texts={row.pk: "Nodule of 13 mm."})
    row.refresh_from_db()
    report.refresh_from_db()
    assert (report.revision, row.origin, row.original) == (1, "edited", "Nodule of 12 mm.")
    assert report.case.state == CaseState.DRAFT or report.case.events.filter(event="draft_saved")
    restore_sentence(report, reader, row.pk)
    row.refresh_from_db()
    assert (row.text, row.origin) == ("Nodule of 12 mm.", "ai")


def test_two_tabs_never_overwrite_each_other(report: Report, reader: User) -> None:
    row = sentence(report, "No effusion seen.")
    save_draft(report, reader, revision=0, texts={row.pk: "first tab"})
    with pytest.raises(StaleRevision):
        save_draft(report, reader, revision=0, texts={row.pk: "second tab"})
    row.refresh_from_db()
    assert row.text == "first tab"


def test_only_the_holder_writes(report: Report) -> None:
    with pytest.raises(ReportRefused, match="do not hold"):
        save_draft(report, UserFactory(), revision=0, texts={})


def test_a_touched_draft_survives_a_new_run(report: Report, reader: User) -> None:
    row = sentence(report, "No effusion seen.")
    save_draft(report, reader, revision=0, texts={row.pk: "mine"})
    prepare_report(RunFactory(case=report.case))
    row.refresh_from_db()
    assert row.text == "mine"


def test_an_empty_report_is_filled_when_the_failed_run_succeeds(reader: User) -> None:
    run = RunFactory(state="failed")
    report = prepare_report(run)
    assert not report.sentences.exclude(text="").exists()
    run.steps.update(state="done")
    DraftSentenceFactory(run=run, text="From the second try.")
    run = Run.objects.get(pk=run.pk)
    assert prepare_report(run).sentences.filter(text="From the second try.").exists()
    prepare_report(RunFactory(case=run.case, state="failed"))
    assert report.sentences.filter(text="From the second try.").exists(), "a draft stays"


def test_an_untouched_draft_follows_the_new_run(report: Report) -> None:
    later = RunFactory(case=report.case)
    DraftSentenceFactory(run=later, text="From the new run.")
    assert prepare_report(later).sentences.filter(text="From the new run.").exists()
    assert not report.sentences.filter(text="No effusion seen.").exists()


def test_signing_needs_every_finding_judged_and_an_impression(
    report: Report, reader: User
) -> None:
    with pytest.raises(ReportRefused, match="finding 1"):
        sign(report, reader)
    review_finding(report.run.findings.get(), reader, state="rejected")
    assert obstacles(report) == ["The impression is empty."]


def test_sentences_of_a_rejected_finding_are_left_out(report: Report, reader: User) -> None:
    review_finding(report.run.findings.get(), reader, state="rejected")
    assert [s.text for s in included_sentences(report)] == ["No effusion seen."]
    whys = {change.why for change in changes_since_draft(report)}
    assert whys == {"its finding was rejected"}


def test_wrong_password_signs_nothing(report: Report, reader: User) -> None:
    accept_all(report, reader)
    with pytest.raises(WrongPassword):
        sign(report, reader, "not the password")
    assert not Version.objects.exists()
    report.case.refresh_from_db()
    assert report.case.state != CaseState.SIGNED


def test_a_signature_covers_report_findings_and_images(report: Report, reader: User) -> None:
    accept_all(report, reader)
    version = sign(report, reader)
    content = json.loads(version.content)
    assert hashlib.sha256(version.content.encode()).hexdigest() == version.sha256
    assert content["signature"]["name"] == f"{reader.display_name}, MD"
    assert content["signature"]["meaning"] == MEANINGS[0]
    assert content["findings"][0]["state"] == "accepted"
    assert content["series"]
    assert content["sections"]["impression"] == ["1. Avid nodule."]
    report.case.refresh_from_db()
    assert report.case.state == CaseState.SIGNED


def test_signed_text_cannot_be_edited_and_addenda_chain(report: Report, reader: User) -> None:
    accept_all(report, reader)
    first = sign(report, reader)
    with pytest.raises(ReportRefused, match="signed"):
        save_draft(report, reader, revision=report.revision, texts={})
    with pytest.raises(ReportRefused, match="empty"):
        addend_report(report, reader, REQUEST, text=" ", password=PASSWORD, meaning=MEANINGS[0])
    second = addend_report(
        report, reader, REQUEST, text="Biopsy advised.", password=PASSWORD, meaning=MEANINGS[0]
    )
    assert (second.number, second.previous_sha256) == (2, first.sha256)
    before = first.content
    first.refresh_from_db()
    assert first.content == before
    report.case.refresh_from_db()
    assert report.case.state == CaseState.ADDENDED


@pytest.mark.parametrize(
    "statement", ["UPDATE reporting_version SET content = '{}'", "DELETE FROM reporting_version"]
)
def test_the_database_refuses_to_change_a_signed_version(
    report: Report, reader: User, statement: str
) -> None:
    accept_all(report, reader)
    version = sign(report, reader)
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Version.objects.get(pk=version.pk).sha256 == version.sha256


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    acts=st.lists(
        st.one_of(
            st.tuples(st.just("edit"), st.text(min_size=1, max_size=20)),
            st.tuples(st.just("sign"), st.just("")),
            st.tuples(st.just("addend"), st.text(min_size=1, max_size=20)),
            st.tuples(st.just("restore"), st.just("")),
        ),
        max_size=8,
    )
)
def test_no_sequence_of_acts_changes_a_signed_version(acts: list[tuple[str, str]]) -> None:
    with transaction.atomic():
        reader = UserFactory()
        case = CaseFactory(state=CaseState.READY)
        run = RunFactory(case=case)
        DraftSentenceFactory(run=run, section="impression", text="Normal.")
        claim_case(case, reader)
        report = prepare_report(run)
        signed: dict[int, str] = {}
        for act, text in acts:
            report.refresh_from_db()
            row = report.sentences.filter(original="Normal.").get()
            try:
                if act == "edit":
                    save_draft(report, reader, revision=report.revision, texts={row.pk: text})
                elif act == "restore":
                    restore_sentence(report, reader, row.pk)
                elif act == "sign":
                    sign(report, reader)
                else:
                    addend_report(
                        report, reader, REQUEST, text=text, password=PASSWORD,
                        meaning=MEANINGS[0],
                    )  # fmt: skip
            except ReportRefused:
                pass
            now = {v.pk: v.content for v in report.versions.all()}
            assert signed.items() <= now.items()
            signed = now


def test_a_text_that_postgresql_cannot_keep_is_refused() -> None:
    reader = UserFactory()
    case = CaseFactory(state=CaseState.READY)
    run = RunFactory(case=case)
    claim_case(case, reader)
    report = prepare_report(run)
    row = report.sentences.first()
    assert row is not None
    with pytest.raises(ReportRefused, match="NUL"):
        save_draft(report, reader, revision=report.revision, texts={row.pk: "Nor\0mal."})
    row.refresh_from_db()
    assert "mal." not in row.text


@given(before=st.text(max_size=60), after=st.text(max_size=60))
def test_a_difference_reads_back_to_both_sides(before: str, after: str) -> None:
    pieces = word_pieces(before, after)
    assert "".join(p.text for p in pieces if p.kind != "added") == before
    assert "".join(p.text for p in pieces if p.kind != "removed") == after


def with_layer_of_a_study_that_left(report: Report) -> None:
    """The run behind the draft looked at images that were moved to another patient since."""
    LayerFactory(run=report.run)
    study = report.case.studies.get()
    report.case.studies.remove(study)
    other = StudyFactory(patient=report.case.patient)
    SeriesFactory(study=other)
    report.case.studies.add(other)


def test_a_draft_over_images_that_left_the_case_cannot_be_signed(
    report: Report, reader: User
) -> None:
    accept_all(report, reader)
    assert obstacles(report) == []
    with_layer_of_a_study_that_left(report)
    assert "Images have left this case" in obstacles(report)[0]
    with pytest.raises(ReportRefused):
        sign(report, reader)


def test_a_touched_draft_over_images_that_left_is_laid_out_anew(
    report: Report, reader: User
) -> None:
    mine = report.sentences.get(section="findings", origin=Origin.READER)
    edited = sentence(report, "No effusion seen.")
    save_draft(report, reader, revision=0, texts={mine.pk: "Scar.", edited.pk: "Effusion."})
    with_layer_of_a_study_that_left(report)
    assert prepare_report(report.run).sentences.filter(text="Effusion.").exists()
    later = RunFactory(case=report.case)
    DraftSentenceFactory(run=later, text="Lungs clear.")
    laid_out = prepare_report(later)
    texts = {s.text for s in laid_out.sentences.all() if s.text}
    assert texts == {"Lungs clear.", "Scar."}
    assert laid_out.run == later and laid_out.revision == 2
    with pytest.raises(StaleRevision):
        save_draft(laid_out, reader, revision=1, texts={})
    own = laid_out.sentences.filter(origin=Origin.READER)
    assert sorted(s.section for s in own) == sorted(set(ReportSection.values))
    assert prepare_report(later).revision == 2
