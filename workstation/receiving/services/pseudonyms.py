"""The vault: which pseudonym stands for whom. Encrypted; opened by administrators, with a reason.

One key (``RADFUSE_VAULT_KEY``) makes the pseudonyms and encrypts the originals. Rows are found by
an HMAC of the original, so no column of the table says who somebody is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext

from workstation.accounts.models import Site, User
from workstation.accounts.services import record
from workstation.receiving.deidentification.engine import Deidentified
from workstation.receiving.deidentification.substitutes import Substitutes
from workstation.receiving.models import VaultEntry, VaultKind, VaultOpening

KEY_BYTES = 32
SHOWN = 500
"""Entries of one opening at most; more is a search to be narrowed."""


class VaultLocked(Exception):
    """The server has no usable vault key, or it is another one than the rows were made with."""


class CannotOpen(Exception):
    """The vault is not opened; the text says what is missing."""


@dataclass(frozen=True)
class Opened:
    """One entry of the vault in plain text."""

    entry: VaultEntry
    original: dict[str, str]


def substitutes_of(site: Site) -> Substitutes:
    """What makes this site's pseudonyms, UIDs and date shifts. Raises :class:`VaultLocked`."""
    return Substitutes(_derived("substitutes"), str(site.pk))


def _key() -> bytes:
    text: str = settings.VAULT_KEY.strip()
    if not text:
        raise VaultLocked("This server has no vault key (RADFUSE_VAULT_KEY).")
    try:
        key = base64.urlsafe_b64decode(text)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultLocked("The vault key (RADFUSE_VAULT_KEY) is not 32 bytes in URL-safe base64.")
    return key


def _derived(purpose: str) -> bytes:
    """A key of its own for each purpose, so that one says nothing about another."""
    return hmac.new(_key(), f"radfuse {purpose}".encode(), hashlib.sha256).digest()


def _sealer() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived("seal")))


@transaction.atomic
def remember(site: Site, found: Deidentified) -> None:
    """Keep who is behind the pseudonyms of one object; entries that exist stay."""
    if found.patient_id:
        _keep(
            site, VaultKind.PATIENT, (found.issuer, found.patient_id), found.pseudonym,
            {"patient_id": found.patient_id, "issuer": found.issuer, "name": found.patient_name},
        )  # fmt: skip
    if found.study_uid and found.new_study_uid != found.study_uid:
        _keep(
            site, VaultKind.STUDY, (found.study_uid,), found.new_study_uid,
            {
                "study_uid": found.study_uid,
                "accession_number": found.accession_number,
                "patient": found.pseudonym,
            },
        )  # fmt: skip


def _keep(
    site: Site, kind: VaultKind, original: tuple[str, ...], pseudonym: str, said: dict[str, str]
) -> None:
    lookup = hmac.new(
        _derived("lookup"), "\x1f".join(original).encode(), hashlib.sha256
    ).hexdigest()
    if not VaultEntry.objects.filter(site=site, kind=kind, lookup=lookup).exists():
        sealed = _sealer().encrypt(json.dumps(said).encode())
        VaultEntry.objects.get_or_create(
            site=site, kind=kind, lookup=lookup,
            defaults={"pseudonym": pseudonym, "sealed": sealed},
        )  # fmt: skip


@transaction.atomic
def open_vault(
    user: User, site: Site, reason: str, *, search: str = "", as_file: bool = False,
    address: str = "",
) -> list[Opened]:  # fmt: skip
    """Entries of one site in plain text: all, or those of one pseudonym. Each opening is kept.

    Raises :class:`CannotOpen` without a reason or when there is too much to show, and
    :class:`VaultLocked`.
    """
    if len(reason.strip()) < 10:
        raise CannotOpen(gettext("Say why you need to know, in at least ten characters."))
    rows = VaultEntry.objects.for_user(user).filter(site=site).order_by("pk")
    if search.strip():
        rows = rows.filter(pseudonym__iexact=search.strip())
    if not as_file and rows.count() > SHOWN:
        raise CannotOpen(
            gettext(
                "There are more than {shown} entries. Search for one pseudonym, or download the "
                "list."
            ).format(shown=SHOWN)
        )
    sealer = _sealer()
    found = [Opened(row, _unsealed(sealer, row)) for row in rows]
    opening = VaultOpening.objects.create(
        site=site, user=user, reason=reason.strip()[:255], entries=len(found)
    )
    record(
        "open_vault", user=user, site=site, obj=opening, remote_address=address,
        detail={"entries": len(found), "as_file": as_file, "all": not search.strip()},
    )  # fmt: skip
    return found


def _unsealed(sealer: Fernet, row: VaultEntry) -> dict[str, str]:
    try:
        said: dict[str, Any] = json.loads(sealer.decrypt(bytes(row.sealed)))
    except InvalidToken:
        raise VaultLocked(
            "The vault was sealed with another key than RADFUSE_VAULT_KEY is now. "
            "Start the server with the key that was in use when the images came."
        ) from None
    return {name: str(value) for name, value in said.items()}
