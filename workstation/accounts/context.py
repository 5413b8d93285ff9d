"""What every page shows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from workstation.accounts.permissions import PERMISSIONS, allowed

NOT_FOR_DIAGNOSTIC_USE = "Research software. Not for diagnostic use."


def product(request: HttpRequest) -> dict[str, Any]:
    """``can`` maps ``case_list`` style names to whether the user may (template-friendly)."""
    user = getattr(request, "user", None)
    return {
        "not_for_diagnostic_use": NOT_FOR_DIAGNOSTIC_USE,
        "can": {
            name.replace(".", "_"): user is not None and allowed(user, name)
            for name in PERMISSIONS
        },
    }
