"""Access tokens: what a program shows instead of a session.

A token belongs to one site, has a scope and an end, and acts for the administrator who made it.
It gives no more than its owner has: a person who leaves the site takes the token's rights along.
The limits hold in the row filter (``SiteQuerySet.for_user``) and in the permission table's
``allowed``, so no view can forget them.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from workstation.accounts.models import AccessToken, Site, TokenScope, User
from workstation.accounts.services import record

MARK = "rf_"
"""Begins every secret, so that scanners of source code can find one that leaked."""
PREFIX_LENGTH = 8
LONGEST_DAYS = 730
LAST_USED_EVERY = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)
REFUSED = "This token is unknown, expired or revoked. Ask an administrator for a new one."


def create_token(
    owner: User, site: Site, name: str, scope: TokenScope, days: int, *, address: str = ""
) -> tuple[AccessToken, str]:
    """A new token and its secret, which is kept nowhere: this is the only time it is known."""
    if not 1 <= days <= LONGEST_DAYS:
        raise ValueError(f"a token lives 1 to {LONGEST_DAYS} days")
    secret = MARK + secrets.token_urlsafe(32)
    with transaction.atomic():
        token = AccessToken.objects.create(
            site=site,
            user=owner,
            name=name,
            scope=scope,
            prefix=secret[:PREFIX_LENGTH],
            digest=_digest(secret),
            expires_at=timezone.now() + timedelta(days=days),
        )
        record(
            "manage", user=owner, site=site, obj=token, remote_address=address,
            detail={"token": "created", "scope": token.scope, "days": days},
        )  # fmt: skip
    return token, secret


@transaction.atomic
def revoke_token(token: AccessToken, user: User, *, address: str = "") -> None:
    """End a token now. Doing it twice changes nothing."""
    changed = AccessToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(
        revoked_at=timezone.now()
    )
    if changed:
        record(
            "manage", user=user, site=token.site, obj=token, remote_address=address,
            detail={"token": "revoked"},
        )  # fmt: skip


def _digest(secret: str) -> str:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(secret.encode()).hexdigest()


def token_of(secret: str) -> AccessToken | None:
    """The valid token with this secret. Its time of use is written at most once a minute."""
    now = timezone.now()
    token = (
        AccessToken.objects.filter(
            digest=_digest(secret),
            revoked_at__isnull=True,
            expires_at__gt=now,
            user__is_active=True,
            # Rows are narrowed by the row filter too; what is stored has no row yet.
            user__sites=F("site"),
        )
        .select_related("user", "site")
        .first()
    )
    if token is not None and (token.last_used_at or LONG_AGO) < now - LAST_USED_EVERY:
        AccessToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer <secret>``. ``request.user`` is the owner, limited to the token."""

    def authenticate(self, request: Request) -> tuple[User, AccessToken] | None:
        """None where no token is shown; raises 401 for one that is not valid."""
        words = get_authorization_header(request).split()
        if not words or words[0].lower() != b"bearer":
            return None
        token = token_of(words[1].decode("latin1")) if len(words) == 2 else None
        if token is None:
            raise AuthenticationFailed(REFUSED)
        user = token.user
        user.token = token
        return user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Radfuse"'
