"""What a Dramatiq worker imports: Django, then every actor (``dramatiq workstation.workers``)."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workstation.settings.base")
django.setup()

from workstation import flow  # noqa: E402, F401
from workstation.analyzing import actors as analyzing_actors  # noqa: E402, F401
from workstation.broker import broker  # noqa: E402, F401
from workstation.exporting import actors as exporting_actors  # noqa: E402, F401
from workstation.receiving import actors as receiving_actors  # noqa: E402, F401
from workstation.receiving.network import actors as network_actors  # noqa: E402, F401
