"""Messages of the retrieve queue: ask other nodes, fetch from them, answer their commitments.

The rows decide; these only translate between them and the network.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
from django.conf import settings
from django.db import DatabaseError, connection

from workstation.broker import RETRIEVE_QUEUE
from workstation.receiving.models import Inquiry, InquiryPurpose, Retrieval
from workstation.receiving.network.asking import Question, find_series, find_studies
from workstation.receiving.network.calling import NotReached
from workstation.receiving.network.commitment import report
from workstation.receiving.network.retrieving import (
    Counts,
    NotRetrieved,
    Order,
    Stopped,
    retrieve,
)
from workstation.receiving.prior_choice import choose
from workstation.receiving.services.committing import (
    COMMIT_ACTOR,
    fail_commitment,
    finish_commitment,
    start_commitment,
)
from workstation.receiving.services.deidentifying import BY_RETRIEVAL
from workstation.receiving.services.expecting import note_count
from workstation.receiving.services.inquiring import (
    INQUIRE_ACTOR,
    fail_inquiry,
    finish_inquiry,
    start_inquiry,
)
from workstation.receiving.services.priors import current_of, fetch_priors, wish_of
from workstation.receiving.services.retrieving import (
    RETRIEVE_ACTOR,
    CannotRetrieve,
    archived_uid_of,
    fail_retrieval,
    finish_retrieval,
    here_of,
    note_cancelled,
    note_progress,
    start_retrieval,
)
from workstation.receiving.states import InvalidMove

log = logging.getLogger(__name__)

HOUR_MS = 3_600_000
LONGEST_RETRIEVAL_MS = 24 * HOUR_MS
QUESTION_MS = 240_000
LOOK_EVERY = 1.0
"""Seconds between looks at a running retrieval's row: progress out, cancel in."""


@dramatiq.actor(
    actor_name=RETRIEVE_ACTOR, queue_name=RETRIEVE_QUEUE, max_retries=0,
    time_limit=LONGEST_RETRIEVAL_MS,
)  # fmt: skip
def retrieve_actor(pk: int) -> None:
    """Fetch one study."""
    row = start_retrieval(pk)
    if row is None:
        return
    try:
        _retrieve(row)
    except InvalidMove:
        log.warning("retrieval %d was taken back while it ran", pk)


def _retrieve(row: Retrieval) -> None:
    order = Order(
        node=row.node, site=row.site, study_instance_uid=row.study_instance_uid,
        series_instance_uids=tuple(row.series_instance_uids), here=here_of(row),
        source=f"{BY_RETRIEVAL}{row.pk}", archived=archived_uid_of(row),
    )  # fmt: skip
    stop = threading.Event()
    progress = _Progress(row, stop)
    try:
        with progress.told():
            fetched = retrieve(order, progress.set, stop)
    except Stopped:
        note_cancelled(row)
    except NotRetrieved as reason:
        fail_retrieval(row, str(reason), again=reason.again)
    except NotReached as reason:
        fail_retrieval(row, str(reason), again=True)
    except DatabaseError:
        raise  # nothing can be written; the sweep takes the row back
    except Exception as error:
        log.exception("retrieval %d failed", row.pk)
        fail_retrieval(row, f"Internal error ({type(error).__name__}).", again=True)
    else:
        finish_retrieval(row, fetched.listed)


class _Progress:
    """Tells the row how far its retrieval is, from a thread of its own: a node may fall silent for
    minutes, and the row still says that somebody is at work."""

    def __init__(self, row: Retrieval, stop: threading.Event) -> None:
        self.row, self.stop = row, stop
        self.counts = Counts(expected=row.expected, completed=row.completed)
        self.ended = threading.Event()

    def set(self, counts: Counts) -> None:
        self.counts = counts

    @contextmanager
    def told(self) -> Iterator[None]:
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            self.ended.set()
            teller.join()
            self._write()

    def _tell(self) -> None:
        last = self.counts
        written_at = time.monotonic()
        try:
            while not self.ended.wait(LOOK_EVERY):
                is_due = time.monotonic() - written_at > settings.HEARTBEAT_SECONDS
                if self.counts == last and not is_due and not self._is_cancelled():
                    continue
                last, written_at = self.counts, time.monotonic()
                if not self._write():
                    self.stop.set()
        finally:
            connection.close()

    def _is_cancelled(self) -> bool:
        try:
            return Retrieval.objects.filter(pk=self.row.pk, cancel_asked=True).exists()
        except DatabaseError:
            return False

    def _write(self) -> bool:
        counts = self.counts
        try:
            return note_progress(
                self.row, expected=counts.expected, completed=counts.completed,
                failed=counts.failed, refused=counts.refused,
            )  # fmt: skip
        except DatabaseError as error:
            log.warning(
                "progress of retrieval %d not written: %s", self.row.pk, type(error).__name__
            )
            connection.close()
            return True


@dramatiq.actor(
    actor_name=INQUIRE_ACTOR, queue_name=RETRIEVE_QUEUE, max_retries=0, time_limit=QUESTION_MS
)
def inquire_actor(pk: int) -> None:
    """Ask a node one question about a study."""
    row = start_inquiry(pk)
    if row is None:
        return
    try:
        _inquire(row)
    except (NotReached, CannotRetrieve) as reason:
        fail_inquiry(row, str(reason))
    except InvalidMove:
        log.warning("inquiry %d was taken back while it was asked", pk)


def _inquire(row: Inquiry) -> None:
    if row.purpose == InquiryPurpose.COUNT:
        answer = find_studies(
            row.node, Question(study_instance_uid=row.study.study_instance_uid)
        )
        counts = [
            found.instances
            for found in answer.studies
            if found.study_instance_uid == row.study.study_instance_uid
        ]
        told = counts[0] if counts else None
        note_count(row, told)
        finish_inquiry(row, f"{told} images." if told else "The node does not tell.")
        return
    study = row.study
    patient = study.received_as or study.patient
    answer = find_studies(row.node, Question(patient_id=patient.patient_id))
    current = current_of(study, [found.study_instance_uid for found in answer.studies])
    assert row.rule is not None
    wish = wish_of(row.rule, current.study_date)
    choice = choose(
        answer.studies, current, wish, lambda uid: find_series(row.node, uid)
    )
    fetch_priors(row, choice)


@dramatiq.actor(
    actor_name=COMMIT_ACTOR, queue_name=RETRIEVE_QUEUE, max_retries=0, time_limit=QUESTION_MS
)
def commit_actor(pk: int) -> None:
    """Tell a sender which of its objects are safe."""
    row = start_commitment(pk)
    if row is None:
        return
    try:
        checked = report(row)
        finish_commitment(row, checked)
    except NotReached as reason:
        fail_commitment(row, str(reason), again=row.node is not None)
    except InvalidMove:
        log.warning("commitment %d was answered by another process", pk)
