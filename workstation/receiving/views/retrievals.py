"""Asking nodes for studies, fetching them, and the rules that do so by themselves."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.receiving.models import (
    Commitment,
    Inquiry,
    PriorRule,
    RemoteNode,
    Retrieval,
    RetrievalState,
    Study,
)
from workstation.receiving.network.asking import (
    Answer,
    FoundStudy,
    Question,
    as_name_key,
    find_studies,
)
from workstation.receiving.network.calling import NotReached
from workstation.receiving.services.deidentifying import FROM_SENDER, archived_uids
from workstation.receiving.services.nodes import CannotSave, save_rule
from workstation.receiving.services.retrieving import (
    CannotRetrieve,
    Wanted,
    cancel_retrieval,
    request_retrieval,
    retry_retrieval,
)
from workstation.receiving.states import InvalidMove

PAGE_SIZE = 50
RECENT = 20
LIMIT = 200
AT_ONCE = 50
PICK = "receiving.retrievals.pick"
PICK_SECONDS = 8 * 3600


class QueryForm(forms.Form):
    """What to ask which node."""

    node = forms.ModelChoiceField(
        RemoteNode.objects.none(), label=gettext_lazy("Where"), empty_label=None
    )
    patient_name = forms.CharField(
        required=False, max_length=64, help_text=gettext_lazy("Family, Given")
    )
    patient_id = forms.CharField(required=False, max_length=64, label=gettext_lazy("Patient ID"))
    birth_date = forms.DateField(required=False)
    accession_number = forms.CharField(required=False, max_length=16)
    modality = forms.RegexField(
        r"^[A-Za-z]{2,16}$", required=False, label=gettext_lazy("Modality"),
        error_messages={"invalid": "One modality, like CT."},
    )  # fmt: skip
    since = forms.DateField(required=False, label=gettext_lazy("Study date from"))
    until = forms.DateField(required=False, label="to")

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["node"].queryset = (  # type: ignore[attr-defined]
            RemoteNode.objects.for_user(user)
            .filter(active=True, may_be_queried=True)
            .select_related("site")
        )
        for name, field in self.fields.items():
            field.widget.attrs["class"] = "input"
            if name in ("birth_date", "since", "until"):
                field.widget = forms.DateInput(attrs={"type": "date", "class": "input"})

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors and self.question().is_empty:
            raise forms.ValidationError(
                gettext("Say whom or what to look for, in one field at least.")
            )
        return cleaned

    def question(self) -> Question:
        told = self.cleaned_data
        return Question(
            patient_id=told.get("patient_id", ""),
            patient_name=as_name_key(told.get("patient_name", "")),
            birth_date=told.get("birth_date"),
            accession_number=told.get("accession_number", ""),
            modality=told.get("modality", "").upper(),
            since=told.get("since"),
            until=told.get("until"),
        )


class RuleForm(forms.ModelForm):  # type: ignore[type-arg]
    """A rule for earlier or missing studies, of one of the user's sites."""

    at_most = forms.IntegerField(
        min_value=1, max_value=50, label=gettext_lazy("Studies at most, newest first")
    )
    years = forms.IntegerField(
        min_value=1, max_value=50, label=gettext_lazy("Not older than (years)")
    )

    class Meta:
        model = PriorRule
        fields = [
            "site", "name", "node", "when_modalities", "fetch_modalities", "same_body_part",
            "years", "at_most", "active",
        ]  # fmt: skip
        labels = {
            "node": "Fetch from",
            "when_modalities": "When a study arrives with",
            "fetch_modalities": "Fetch studies with",
            "same_body_part": "Only of the same body part",
        }
        help_texts = {
            "when_modalities": "Modalities, e.g. PT CT; empty: any study.",
            "fetch_modalities": "Modalities; empty: any. Named ones that the arrived study itself "
            "lacks are fetched too: the CT of a PET.",
        }

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.all()  # type: ignore[attr-defined]
        self.fields["site"].disabled = self.instance.pk is not None
        self.fields["node"].queryset = RemoteNode.objects.for_user(user).filter(  # type: ignore[attr-defined]
            may_be_queried=True
        )
        for field in self.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput):
                field.widget.attrs["class"] = "input"


@require_http_methods(["GET", "POST"])
@requires("retrieval.make")
def query(request: HttpRequest) -> HttpResponse:
    """Ask a node. By POST, so that names of patients appear in no address and no log."""
    form = QueryForm(request.POST or None, user=request.user)
    context: dict[str, Any] = {"form": form, "limit": LIMIT}
    if request.method == "POST" and form.is_valid():
        node: RemoteNode = form.cleaned_data["node"]
        try:
            answer = find_studies(node, form.question(), limit=LIMIT)
        except NotReached as reason:
            context["problem"] = str(reason)
        else:
            _audit(request, form, answer)
            context |= {"node": node, "answer": answer, "rows": _rows(node, answer)}
    status = 422 if request.method == "POST" and not form.is_valid() else 200
    return render(request, "receiving/query.html", context, status=status)


def _audit(request: HttpRequest, form: QueryForm, answer: Answer) -> None:
    keys = [name for name, value in form.cleaned_data.items() if value and name != "node"]
    node = form.cleaned_data["node"]
    record(
        "query", user=request.user, site=node.site, obj=node, remote_address=address_of(request),
        detail={"keys": keys, "found": len(answer.studies)},
    )  # fmt: skip


def _rows(node: RemoteNode, answer: Answer) -> list[dict[str, Any]]:
    """What was found, beside what of it is here."""
    known_as = archived_uids(node.site, f"{FROM_SENDER}{node.ae_title}")
    uids = [found.study_instance_uid for found in answer.studies]
    here = {
        study.study_instance_uid: study
        for study in Study.objects.filter(
            site=node.site, study_instance_uid__in=map(known_as, uids)
        ).annotate(images=Count("series__instances"))
    }
    coming = set(
        Retrieval.objects.filter(
            site=node.site, study_instance_uid__in=uids, state__in=("waiting", "running")
        ).values_list("study_instance_uid", flat=True)
    )
    return [
        {
            "found": found,
            "here": here.get(known_as(found.study_instance_uid)),
            "coming": found.study_instance_uid in coming,
            "pick": signing.dumps(_packed(node, found), salt=PICK),
        }
        for found in answer.studies
    ]


def _packed(node: RemoteNode, found: FoundStudy) -> dict[str, Any]:
    return {
        "node": node.pk,
        "uid": found.study_instance_uid,
        "description": found.description,
        "date": found.study_date.isoformat() if found.study_date else "",
        "modalities": " ".join(found.modalities),
        "instances": found.instances,
    }


@require_POST
@requires("retrieval.make")
def fetch(request: HttpRequest) -> HttpResponse:
    """Fetch what was picked in the answer of a query."""
    picks = request.POST.getlist("pick")[:AT_ONCE]
    if not picks:
        messages.info(request, gettext("Nothing was chosen. Mark the studies to fetch."))
        return redirect("receiving:query")
    nodes = {row.pk: row for row in RemoteNode.objects.for_user(request.user)}
    asked = 0
    for pick in picks:
        try:
            told = signing.loads(pick, salt=PICK, max_age=PICK_SECONDS)
            node = nodes[told["node"]]
            request_retrieval(node, _unpacked(told), user=request.user, address=address_of(request))
        except (signing.BadSignature, KeyError):
            messages.error(request, gettext("The answer is too old. Ask again."))
            return redirect("receiving:query")
        except CannotRetrieve as reason:
            messages.error(request, str(reason))
        else:
            asked += 1
    if asked:
        plural = "study is" if asked == 1 else "studies are"
        messages.success(
            request, gettext("{asked} {plural} being fetched.").format(asked=asked, plural=plural)
        )
    return redirect("receiving:retrievals")


def _unpacked(told: dict[str, Any]) -> Wanted:
    return Wanted(
        study_instance_uid=told["uid"],
        description=told["description"],
        study_date=date.fromisoformat(told["date"]) if told["date"] else None,
        modalities=told["modalities"],
        instances=told["instances"],
    )


@require_GET
@requires("retrieval.view")
def retrievals(request: HttpRequest) -> HttpResponse:
    """What is fetched, newest first, with progress; what rules asked; commitments given."""
    state = request.GET.get("state", "")
    rows = Retrieval.objects.for_user(request.user).select_related("node", "asked_by", "rule")
    if state in RetrievalState.values:
        rows = rows.filter(state=state)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    here = {
        (study.site_id, study.study_instance_uid): study.pk
        for study in Study.objects.for_user(request.user).filter(
            study_instance_uid__in=[row.study_instance_uid for row in page]
        )
    }
    inquiries = Inquiry.objects.for_user(request.user).select_related("node", "rule")
    commitments = Commitment.objects.for_user(request.user)
    return render(
        request,
        "receiving/_retrievals.html" if request.htmx else "receiving/retrievals.html",
        {
            "page": page,
            "rows": [(row, here.get((row.site_id, row.study_instance_uid))) for row in page],
            "state": state,
            "states": RetrievalState.choices,
            "inquiries": inquiries[:RECENT],
            "commitments": commitments[:RECENT],
        },
    )


@require_POST
@requires("retrieval.steer")
def retrieval_cancel(request: HttpRequest, retrieval_id: int) -> HttpResponse:
    """Stop a retrieval; what came is kept."""
    row = get_object_or_404(Retrieval.objects.for_user(request.user), pk=retrieval_id)
    try:
        cancel_retrieval(row, request.user, address=address_of(request))
    except InvalidMove:
        messages.info(request, gettext("This retrieval is over already."))
    return redirect("receiving:retrievals")


@require_POST
@requires("retrieval.steer")
def retrieval_retry(request: HttpRequest, retrieval_id: int) -> HttpResponse:
    """Fetch what is still missing."""
    row = get_object_or_404(Retrieval.objects.for_user(request.user), pk=retrieval_id)
    try:
        retry_retrieval(row, request.user, address=address_of(request))
    except InvalidMove:
        messages.info(request, gettext("This retrieval is under way, or done."))
    return redirect("receiving:retrievals")


@require_GET
@requires("prior_rule.manage")
def prior_rules(request: HttpRequest) -> HttpResponse:
    """The rules of the user's sites."""
    rows = PriorRule.objects.for_user(request.user).select_related("site", "node")
    return render(request, "receiving/prior_rules.html", {"rules": rows})


@require_http_methods(["GET", "POST"])
@requires("prior_rule.manage")
def prior_rule(request: HttpRequest, prior_rule_id: int | None = None) -> HttpResponse:
    """Add or change a rule."""
    found = None
    if prior_rule_id is not None:
        rows = PriorRule.objects.for_user(request.user)
        found = get_object_or_404(rows, pk=prior_rule_id)
    form = RuleForm(request.POST or None, instance=found, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            save_rule(form.save(commit=False), request.user, address=address_of(request))
        except CannotSave as reason:
            form.add_error(None, str(reason))
        else:
            messages.success(
                request, gettext("The rule is saved. It looks at studies from now on.")
            )
            return redirect("receiving:prior-rules")
    return render(
        request, "receiving/prior_rule.html", {"form": form, "found": found},
        status=422 if form.errors else 200,
    )  # fmt: skip
