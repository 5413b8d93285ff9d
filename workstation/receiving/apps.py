"""The receiving room and the folders it writes to."""

from __future__ import annotations

import logging
import warnings

import pydicom.config
from django.apps import AppConfig
from django.conf import settings


class ReceivingConfig(AppConfig):
    name = "workstation.receiving"
    label = "receiving"

    def ready(self) -> None:
        """Make the folders; keep pydicom from printing values, which can be patient data."""
        for folder in (settings.ARCHIVE_DIR, settings.QUARANTINE_DIR, settings.UPLOADS_DIR):
            folder.mkdir(parents=True, exist_ok=True)
        # Importing pydicom has just set its own level over the one in the settings.
        logging.getLogger("pydicom").setLevel(logging.ERROR)
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        warnings.filterwarnings("ignore", category=UserWarning, module=r"pydicom\.")
