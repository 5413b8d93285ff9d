"""Pages of the assembly rules: the list, a rule with its preview, and the studies of one case."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Max
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.models import Site
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.worklist.models import AssemblyRule, Case
from workstation.worklist.services import (
    MOST_SHOWN,
    OPEN_STATES,
    CannotPlace,
    candidates_for,
    ensure_default_rules,
    placements_of,
    preview,
    put_in,
    save_rule,
    take_out,
)

UNPROCESSABLE = 422
TERM = re.compile(r"[A-Z][A-Z0-9_]{1,31}")
LONGEST_DAYS = 3650


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """One rule of a site."""

    class Meta:
        model = AssemblyRule
        fields = ("name", "pathway", "position", "anchor", "companions", "body", "within_days",
                  "active")  # fmt: skip
        labels = {
            "position": "Order", "anchor": "One study has", "companions": "The other study has",
            "body": "Both are of", "within_days": "Days between them, at most",
        }  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            if name != "active":
                field.widget.attrs.update({"class": "input", "autocomplete": "off"})
        self.fields["within_days"].widget.attrs["max"] = LONGEST_DAYS

    def clean_within_days(self) -> int:
        days: int = self.cleaned_data["within_days"]
        if days > LONGEST_DAYS:
            raise forms.ValidationError(
                gettext("At most {longest_days} days.").format(longest_days=LONGEST_DAYS)
            )
        return days

    def clean_anchor(self) -> str:
        return self._terms("anchor")

    def clean_companions(self) -> str:
        return self._terms("companions")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"].strip()
        same = AssemblyRule.objects.filter(site=self.instance.site, name=name)
        if same.exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(gettext("This site has a rule of this name already."))
        return name

    def _terms(self, field: str) -> str:
        terms = self.cleaned_data[field].upper().replace(",", " ").split()
        wrong = [term for term in terms if not TERM.fullmatch(term)]
        if wrong:
            raise forms.ValidationError(
                gettext(
                    "“{wrong_0}” is no role or modality. Write e.g. PET, CT, CTA, MR_LGE."
                ).format(wrong_0=wrong[0])
            )
        return " ".join(terms)


@require_GET
@requires("assembly.manage")
def rules(request: HttpRequest) -> HttpResponse:
    """The rules of each of the lead's sites, in the order in which they are asked."""
    sites = list(request.user.sites.order_by("name"))
    for site in sites:
        ensure_default_rules(site)
    rows = AssemblyRule.objects.for_user(request.user)
    listed = [(site, [row for row in rows if row.site_id == site.pk]) for site in sites]
    return render(request, "worklist/rules.html", {"listed": listed})


@require_http_methods(["GET", "POST"])
@requires("assembly.manage")
def rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Change a rule; the button “Preview” shows what it would do and saves nothing."""
    found = get_object_or_404(
        AssemblyRule.objects.for_user(request.user).select_related("site"), pk=rule_id
    )
    return _edit(request, found)


@require_http_methods(["GET", "POST"])
@requires("assembly.manage")
def new_rule(request: HttpRequest, site_id: int) -> HttpResponse:
    """Add a rule to a site, by default after the others."""
    site = get_object_or_404(request.user.sites, pk=site_id)
    last = AssemblyRule.objects.filter(site=site).aggregate(last=Max("position"))["last"] or 0
    return _edit(request, AssemblyRule(site=site, position=last + 1, within_days=60))


def _edit(request: HttpRequest, row: AssemblyRule) -> HttpResponse:
    form = RuleForm(request.POST or None, instance=row)
    changes = None
    if request.method == "POST" and form.is_valid():
        changed: AssemblyRule = form.save(commit=False)
        if "preview" not in request.POST:
            save_rule(changed, request.user, address=address_of(request))
            messages.success(
                request, gettext("Saved. Cases that nobody reads follow within seconds.")
            )
            return redirect("worklist:rules")
        changes = preview(changed.site, _with(changed))
        record(
            "list", user=request.user, site=changed.site, remote_address=address_of(request),
            detail={"cases": [case.pk for change in changes for case in change.cases]},
        )  # fmt: skip
    status = UNPROCESSABLE if request.method == "POST" and form.errors else 200
    many = len(changes or []) >= MOST_SHOWN
    context = {"form": form, "row": row, "changes": changes, "many": many}
    return render(request, "worklist/rule.html", context, status=status)


def _with(changed: AssemblyRule) -> list[AssemblyRule]:
    """The site's rules as they would be."""
    others = AssemblyRule.objects.filter(site=changed.site).exclude(pk=changed.pk)
    return sorted([*others, changed], key=lambda row: (row.position, row.pk or 0))


@require_GET
@requires("assembly.place")
def assembly(request: HttpRequest, case_id: int) -> HttpResponse:
    """Which studies are in the case and why, and which could be."""
    case = _case(request, case_id)
    record(
        "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
        remote_address=address_of(request), detail={"what": "assembly"},
    )  # fmt: skip
    placements = placements_of(case)
    inside = list(case.studies.select_related("site").order_by("study_date", "pk"))
    outside = list(_candidates(request, case)[:100])
    context = {
        "case": case,
        "patient": case.patient,
        "inside": [(study, placements.get(study.pk)) for study in inside],
        "outside": [(study, placements.get(study.pk)) for study in outside],
        "open": case.state in OPEN_STATES,
    }
    return render(request, "worklist/assembly.html", context)


@require_POST
@requires("assembly.place")
def put(request: HttpRequest, case_id: int) -> HttpResponse:
    """Put a study into the case by hand."""
    case = _case(request, case_id)
    study = get_object_or_404(_candidates(request, case), pk=_number(request))
    try:
        put_in(case, study, request.user, request.POST.get("reason", ""),
               address=address_of(request))  # fmt: skip
    except CannotPlace as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, gettext("The study is in the case now; the analysis follows."))
    return redirect("worklist:assembly", case_id=case.pk)


@require_POST
@requires("assembly.place")
def take(request: HttpRequest, case_id: int) -> HttpResponse:
    """Take a study out of the case by hand."""
    case = _case(request, case_id)
    study = get_object_or_404(case.studies, pk=_number(request))
    try:
        take_out(case, study, request.user, request.POST.get("reason", ""),
                 address=address_of(request))  # fmt: skip
    except CannotPlace as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, gettext("The study is read in a case of its own now."))
    return redirect("worklist:assembly", case_id=case.pk)


def _case(request: HttpRequest, case_id: int) -> Case:
    rows = Case.objects.for_user(request.user).select_related("patient__site", "site")
    return get_object_or_404(rows, pk=case_id)


def _candidates(request: HttpRequest, case: Case) -> Any:
    """Also of a linked patient, if the person belongs to that site."""
    sites = Site.objects.filter(users=request.user)
    rows: Any = candidates_for(case)
    return rows.filter(site__in=sites.values("pk"))


def _number(request: HttpRequest) -> int:
    value = request.POST.get("study", "")
    return int(value) if value.isascii() and value.isdigit() else 0
