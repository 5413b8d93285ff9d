"""Who is not signed in gets the sign-in page; a script gets an answer that it can tell."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponseBase, JsonResponse

SIGNED_OUT = "You are signed out. Sign in again in another tab, then reload this page."


class SignInRequired(LoginRequiredMiddleware):
    """401 instead of a redirect for requests made by a script.

    A script follows a redirect unseen and takes the sign-in page for success: an autosave would
    think a report saved that was not.
    """

    def handle_no_permission(  # type: ignore[override]  # the stubs know redirects only
        self, request: HttpRequest, view_func: Any
    ) -> HttpResponseBase:
        accepted = request.headers.get("Accept", "text/html")
        if "HX-Request" in request.headers or "text/html" not in accepted:
            return JsonResponse({"detail": SIGNED_OUT}, status=401)
        return super().handle_no_permission(request, view_func)
