"""The one permission table, and the ways pages, API and sockets ask it.

A role grants a permission; a site grants rows (``SiteQuerySet.for_user``). Both must say yes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from workstation.accounts.middleware import SIGNED_OUT
from workstation.accounts.models import Role, TokenScope

if TYPE_CHECKING:
    # REST framework loads this module while it loads its views.
    from rest_framework.views import APIView

_RADIOLOGIST = frozenset({Role.RADIOLOGIST})
_LEAD = frozenset({Role.LEAD})
_ADMINISTRATOR = frozenset({Role.ADMINISTRATOR})
_READERS = _RADIOLOGIST | _LEAD
_EVERYONE = _READERS | _ADMINISTRATOR

PERMISSIONS: dict[str, frozenset[Role]] = {
    "case.list": _EVERYONE,
    "case.view": _READERS,
    "case.claim": _READERS,
    "case.prioritise": _READERS,
    "case.release_other": _LEAD,
    "finding.review": _READERS,
    "registration.decide": _READERS,
    "measurement.make": _READERS,
    "suv_input.enter": _READERS,
    "report.view": _READERS,
    "report.edit": _READERS,
    "report.sign": _READERS,
    "report.addend": _READERS,
    "export.download": _READERS,
    "export.send": _READERS,
    "export.list": _EVERYONE,
    "destination.manage": _ADMINISTRATOR,
    "archive.view": _EVERYONE,
    "patient.merge": _LEAD | _ADMINISTRATOR,
    "patient.link": _ADMINISTRATOR,
    "assembly.manage": _LEAD,
    "assembly.place": _READERS,
    "series.tag": _READERS,
    "node.view": _EVERYONE,
    "node.manage": _ADMINISTRATOR,
    "retrieval.view": _EVERYONE,
    "retrieval.make": _READERS,
    "retrieval.steer": _EVERYONE,
    "prior_rule.manage": _LEAD,
    "upload.make": _EVERYONE,
    "dicomweb.read": _EVERYONE,
    "dicomweb.write": _LEAD | _ADMINISTRATOR,
    "token.manage": _ADMINISTRATOR,
    "quarantine.view": _EVERYONE,
    "quarantine.manage": _LEAD | _ADMINISTRATOR,
    "quarantine.download": _ADMINISTRATOR,
    "run.view": _EVERYONE,
    "run.retry": _EVERYONE,
    "site.manage": _LEAD | _ADMINISTRATOR,
    "retention.manage": _LEAD | _ADMINISTRATOR,
    "privacy.manage": _ADMINISTRATOR,
    "vault.open": _ADMINISTRATOR,
    "audit.view": _LEAD | _ADMINISTRATOR,
    "preference.keep": _EVERYONE,
}
"""Permission -> roles that hold it. Editing, signing and reviewing also need the claim."""


def allowed(user: Any, permission: str) -> bool:
    """Whether the user's role grants ``permission``, and the scope of the token shown, if any.

    An unknown permission is a programming error.
    """
    roles = PERMISSIONS[permission]
    token = getattr(user, "token", None)
    if token is not None and permission not in TokenScope(token.scope).permissions:
        return False
    return bool(user.is_authenticated and user.is_active and user.role in roles)


View = Callable[..., HttpResponseBase]


def requires(permission: str) -> Callable[[View], View]:
    """For function views: 403 unless the role grants ``permission``.

    Sign-in itself is the middleware's (``accounts/middleware.py``). The name stays on the view so
    that a test can compare every URL with the table.
    """
    if permission not in PERMISSIONS:
        raise KeyError(permission)

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not allowed(request.user, permission):
                raise PermissionDenied(permission)
            return view(request, *args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


class HasPermission(BasePermission):
    """For API views: every view names ``permission`` (or ``permissions`` by HTTP method)."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not request.user.is_authenticated:
            raise NotAuthenticated(SIGNED_OUT)
        table: dict[str, str] = getattr(view, "permissions", {})
        name = table.get(request.method or "", getattr(view, "permission", ""))
        # A view that names no permission is closed to everybody.
        return bool(name) and allowed(request.user, name)
