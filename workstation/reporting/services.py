"""What happens to a report: prepared from the analysis, edited, signed, amended."""

from __future__ import annotations

from collections.abc import Mapping

from django.contrib.auth import authenticate
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext as _

from workstation.accounts.models import User
from workstation.accounts.services import address_of, record
from workstation.analyzing.models import Run, RunState
from workstation.analyzing.shown import shows_strangers
from workstation.live import publish
from workstation.reading.models import FindingReview, ReviewState
from workstation.reading.more_notices import add_source
from workstation.reporting.content import (
    canonical,
    digest,
    findings_of,
    measurements_of,
    registrations_of,
    report_content,
)
from workstation.reporting.models import (
    Origin,
    Report,
    ReportSection,
    Sentence,
    Version,
    VersionKind,
)
from workstation.worklist.models import Case, CaseState
from workstation.worklist.services import holds, note_addended, note_draft_saved, note_signed

OWN_WORDS = 10_000
"""Position of a section's last sentence, the reader's own."""
MEANINGS = (
    "I have read the images and this report is my own.",
    "I have reviewed and approve this report.",
)
"""What a signature may mean (21 CFR 11.50)."""


class ReportRefused(Exception):
    """The report cannot be changed this way; the message says why and what to do."""


class StaleRevision(ReportRefused):
    """Another tab or browser saved in between."""


class WrongPassword(ReportRefused):
    """The person signing could not be verified."""


@transaction.atomic
def prepare_report(run: Run) -> Report:
    """Lay the run's draft out as the case's working report. Idempotent.

    A report that a reader has touched is left alone: the reader decides what to take over. A run
    that failed gives an empty report, so that its case can be reported by hand; a draft that is
    there already stays. But a draft over images that have left the case speaks of another patient:
    its sentences go, and only the reader's own words stay.
    """
    report, created = Report.objects.select_for_update().get_or_create(
        case=run.case, defaults={"run": run}
    )
    untouched = report.revision == 0 and not report.versions.exists()
    drafted_by_run = report.sentences.exclude(origin=Origin.READER).exists()
    laid_out = report.run_id == run.pk and (drafted_by_run or not run.sentences.exists())
    departed = _is_of_departed_images(report) and not report.versions.exists()
    if departed and shows_strangers(run):
        return report  # the new analysis is still to come
    if not created and not departed and (not untouched or laid_out or run.state == RunState.FAILED):
        return report
    report.run = run
    if departed and not untouched:
        report.revision += 1  # an open editor must not write the old sentences back
    report.save(update_fields=["run", "revision"])
    written = report.sentences.filter(origin=Origin.READER).exclude(text="")
    kept = {(s.section, s.position) for s in written} if departed else set()
    report.sentences.exclude(pk__in=written if departed else []).delete()
    drafted = [
        Sentence(
            report=report,
            section=sentence.section,
            position=sentence.position,
            text=sentence.text,
            original=sentence.text,
            origin=Origin.AI,
            finding=sentence.finding,
        )
        for sentence in run.sentences.all()
    ]
    # Each section ends with the reader's own, still empty, words.
    own = [
        Sentence(report=report, section=section, position=OWN_WORDS, text="", origin=Origin.READER)
        for section in ReportSection.values
        if (section, OWN_WORDS) not in kept
    ]
    Sentence.objects.bulk_create(drafted + own)
    publish(run.case.site_id, "report", run.case_id)
    return report


@add_source
def notice_of_kept_run(case: Case, run: Run) -> list[dict[str, str]]:
    """What the viewer says where the report was begun with another analysis than the one on screen:
    it keeps that one, and what is decided at the images now does not go into it."""
    report = Report.objects.select_related("run").filter(case=case).first()
    begun = report is not None and (report.revision > 0 or report.versions.exists())
    if report is None or report.run is None or report.run_id == run.pk or not begun:
        return []
    message = _(
        "The report was begun with analysis {old} and keeps it. The images show analysis {new} "
        "({reason}): what you judge or align here belongs to analysis {new} and does not go into "
        "that report. Say in the report what is new."
    ).format(old=report.run.number, new=run.number, reason=run.reason)
    return [{"code": "report_keeps_run", "message": message, "severity": "warning", "subject": ""}]


@transaction.atomic
def save_draft(
    report: Report, user: User, *, revision: int, texts: Mapping[int, str], address: str = ""
) -> Report:
    """Keep the reader's words: sentence id -> text. An emptied AI sentence counts as removed.

    ``revision`` is the one the reader's page was made from; raises :class:`StaleRevision` if the
    report has moved on since, so that two tabs never overwrite each other silently.
    """
    locked = _lock_for_writing(report, user)
    if revision != locked.revision:
        who = locked.saved_by.display_name if locked.saved_by else "another page"
        raise StaleRevision(
            gettext(
                "This draft was changed elsewhere ({who}). Reload the page to see that text; yours "
                "stays in this browser until then."
            ).format(who=who)
        )
    changed = []
    for sentence in locked.sentences.select_for_update():
        text = texts.get(sentence.pk)
        if text is None or text.strip() == sentence.text:
            continue
        sentence.text = _storable(text.strip())
        if sentence.origin != Origin.READER:
            sentence.origin = Origin.AI if sentence.text == sentence.original else Origin.EDITED
            sentence.removed = not sentence.text
        changed.append(sentence)
    if not changed:
        return locked
    Sentence.objects.bulk_update(changed, ["text", "origin", "removed"])
    locked.revision += 1
    locked.saved_at = timezone.now()
    locked.saved_by = user
    locked.save(update_fields=["revision", "saved_at", "saved_by"])
    note_draft_saved(locked.case_id, user)
    record(
        "edit", user=user, site=locked.case.site, obj=locked, case_id=locked.case_id,
        remote_address=address,
        detail={"revision": locked.revision, "sentences": [s.pk for s in changed]},
    )  # fmt: skip
    publish(locked.case.site_id, "report", locked.case_id)
    return locked


@transaction.atomic
def restore_sentence(report: Report, user: User, sentence_id: int, *, address: str = "") -> Report:
    """Put the AI's own words of one sentence back: the undo of an edit or a removal."""
    locked = _lock_for_writing(report, user)
    sentence = locked.sentences.get(pk=sentence_id)
    return save_draft(
        locked, user, revision=locked.revision, texts={sentence.pk: sentence.original},
        address=address,
    )  # fmt: skip


def obstacles(report: Report) -> list[str]:
    """What still forbids signing, in the reader's words; empty when nothing does."""
    if _is_of_departed_images(report):
        return [
            "Images have left this case since its draft was made: they belong to another patient. "
            "Wait for the new analysis; the draft is then laid out anew."
        ]
    found = []
    pending: list[int] = []
    if report.run:
        unjudged = report.run.findings.filter(review=None).order_by("number")
        pending = list(unjudged.values_list("number", flat=True))
    if pending:
        numbers = ", ".join(str(n) for n in pending)
        found.append(f"Accept, edit or reject finding {numbers}.")
    if not any(s.section == ReportSection.IMPRESSION for s in included_sentences(report)):
        found.append("The impression is empty.")
    return found


def _is_of_departed_images(report: Report) -> bool:
    return report.run is not None and shows_strangers(report.run)


def included_sentences(report: Report) -> list[Sentence]:
    """The sentences that would be signed now, in reading order.

    Left out: removed ones, empty ones, and AI sentences of a rejected finding.
    """
    rejected = set(
        FindingReview.objects.filter(
            finding__run=report.run, state=ReviewState.REJECTED
        ).values_list("finding_id", flat=True)
    )
    order = list(ReportSection.values)
    rows = [
        s
        for s in report.sentences.select_related("finding")
        if s.text and not s.removed and s.finding_id not in rejected
    ]
    return sorted(rows, key=lambda s: (order.index(s.section), s.position, s.pk))


def seal(report: Report) -> str:
    """A digest of what would be signed now: text, judgements, measurements, registrations.

    The sign-off dialog carries it, so that nobody signs something else than the dialog showed.
    """
    return digest(
        canonical(
            {
                "sections": sections_to_sign(report),
                "findings": findings_of(report),
                "measurements": measurements_of(report),
                "registrations": registrations_of(report),
            }
        )
    )


def sections_to_sign(report: Report) -> dict[str, list[str]]:
    """Section -> its sentences as they would be signed now."""
    kept = included_sentences(report)
    return {
        section: [s.text for s in kept if s.section == section] for section in ReportSection.values
    }


def sign_report(
    report: Report, user: User, request: HttpRequest, *, password: str, meaning: str, seen: str
) -> Version:
    """Sign what the reader saw (``seen``: the :func:`seal` of the dialog). The password is asked
    again: session age is not enough.

    Raises :class:`WrongPassword`, or :class:`ReportRefused` naming what is missing.
    """
    if meaning not in MEANINGS:
        raise ReportRefused(gettext("Choose what your signature means."))
    _verify(request, user, password)
    return _sign(report, user, meaning, seen, address_of(request))


@transaction.atomic
def _sign(report: Report, user: User, meaning: str, seen: str, address: str) -> Version:
    locked = _lock_for_writing(report, user)
    missing = obstacles(locked)
    if missing:
        raise ReportRefused(" ".join(missing))
    if seen != seal(locked):
        raise StaleRevision(
            gettext("The report changed while this dialog was open. Read it again here, then sign.")
        )
    sections = sections_to_sign(locked)
    version = _write_version(locked, user, VersionKind.FINAL, meaning, sections)
    note_signed(locked.case_id, user)
    record(
        "sign", user=user, site=locked.case.site, obj=version, case_id=locked.case_id,
        remote_address=address,
        detail={"version": version.number, "sha256": version.sha256},
    )  # fmt: skip
    publish(locked.case.site_id, "report", locked.case_id)
    return version


def addend_report(
    report: Report, user: User, request: HttpRequest, *, text: str, password: str, meaning: str
) -> Version:
    """Add a signed addendum. The signed text before it is never touched."""
    if not text.strip():
        raise ReportRefused(gettext("The addendum is empty."))
    if meaning not in MEANINGS:
        raise ReportRefused(gettext("Choose what your signature means."))
    _storable(text)
    _verify(request, user, password)
    return _addend(report, user, text, meaning, address_of(request))


@transaction.atomic
def _addend(report: Report, user: User, text: str, meaning: str, address: str) -> Version:
    locked = _locked(report)
    if locked.case.state not in (CaseState.SIGNED, CaseState.ADDENDED):
        raise ReportRefused(gettext("Only a signed report takes an addendum."))
    sections = {"addendum": [text.strip()]}
    version = _write_version(locked, user, VersionKind.ADDENDUM, meaning, sections)
    note_addended(locked.case_id, user)
    record(
        "addend", user=user, site=locked.case.site, obj=version, case_id=locked.case_id,
        remote_address=address,
        detail={"version": version.number, "sha256": version.sha256},
    )  # fmt: skip
    publish(locked.case.site_id, "report", locked.case_id)
    return version


def _storable(text: str) -> str:
    """PostgreSQL keeps no NUL in a text; pasted from elsewhere it is invisible."""
    try:
        ProhibitNullCharactersValidator()(text)
    except ValidationError:
        raise ReportRefused(
            gettext(
                "The text holds an invisible character (NUL) that cannot be kept. Type the last "
                "words "
                "again, or paste them as plain text."
            )
        ) from None
    return text


def _locked(report: Report) -> Report:
    # The case too: a release, a review or a second signature waits until this one is done.
    Case.objects.select_for_update().get(pk=report.case_id)
    rows = Report.objects.select_for_update(of=("self",))
    return rows.select_related("case__site", "case__patient", "run").get(pk=report.pk)


def _lock_for_writing(report: Report, user: User) -> Report:
    locked = _locked(report)
    case: Case = locked.case
    if case.state in (CaseState.SIGNED, CaseState.ADDENDED):
        raise ReportRefused(
            gettext("This report is signed. It can only be amended by an addendum.")
        )
    if not holds(case, user):
        raise ReportRefused(
            gettext("You do not hold this case. Claim it from the worklist to write.")
        )
    return locked


def _verify(request: HttpRequest, user: User, password: str) -> None:
    """Call it outside the transaction: a refused signature rolls back, a counted attempt stays."""
    # authenticate() rather than check_password(): wrong attempts count towards the lock-out.
    if authenticate(request, username=user.username, password=password) == user:
        return
    record(
        "sign_in_failed", user=user, remote_address=address_of(request), detail={"at": "signature"}
    )
    raise WrongPassword("The password is not right. Nothing was signed.")


def _write_version(
    report: Report,
    user: User,
    kind: VersionKind,
    meaning: str,
    sections: Mapping[str, list[str]],
) -> Version:
    before = report.versions.order_by("-number").first()
    number = before.number + 1 if before else 1
    signed_at = timezone.now()
    content = report_content(
        report, kind=kind, number=number, sections=sections, signer=user,
        meaning=meaning, signed_at=signed_at, previous=before,
    )  # fmt: skip
    text = canonical(content)
    return Version.objects.create(
        report=report, number=number, kind=kind, content=text, sha256=digest(text),
        previous_sha256=before.sha256 if before else "", signed_by=user,
        signer_name=content["signature"]["name"], meaning=meaning, signed_at=signed_at,
    )  # fmt: skip
