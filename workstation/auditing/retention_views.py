"""The retention page: rules, what each would delete now, what was deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.models import Site, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.auditing.retention import LISTED, apply_rule, delete_study, plan
from workstation.receiving.models import Deletion, RetentionRule, Study
from workstation.receiving.services.keeping import CannotDelete
from workstation.receiving.services.retention_rules import save_rule

RECENT = 50
BY_HAND = 500
"""Studies that one press of the button deletes at most; the clock goes on with the rest."""


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule of one of the user's sites."""

    class Meta:
        model = RetentionRule
        fields = ("site", "name", "days", "modalities", "only_reported", "priors_only", "active")
        labels = {
            "days": "Days since the last image arrived",
            "modalities": "Only studies of these modalities alone (e.g. MR PR; empty: all)",
            "only_reported": "Only studies that belong to a case (never unread ones)",
            "priors_only": "Only priors that were fetched by a rule",
            "active": "Active: delete by itself, without asking again",
        }

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.order_by("name")  # type: ignore[attr-defined]
        self.fields["site"].empty_label = None  # type: ignore[attr-defined]
        self.fields["days"].min_value = 1  # type: ignore[attr-defined]
        for name in ("name", "modalities", "days"):
            self.fields[name].widget.attrs["class"] = "input"

    def clean_days(self) -> int:
        days = int(self.cleaned_data["days"])
        if days < 1:
            raise forms.ValidationError(gettext("At least one day."))
        return days

    def clean_modalities(self) -> str:
        return " ".join(self.cleaned_data["modalities"].upper().replace(",", " ").split())


class DeleteForm(forms.Form):
    """Why a study's images may be deleted by hand."""

    reason = forms.CharField(max_length=255, strip=True)


def _rule(request: HttpRequest, pk: int) -> RetentionRule:
    return get_object_or_404(RetentionRule.objects.for_user(request.user), pk=pk)


@require_GET
@requires("retention.manage")
def rules(request: HttpRequest) -> HttpResponse:
    """Every rule of the user's sites, and the latest deletions."""
    deletions = Deletion.objects.for_user(request.user).select_related(
        "site", "study__patient", "by", "rule"
    )[:RECENT]
    record("list", user=request.user, remote_address=address_of(request),
           detail={"deletions": len(deletions)})  # fmt: skip
    found = RetentionRule.objects.for_user(request.user).select_related("site")
    return render(
        request,
        "auditing/retention.html",
        {"rules": found, "deletions": deletions, "sites": Site.objects.filter(users=request.user)},
    )


@require_http_methods(["GET", "POST"])
@requires("retention.manage")
def edit_rule(request: HttpRequest, rule_id: int | None = None) -> HttpResponse:
    """Add or change a rule. It is saved inactive unless its box is ticked."""
    found = _rule(request, rule_id) if rule_id else None
    form = RuleForm(request.user, request.POST or None, instance=found)
    if request.method == "POST" and form.is_valid():
        rule = save_rule(form.instance, request.user, address=address_of(request))
        messages.success(
            request, gettext("Saved. This is what {name} would delete now.").format(name=rule.name)
        )
        return redirect("auditing:retention-plan", rule_id=rule.pk)
    return render(request, "auditing/retention_rule.html", {"form": form, "found": found})


@require_GET
@requires("retention.manage")
def rule_plan(request: HttpRequest, rule_id: int) -> HttpResponse:
    """The dry run of one rule."""
    rule = _rule(request, rule_id)
    found = plan(rule, timezone.now())
    record("list", user=request.user, site=rule.site, remote_address=address_of(request),
           detail={"studies": [study.pk for study in found.studies]})  # fmt: skip
    return render(
        request,
        "auditing/retention_plan.html",
        {"rule": rule, "plan": found, "listed": LISTED, "now": timezone.now()},
    )


@require_POST
@requires("retention.manage")
def run_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """Delete now what the plan shows."""
    rule = _rule(request, rule_id)
    if not rule.active or not request.POST.get("sure"):
        why = "Tick the box first" if rule.active else "The rule is not active"
        messages.error(request, gettext("{why}; nothing was deleted.").format(why=why))
        return redirect("auditing:retention-plan", rule_id=rule.pk)
    done = apply_rule(rule, timezone.now(), limit=BY_HAND)
    messages.success(request, gettext("Deleted the images of {n} studies.").format(n=len(done)))
    return redirect("auditing:retention")


@require_POST
@requires("retention.manage")
def delete_one(request: HttpRequest, study_id: int) -> HttpResponse:
    """Delete one study's images by hand, with a reason."""
    study = get_object_or_404(Study.objects.for_user(request.user), pk=study_id)
    form = DeleteForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, gettext("Say why these images may be deleted (at most 255 characters).")
        )
        return redirect("receiving:study", study.pk)
    try:
        deletion = delete_study(
            study, reason=form.cleaned_data["reason"], by=request.user,
            address=address_of(request),
        )  # fmt: skip
    except CannotDelete as error:
        messages.error(request, str(error))
    else:
        messages.success(
            request,
            gettext("Deleted {instances} images. The entry stays.").format(
                instances=deletion.instances
            ),
        )
    return redirect("receiving:study", study.pk)
