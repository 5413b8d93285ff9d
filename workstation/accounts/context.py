"""What every page shows."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from workstation.accounts.language import page_catalogue
from workstation.accounts.permissions import PERMISSIONS, allowed
from workstation.live import last_seq

NOT_FOR_DIAGNOSTIC_USE = gettext_lazy("Research software. Not for diagnostic use.")


def product(request: HttpRequest) -> dict[str, Any]:
    """``can`` maps ``case_list`` style names to whether the user may (template-friendly)."""
    user = getattr(request, "user", None)
    return {
        "not_for_diagnostic_use": NOT_FOR_DIAGNOSTIC_USE,
        # Called by the base template only, so partials cost no trip to the broker.
        "live_seq": last_seq,
        "catalogue": page_catalogue,
        "languages": settings.LANGUAGES,
        "can": {
            name.replace(".", "_"): user is not None and allowed(user, name)
            for name in PERMISSIONS
        },
    }
