"""The pages by which leads and administrators arrange their sites, as the *Manage* page lists them.

Rooms are named by their URL names only; this room imports none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from workstation.accounts.permissions import allowed, requires


@dataclass(frozen=True)
class Entry:
    """One page: who may open it is the permission table's business."""

    permission: str
    url_name: str
    title: str
    text: str

    @property
    def url(self) -> str:
        return reverse(self.url_name)


ENTRIES = (
    Entry("node.view", "receiving:nodes", gettext_lazy("Nodes"),
          gettext_lazy(
              "Scanners and PACS: who may send, whom we ask, who was refused at the door."
          )),
    Entry("prior_rule.manage", "receiving:prior-rules", gettext_lazy("Priors"),
          gettext_lazy(
              "Which earlier or missing studies are fetched by themselves, and from where."
          )),
    Entry("assembly.manage", "worklist:rules", gettext_lazy("Case rules"),
          gettext_lazy("Which studies of a patient are read together as one case.")),
    Entry("privacy.manage", "receiving:privacy", gettext_lazy("De-identification"),
          gettext_lazy(
              "What is removed from images on their way in or out; the vault that leads back."
          )),
    Entry("retention.manage", "auditing:retention", gettext_lazy("Retention"),
          gettext_lazy("How long images are kept. Every rule shows first what it would delete.")),
    Entry("token.manage", "accounts:tokens", gettext_lazy("Access tokens"),
          gettext_lazy("For programs that use DICOMweb: one site, one scope, an end.")),
    Entry("audit.view", "auditing:trail", gettext_lazy("Audit trail"),
          gettext_lazy("Who did what, when and from where. Nothing in it can be changed.")),
)  # fmt: skip


@require_GET
@requires("site.manage")
def manage(request: HttpRequest) -> HttpResponse:
    """What this person may arrange."""
    entries = [entry for entry in ENTRIES if allowed(request.user, entry.permission)]
    return render(request, "accounts/manage.html", {"entries": entries})
