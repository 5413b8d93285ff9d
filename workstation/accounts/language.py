"""The language of the interface: what the person chose, else what the browser asks for.

The choice is a preference. A session carries it along, so that no request asks the database.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.shortcuts import redirect
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django.views.i18n import JSONCatalog

from workstation.accounts.models import User
from workstation.accounts.permissions import requires
from workstation.accounts.preferences import PreferenceRefused, keep_preference, preferences_of

SESSION_KEY = "language"


class Language(LocaleMiddleware):
    """Django's own, except that a person's choice comes before the browser's wish."""

    def process_request(self, request: HttpRequest) -> None:
        chosen = request.session.get(SESSION_KEY)
        if chosen in dict(settings.LANGUAGES):
            translation.activate(chosen)
            request.LANGUAGE_CODE = chosen  # type: ignore[attr-defined]  # Django's own attribute
            return
        super().process_request(request)


def remember_language(request: Any, chosen: str | None) -> None:
    """Let the session follow a choice that was just made; None: the browser decides again."""
    if chosen is None:
        request.session.pop(SESSION_KEY, None)
    else:
        request.session[SESSION_KEY] = chosen


def recall_language(request: HttpRequest, user: User) -> None:
    """At sign-in: the session takes up what the person chose earlier, on whatever computer."""
    remember_language(request, preferences_of(user, "language").get("language"))


@require_POST
@requires("preference.keep")
def choose_language(request: HttpRequest) -> HttpResponseBase:
    """The menu's entry: keep the choice and come back to the page."""
    chosen = request.POST.get("language", "")
    assert isinstance(request.user, User)
    try:
        keep_preference(request.user, "language", chosen)
    except PreferenceRefused as refusal:
        return HttpResponse(str(refusal), status=400)
    remember_language(request, chosen)
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        back = "worklist:list"
    return redirect(back)


class _Words(JSONCatalog):
    """Django's catalogue of the browser's words, without a request."""

    def of(self, language: str) -> dict[str, Any]:
        self.translation = translation.trans_real.DjangoTranslation(
            language, domain=self.domain, localedirs=[str(path) for path in settings.LOCALE_PATHS]
        )
        words: dict[str, Any] = self.get_catalog()
        return words


@cache
def _catalogue(language: str) -> dict[str, Any]:
    return _Words().of(language)


def page_catalogue() -> dict[str, Any]:
    """English text -> words in the page's language, for ``frontend/src/i18n.ts``."""
    language = translation.get_language() or settings.LANGUAGE_CODE
    return {} if language == settings.LANGUAGE_CODE else _catalogue(language)
