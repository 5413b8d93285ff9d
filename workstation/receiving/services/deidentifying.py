"""De-identify objects before they are archived or given on, by a site's profile."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pydicom
from django.db import transaction
from django.db.models import QuerySet
from pydicom.dataset import Dataset, FileDataset

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.receiving import storage
from workstation.receiving.deidentification.engine import (
    Deidentified,
    NotDeidentified,
    deidentify,
)
from workstation.receiving.deidentification.options import Dates, Options
from workstation.receiving.headers import UNREADABLE, NotAccepted
from workstation.receiving.models import (
    DeidentificationProfile,
    NoticeLevel,
    RemoteNode,
    Study,
    StudyNotice,
)
from workstation.receiving.services.pseudonyms import VaultLocked, remember, substitutes_of

FROM_SENDER, BY_RETRIEVAL = "dimse:", "retrieve:"
"""Beginnings of an object's source: followed by an AE title, by a retrieval's number."""
LARGE = 1024 * 1024
"""Values from this size on stay on the disk while the rest is worked on."""


def options_of(profile: DeidentificationProfile) -> Options:
    """The profile's choices as the engine takes them."""
    return Options(
        dates=Dates(profile.dates),
        patient_characteristics=profile.keep_patient_characteristics,
        safe_private=profile.keep_safe_private,
        device_identity=profile.keep_device_identity,
        institution=profile.keep_institution,
        uids=profile.keep_uids,
        clean_descriptors=profile.clean_descriptors,
    )


def profile_for(site: Site, source: str) -> DeidentificationProfile | None:
    """The profile for what comes to a site this way: the sender's own, else the site's.

    One small query where a site has none.
    """
    rows = DeidentificationProfile.objects.filter(site=site, active=True)
    profiles = {row.pk: row for row in rows}
    if not profiles:
        return None
    of_sender = _sender(site, source).values_list("deidentification", flat=True).first()
    if of_sender in profiles:
        return profiles[of_sender]
    return next((row for row in profiles.values() if row.applies_to_site), None)


def _sender(site: Site, source: str) -> QuerySet[RemoteNode]:
    """The nodes that an object's source names, those in use first. One that was switched off
    counts too: what it has sent before still passes through here."""
    nodes = RemoteNode.objects.filter(site=site).order_by("-active", "-may_send", "-pk")
    number = source.removeprefix(BY_RETRIEVAL)
    if source.startswith(FROM_SENDER):
        return nodes.filter(ae_title=source.removeprefix(FROM_SENDER))
    if source.startswith(BY_RETRIEVAL) and number.isdecimal():
        return nodes.filter(retrievals=int(number))
    return nodes.none()


def archived_uids(site: Site, source: str) -> Callable[[str], str]:
    """From the UIDs a sender uses to those its objects have in the archive.

    Without a vault key nothing of that sender is archived, and the UIDs are left as they are.
    """
    profile = profile_for(site, source)
    if profile is None or profile.keep_uids:
        return str
    try:
        return substitutes_of(site).uid
    except VaultLocked:
        return str


@contextmanager
def deidentified(
    site: Site,
    staged: storage.Staged,
    profile: DeidentificationProfile,
    *,
    pass_burned_in: bool = False,
) -> Iterator[tuple[storage.Staged, Deidentified]]:
    """The same object without its identity, staged, and what was found; who it was is in the vault.

    ``pass_burned_in``: a person has looked at the pixels. Raises :class:`NotAccepted` with the code
    ``burned_in``, ``identity_remains``, ``too_deep``, ``vault_locked`` or ``unreadable``.
    """
    # Beside the staged file: on a disk that is made for objects of any size.
    with tempfile.TemporaryFile(dir=staged.path.parent) as file:
        found = write_deidentified(site, staged.path, profile, file, pass_burned_in=pass_burned_in)
        remember(site, found)
        file.seek(0)
        with storage.staged(storage.chunks_of(file)) as clean:
            yield clean, found


def write_deidentified(
    site: Site,
    path: Path,
    profile: DeidentificationProfile,
    target: BinaryIO,
    *,
    pass_burned_in: bool = False,
) -> Deidentified:
    """Write the de-identified form of the file at ``path`` to ``target``; raises as
    :func:`deidentified`, and :class:`storage.StorageFull`. The vault is the caller's to fill
    (:func:`remember`)."""
    dataset, found = read_deidentified(site, path, profile, pass_burned_in=pass_burned_in)
    try:
        with storage.full_disk_named():
            pydicom.dcmwrite(target, dataset, enforce_file_format=True)
    except UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the object's
        raise _unreadable() from None
    return found


def read_deidentified(
    site: Site,
    path: Path,
    profile: DeidentificationProfile,
    *,
    pass_burned_in: bool = False,
    correct: Callable[[Dataset], None] | None = None,
) -> tuple[FileDataset, Deidentified]:
    """As :func:`write_deidentified`, not written yet. ``correct`` says whose object it is where
    its header names somebody else."""
    try:
        substitutes = substitutes_of(site)
    except VaultLocked as reason:
        raise NotAccepted("vault_locked", str(reason)) from None
    try:
        dataset: FileDataset = pydicom.dcmread(path, defer_size=LARGE)
        if correct is not None:
            correct(dataset)
        found = deidentify(dataset, options_of(profile), substitutes)
    except NotDeidentified as refusal:
        raise NotAccepted(refusal.code, refusal.reason) from None
    except UNREADABLE:
        raise _unreadable() from None
    if found.burned_in and not (profile.allow_burned_in or pass_burned_in):
        raise NotAccepted("burned_in", f"{found.burned_in} Look at it before it is given on.")
    return dataset, found


def _unreadable() -> NotAccepted:
    return NotAccepted(
        "unreadable", "This object cannot be read through, so it cannot be de-identified."
    )


def mark_deidentified(study_id: int, burned_in: str | None) -> None:
    """The study holds objects whose identity was removed here; says so if their pixels were let
    pass although a header gave a reason to look."""
    Study.objects.filter(pk=study_id, deidentified=False).update(deidentified=True)
    if burned_in:
        StudyNotice.objects.get_or_create(
            study_id=study_id, code="burned_in",
            text=f"De-identified, but its pixels may name the patient. {burned_in}",
            defaults={"level": NoticeLevel.WARN},
        )  # fmt: skip


@transaction.atomic
def save_profile(
    profile: DeidentificationProfile,
    user: User,
    *,
    senders: Iterable[RemoteNode] | None = None,
    address: str = "",
) -> DeidentificationProfile:
    """Add or change a profile of a site; what was de-identified before stays as it is.

    ``senders``: the nodes of the site it counts for from now on; None leaves them alone.
    """
    profile.save()
    if senders is not None:
        chosen = [node.pk for node in senders]
        nodes = RemoteNode.objects.filter(site=profile.site)
        nodes.filter(deidentification=profile).exclude(pk__in=chosen).update(deidentification=None)
        nodes.filter(pk__in=chosen).update(deidentification=profile)
    record(
        "manage", user=user, site=profile.site, obj=profile, remote_address=address,
        detail={
            "active": profile.active,
            "applies_to_site": profile.applies_to_site,
            "senders": sorted(profile.remotenode_set.values_list("pk", flat=True)),
        },
    )  # fmt: skip
    return profile
