"""What every page shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from workstation.accounts.permissions import PERMISSIONS, allowed
from workstation.live import last_seq

NOT_FOR_DIAGNOSTIC_USE = "Research software. Not for diagnostic use."


def product(request: HttpRequest) -> dict[str, Any]:
    """``can`` maps ``case_list`` style names to whether the user may (template-friendly)."""
    user = getattr(request, "user", None)
    return {
        "not_for_diagnostic_use": NOT_FOR_DIAGNOSTIC_USE,
        # Called by the base template only, so partials cost no trip to the broker.
        "live_seq": last_seq,
        "can": {
            name.replace(".", "_"): user is not None and allowed(user, name)
            for name in PERMISSIONS
        },
    }
