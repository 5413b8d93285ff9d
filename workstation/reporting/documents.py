"""The signed report as a PDF."""

from __future__ import annotations

import json

import weasyprint
from django.conf import settings
from django.template.loader import render_to_string
from django.utils import translation

from workstation.accounts.context import NOT_FOR_DIAGNOSTIC_USE
from workstation.reporting.models import ReportSection, Version


def _no_fetching(url: str, *args: object, **kwargs: object) -> dict[str, object]:
    """The document is complete in itself: nothing is loaded from anywhere."""
    raise ValueError(f"the report must not load {url.split(':', 1)[0]} resources")


def render_pdf(upto: Version) -> bytes:
    """The report as it stood with this version: every version up to it, oldest first, from the
    signed text itself (not from today's rows). The same version always gives the same pages."""
    versions = [
        (version, json.loads(version.content))
        for version in upto.report.versions.filter(number__lte=upto.number).order_by("number")
    ]
    # In one language, whoever asks: the document is the record, not the interface.
    with translation.override(settings.LANGUAGE_CODE):
        html = render_to_string(
            "reporting/document.html",
            {
                "versions": versions,
                "first": versions[0][1],
                "section_labels": dict(ReportSection.choices),
                "not_for_diagnostic_use": NOT_FOR_DIAGNOSTIC_USE,
            },
        )
    return bytes(weasyprint.HTML(string=html, url_fetcher=_no_fetching).write_pdf())
