"""The exporting room."""

from __future__ import annotations

import warnings

from django.apps import AppConfig


class ExportingConfig(AppConfig):
    name = "workstation.exporting"
    label = "exporting"

    def ready(self) -> None:
        """A name without given name is a name; highdicom's warning would print it into a log."""
        warnings.filterwarnings("ignore", message=r"The string .* is unlikely to represent")
