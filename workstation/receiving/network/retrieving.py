"""C-GET and C-MOVE: fetch a study from a node (Query/Retrieve, study root, PS3.4 annex C).

First the node is asked which objects the study has (C-FIND down to the image level). So only what
is not here yet is fetched, a retrieval that broke off goes on where it stopped, and its end can be
checked. A node that answers no such question is asked for the whole study.

By C-GET the objects come over the association that we opened, into the same verb as every other
object. For each kind of object every transfer syntax gets a presentation context of its own, so
that the node has no reason to decompress or compress anything. By C-MOVE the node sends to our
listener.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from django.conf import settings
from django.db import DatabaseError
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    MPEGTransferSyntaxes,
    RLELossless,
)
from pynetdicom import (
    ALL_TRANSFER_SYNTAXES,
    StoragePresentationContexts,
    build_context,
    build_role,
    evt,
)
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as MOVE

from workstation.accounts.models import Site
from workstation.receiving.models import RemoteNode, RetrieveBy
from workstation.receiving.network.asking import FoundInstance, instances_over, series_over
from workstation.receiving.network.calling import NotOffered, NotReached, association
from workstation.receiving.outcomes import Result
from workstation.receiving.services.storing import store_instance
from workstation.receiving.storage import StorageFull

log = logging.getLogger(__name__)

IMAGES = [
    *ALL_TRANSFER_SYNTAXES[:4], RLELossless, *JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes,
    *JPEG2000TransferSyntaxes,
]  # fmt: skip
WITH_VIDEO = ("Video", "Multi-frame", "Ultrasound", "Secondary Capture")
MOST_CONTEXTS = 128
UIDS_AT_ONCE = 200
"""Instance UIDs in one request; 64 KB is the longest element of explicit VR."""
ANSWER_SECONDS = 180.0
"""Silence that long ends a retrieval. Archives that fetch from tape need minutes."""
CANCEL_SECONDS = 5.0
"""What a node may take to end after a cancel, before the association is aborted."""
SUCCESS, CANCELLED, SOME_FAILED, NO_DESTINATION = 0x0000, 0xFE00, 0xB000, 0xA801
PENDING = 0xFF00
OUT_OF_RESOURCES, PROCESSING_FAILURE, CANNOT_UNDERSTAND = 0xA700, 0x0110, 0xC000


class NotRetrieved(Exception):
    """The retrieval ended early; the text is for people. ``again``: another try may help."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class Stopped(Exception):
    """A person cancelled the retrieval, or another worker took it over."""


@dataclass(frozen=True)
class Counts:
    """How far a retrieval is; what was here before counts as completed."""

    expected: int | None = None
    completed: int = 0
    failed: int = 0
    refused: int = 0


@dataclass(frozen=True)
class Order:
    """What to fetch from where, and what is here already."""

    node: RemoteNode
    site: Site
    study_instance_uid: str
    series_instance_uids: tuple[str, ...]
    here: frozenset[str]
    source: str
    archived: Callable[[str], str] = str
    """From the node's UIDs to those of the archive, which differ if objects are de-identified."""

    def has(self, uid: str) -> bool:
        return self.archived(uid) in self.here


@dataclass(frozen=True)
class Fetched:
    """What became of an order. ``listed``: the instance UIDs that the node says there are."""

    counts: Counts
    listed: frozenset[str] | None


@dataclass(frozen=True)
class _Request:
    """One C-GET or C-MOVE: a study, a series, or some objects of a series."""

    study: str
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    classes: frozenset[str] = frozenset()

    def identifier(self) -> Dataset:
        wanted = Dataset()
        wanted.QueryRetrieveLevel = (
            "IMAGE" if self.instances else "SERIES" if self.series else "STUDY"
        )
        wanted.StudyInstanceUID = self.study
        if self.series:
            wanted.SeriesInstanceUID = list(self.series)
        if self.instances:
            wanted.SOPInstanceUID = list(self.instances)
        return wanted


@dataclass
class _Tally:
    """The counts while objects come in; ``report`` hears of every change."""

    counts: Counts
    report: Callable[[Counts], None]
    full: bool = False
    stop: threading.Event = field(default_factory=threading.Event)

    def set(self, counts: Counts) -> None:
        self.counts = counts
        self.report(counts)


def retrieve(
    order: Order, report: Callable[[Counts], None], stop: threading.Event
) -> Fetched:
    """Fetch what is not here. ``report`` is called with the counts; ``stop`` cancels within
    seconds. Raises :class:`NotRetrieved`, :class:`Stopped` or :class:`NotReached`."""
    listing = _listing(order)
    if listing is None:
        requests = [_Request(order.study_instance_uid, order.series_instance_uids)]
        listed, here = None, 0
    else:
        listed = frozenset(one.sop_instance_uid for found in listing.values() for one in found)
        if not listed:
            raise NotRetrieved("The node has nothing of this study (any more).", again=False)
        here = sum(map(order.has, listed))
        requests = list(_missing(order, listing))
    tally = _Tally(Counts(len(listed) if listed else None, here), report, stop=stop)
    report(tally.counts)
    by_get = order.node.retrieve_by == RetrieveBy.GET
    for group in _groups(requests) if by_get else [requests] if requests else []:
        (_get if by_get else _move)(order, group, tally)
        if stop.is_set():
            raise Stopped
    return Fetched(tally.counts, listed)


def _listing(order: Order) -> dict[str, list[FoundInstance]] | None:
    """Every object by series, or None if the node does not answer such questions."""
    wanted = set(order.series_instance_uids)
    try:
        with association(order.node, [build_context(FIND)]) as link:
            found = series_over(link, order.study_instance_uid)
            return {
                one.series_instance_uid: instances_over(
                    link, order.study_instance_uid, one.series_instance_uid
                )
                for one in found
                if not wanted or one.series_instance_uid in wanted
            }
    except NotOffered:
        return None


def _missing(order: Order, listing: dict[str, list[FoundInstance]]) -> Iterator[_Request]:
    """A request for each series of which nothing is here; for others, what is missing of them."""
    study = order.study_instance_uid
    for series, found in listing.items():
        missing = [one for one in found if not order.has(one.sop_instance_uid)]
        classes = frozenset(one.sop_class_uid for one in missing if one.sop_class_uid)
        if missing and len(missing) == len(found):
            yield _Request(study, (series,), classes=classes)
            continue
        uids = [one.sop_instance_uid for one in missing]
        for start in range(0, len(uids), UIDS_AT_ONCE):
            part = tuple(uids[start : start + UIDS_AT_ONCE])
            yield _Request(study, (series,), part, classes)


def _syntaxes(sop_class: str) -> list[UID]:
    name = UID(sop_class).name
    return IMAGES + MPEGTransferSyntaxes if any(word in name for word in WITH_VIDEO) else IMAGES


def _groups(requests: list[_Request]) -> Iterator[list[_Request]]:
    """Requests that fit into one association: at most 128 presentation contexts (PS3.8 9.3.2)."""
    group: list[_Request] = []
    for request in requests:
        together = frozenset().union(*(one.classes for one in [*group, request]))
        known = all(one.classes for one in [*group, request])
        if group and (not known or sum(map(len, map(_syntaxes, together))) >= MOST_CONTEXTS):
            yield group
            group = []
        group.append(request)
    if group:
        yield group


def _contexts(group: list[_Request]) -> list[PresentationContext]:
    """One context for each kind of object and syntax; for unknown kinds, one for each kind."""
    classes = sorted(frozenset().union(*(one.classes for one in group)))
    found = [build_context(uid, syntax) for uid in classes for syntax in _syntaxes(uid)]
    if not found or len(found) >= MOST_CONTEXTS:
        kinds = classes or [str(one.abstract_syntax) for one in StoragePresentationContexts]
        found = [build_context(uid, IMAGES) for uid in kinds[: MOST_CONTEXTS - 1]]
    return found


def _get(order: Order, group: list[_Request], tally: _Tally) -> None:
    storage = _contexts(group)
    kinds = dict.fromkeys(str(context.abstract_syntax) for context in storage)
    with association(
        order.node,
        [build_context(GET), *storage],
        roles=[build_role(uid, scp_role=True) for uid in kinds],
        handlers=[(evt.EVT_C_STORE, _keep, [order, tally])],
        answer_seconds=ANSWER_SECONDS,
    ) as link:
        for number, request in enumerate(group, start=1):
            _perform(
                link, GET, number, tally,
                lambda request=request, number=number: link.send_c_get(
                    request.identifier(), GET, msg_id=number
                ),
            )  # fmt: skip


def _keep(event: Event, order: Order, tally: _Tally) -> int:
    """A C-STORE of our C-GET: kept, or told why not (statuses of PS3.4 table B.2-1)."""
    counts = tally.counts
    try:
        outcome = store_instance(order.site, [event.encoded_dataset()], source=order.source)
    except StorageFull:
        log.error("archive disk full: a retrieval stops")
        tally.full = True
        tally.stop.set()
        tally.set(replace(counts, failed=counts.failed + 1))
        return OUT_OF_RESOURCES
    except (DatabaseError, OSError) as error:
        log.error("retrieved object not stored: %s", type(error).__name__)
        tally.set(replace(counts, failed=counts.failed + 1))
        return PROCESSING_FAILURE
    if outcome.result is Result.QUARANTINED:
        tally.set(replace(counts, refused=counts.refused + 1))
        return CANNOT_UNDERSTAND
    tally.set(replace(counts, completed=counts.completed + 1))
    return SUCCESS


def _move(order: Order, group: list[_Request], tally: _Tally) -> None:
    with association(
        order.node, [build_context(MOVE)], answer_seconds=ANSWER_SECONDS
    ) as link:
        for number, request in enumerate(group, start=1):
            _perform(
                link, MOVE, number, tally,
                lambda request=request, number=number: link.send_c_move(
                    request.identifier(), settings.DICOM_AE_TITLE, MOVE, msg_id=number
                ),
                before=tally.counts,
            )  # fmt: skip


def _perform(
    link: Association,
    model: str,
    number: int,
    tally: _Tally,
    begin: Callable[[], Iterator[tuple[Dataset, Dataset | None]]],
    before: Counts | None = None,
) -> None:
    """One operation to its end. With ``before``, the node counts (C-MOVE); else we do (C-GET)."""
    if tally.stop.is_set():
        return
    final: Dataset | None = None
    with _cancelling(link, model, number, tally.stop):
        for status, _ in begin():
            final = status
            if before is not None and "Status" in status:
                tally.set(_counted(before, status))
    if tally.full:
        raise NotRetrieved("The archive disk is full. Free some space, then try again.")
    if tally.stop.is_set():
        return
    if final is None or "Status" not in final:
        raise NotRetrieved("The connection broke off, or the node fell silent.")
    if final.Status == NO_DESTINATION:
        raise NotRetrieved(
            f"The node does not know {settings.DICOM_AE_TITLE} as a destination: enter our AE "
            "title, host and port there, or fetch by C-GET.",
            again=False,
        )
    if final.Status == CANCELLED:
        raise NotRetrieved("The node cancelled the retrieval.")
    if final.Status not in (SUCCESS, SOME_FAILED):
        raise NotRetrieved(f"The node answered with status 0x{final.Status:04X}.")


def _counted(before: Counts, status: Dataset) -> Counts:
    """The node's counts of sub-operations, on top of those of earlier requests."""
    done = int(status.get("NumberOfCompletedSuboperations") or 0)
    warned = int(status.get("NumberOfWarningSuboperations") or 0)
    failed = int(status.get("NumberOfFailedSuboperations") or 0)
    left = int(status.get("NumberOfRemainingSuboperations") or 0)
    expected = before.expected
    if expected is None and status.Status == PENDING:
        expected = done + warned + failed + left
    return Counts(expected, before.completed + done + warned, before.failed + failed)


@contextmanager
def _cancelling(
    link: Association, model: str, number: int, stop: threading.Event
) -> Iterator[None]:
    """While the operation runs, ``stop`` sends a C-CANCEL, and aborts if that does not help."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            if stop.is_set() and link.is_established:
                link.send_c_cancel(number, query_model=model)
                if not ended.wait(CANCEL_SECONDS):
                    link.abort()
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


__all__ = [
    "Counts", "Fetched", "NotReached", "NotRetrieved", "Order", "Stopped", "retrieve",
]  # fmt: skip
