"""De-identification profiles of a site, and the vault that leads back from a pseudonym."""

from __future__ import annotations

import csv
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_http_methods

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of
from workstation.receiving.models import DeidentificationProfile, RemoteNode, VaultOpening
from workstation.receiving.services.deidentifying import save_profile
from workstation.receiving.services.pseudonyms import (
    CannotOpen,
    Opened,
    VaultLocked,
    open_vault,
)

OPENINGS_SHOWN = 50
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
LABELS = {
    "dates": "Dates and times",
    "keep_patient_characteristics": "Keep sex, age, weight and size",
    "keep_safe_private": "Keep private attributes the standard calls safe",
    "keep_device_identity": "Keep what identifies the device",
    "keep_institution": "Keep the institution's name and address",
    "keep_uids": "Keep the original UIDs",
    "clean_descriptors": "Keep descriptions, reports and annotations, cleaned",
    "allow_burned_in": "Pass images whose pixels may show names",
    "applies_to_site": "For everything that reaches the site",
    "active": "In use",
}
CONSEQUENCES = {
    "dates": "Removed: no SUV can be computed and no interval between scans is known. Shifted: all "
    "dates of a patient move by the same number of days, times of day stay, so SUV and intervals "
    "stay right. Kept: only where real dates may be given on. The birth date goes in any case.",
    "keep_patient_characteristics": "Without the weight no SUV can be computed. Ages above 89 "
    "become 90.",
    "keep_safe_private": "Without them Philips PET in counts has no SUV, and Siemens and GE "
    "diffusion images lose their b value.",
    "keep_device_identity": "Serial numbers and station names can be looked up by who knows the "
    "hospital's devices.",
    "keep_institution": "Says where the patient was.",
    "keep_uids": "Whoever has access to the original archive can find the patient by them.",
    "clean_descriptors": "Names, IDs, dates, long numbers and words after titles are taken out of "
    "free text. Names that stand in no attribute of the object, such as a relative's in a report, "
    "are not recognised. Off: no series descriptions, and structured reports become empty.",
    "allow_burned_in": "Off: secondary captures, ultrasound, documents and screen shots wait in "
    "quarantine until somebody has looked at them. On: nobody looks. The text of documents is "
    "removed either way.",
    "applies_to_site": "Uploads, DICOMweb and every sender that has no profile of its own.",
    "active": "What was de-identified stays so. New images come as they are when this is off.",
}


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    """A profile of one of the user's sites."""

    senders = forms.ModelMultipleChoiceField(
        RemoteNode.objects.none(),
        required=False,
        label=gettext_lazy("Senders"),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "What these nodes send, or is fetched from them, is de-identified before it is "
            "archived. Their originals are not kept here, and storage commitment is not given."
        ),
    )

    class Meta:
        model = DeidentificationProfile
        fields = ["site", "name", *LABELS]
        labels = LABELS
        help_texts = CONSEQUENCES

    def __init__(self, *args: object, user: User, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.all()  # type: ignore[attr-defined]
        nodes = RemoteNode.objects.for_user(user).select_related("site", "deidentification")
        senders: Any = self.fields["senders"]
        senders.queryset = nodes
        senders.label_from_instance = _name_of
        if self.instance.pk is not None:
            senders.queryset = nodes.filter(site=self.instance.site)
            senders.initial = self.instance.remotenode_set.all()
        # What was de-identified for one site must not become readable to another.
        self.fields["site"].disabled = self.instance.pk is not None
        for field in self.fields.values():
            if not isinstance(field.widget, (forms.CheckboxInput, forms.CheckboxSelectMultiple)):
                field.widget.attrs["class"] = "input"

    def clean(self) -> dict[str, object] | None:
        cleaned = super().clean() or {}
        site = cleaned.get("site")
        if site and any(node.site_id != site.pk for node in cleaned.get("senders", [])):
            self.add_error("senders", gettext("A sender must belong to the profile's site."))
        if site and cleaned.get("active") and cleaned.get("applies_to_site"):
            others = DeidentificationProfile.objects.filter(
                site=site, active=True, applies_to_site=True
            ).exclude(pk=self.instance.pk)
            if others.exists():
                self.add_error(
                    "applies_to_site",
                    gettext(
                        "“{name}” applies to the whole site already. Change that one first."
                    ).format(name=others[0].name),
                )
        return cleaned


def _name_of(node: RemoteNode) -> str:
    taken = node.deidentification_id is not None and f", has “{node.deidentification}”"
    return f"{node.name} ({node.ae_title}, {node.site}{taken or ''})"


class VaultForm(forms.Form):
    """Which site, why, and for whom."""

    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    reason = forms.CharField(
        max_length=255, min_length=10, strip=True,
        help_text=gettext_lazy("It is kept with your name and shown to the other administrators."),
    )  # fmt: skip
    pseudonym = forms.CharField(
        max_length=64, required=False, strip=True,
        help_text=gettext_lazy(
            "Patient ID or study UID as in the de-identified image; empty: everybody."
        ),
    )  # fmt: skip
    as_file = forms.BooleanField(required=False, label=gettext_lazy("Download as CSV"))

    def __init__(self, *args: object, user: User, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.all()  # type: ignore[attr-defined]
        for name in ("site", "reason", "pseudonym"):
            self.fields[name].widget.attrs |= {"class": "input", "autocomplete": "off"}


@require_GET
@requires("privacy.manage")
def profiles(request: HttpRequest) -> HttpResponse:
    """The profiles of the user's sites and who uses them."""
    rows = (
        DeidentificationProfile.objects.for_user(request.user)
        .select_related("site")
        .prefetch_related("remotenode_set")
    )
    return render(request, "receiving/privacy_profiles.html", {"profiles": rows})


@require_http_methods(["GET", "POST"])
@requires("privacy.manage")
def profile(request: HttpRequest, profile_id: int | None = None) -> HttpResponse:
    """Add or change a profile, with what each choice means."""
    found = None
    if profile_id is not None:
        found = get_object_or_404(
            DeidentificationProfile.objects.for_user(request.user), pk=profile_id
        )
    form = ProfileForm(request.POST or None, instance=found, user=request.user)
    if request.method == "POST" and form.is_valid():
        save_profile(
            form.save(commit=False), request.user, senders=form.cleaned_data["senders"],
            address=address_of(request),
        )  # fmt: skip
        messages.success(
            request, gettext("The profile is saved. It counts for what comes from now on.")
        )
        return redirect("receiving:privacy")
    status = 422 if form.errors else 200
    return render(
        request, "receiving/privacy_profile.html", {"form": form, "found": found}, status=status
    )


@require_http_methods(["GET", "POST"])
@requires("vault.open")
@sensitive_variables()
def vault(request: HttpRequest) -> HttpResponse:
    """Asks for a reason first; then shows, once, who is behind the pseudonyms."""
    form = VaultForm(request.POST or None, user=request.user)
    found: list[Opened] | None = None
    problem, status = "", 200
    if request.method == "POST" and form.is_valid():
        asked = form.cleaned_data
        try:
            found = open_vault(
                request.user, asked["site"], asked["reason"], search=asked["pseudonym"],
                as_file=asked["as_file"], address=address_of(request),
            )  # fmt: skip
        except (CannotOpen, VaultLocked) as reason:
            problem, status = str(reason), 409
        else:
            if asked["as_file"]:
                return _as_file(asked["site"], found)
    elif form.is_bound:
        status = 422
    openings = VaultOpening.objects.for_user(request.user).select_related("user", "site")
    context = {
        "form": form, "found": found, "problem": problem, "openings": openings[:OPENINGS_SHOWN],
    }  # fmt: skip
    response = render(request, "receiving/privacy_vault.html", context, status=status)
    add_never_cache_headers(response)
    return response


def _as_file(site: Site, found: list[Opened]) -> HttpResponse:
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": "attachment; "
            f'filename="vault-{site.code}-{timezone.now():%Y%m%d-%H%M}.csv"'
        },
    )
    response.write("\ufeff")  # spreadsheets take UTF-8 only with a mark
    out = csv.writer(response)
    columns = ["patient_id", "issuer", "name", "study_uid", "accession_number", "patient"]
    out.writerow(["kind", "pseudonym", *columns])
    for item in found:
        values = [item.original.get(column, "") for column in columns]
        out.writerow([item.entry.kind, item.entry.pseudonym, *map(_harmless, values)])
    add_never_cache_headers(response)
    return response


def _harmless(value: str) -> str:
    """A spreadsheet must not take a name for a formula."""
    return f"'{value}" if value.startswith(FORMULA_SIGNS) else value
