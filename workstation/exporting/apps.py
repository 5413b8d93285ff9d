"""The exporting room."""

from __future__ import annotations

import warnings

from django.apps import AppConfig


class ExportingConfig(AppConfig):
    name = "workstation.exporting"
    label = "exporting"

    def ready(self) -> None:
        """highdicom's warnings quote values; the one about one-word names, whoever calls it."""
        warnings.filterwarnings("ignore", category=UserWarning, module=r"highdicom\.")
        warnings.filterwarnings("ignore", message=r"The string .* is unlikely to represent")
