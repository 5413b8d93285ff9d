"""The other DICOM applications of a site: list, add, change, switch off, echo, let in."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.permissions import allowed, requires
from workstation.accounts.services import address_of
from workstation.receiving.models import DeidentificationProfile, RemoteNode, UnknownCaller
from workstation.receiving.network.calling import NotReached
from workstation.receiving.network.echo import echo
from workstation.receiving.services.nodes import (
    CannotSave,
    allow_caller,
    forget_caller,
    note_echo,
    save_node,
    switch_node,
)

CALLERS_SHOWN = 50


class NodeForm(forms.ModelForm):  # type: ignore[type-arg]
    """A node of one of the user's sites."""

    ae_title = forms.RegexField(
        r"^(?=.*[^ ])[ -\[\]-~]{1,16}$",
        label=gettext_lazy("AE title"),
        error_messages={"invalid": "1 to 16 plain letters, digits or signs, no backslash."},
    )
    port = forms.IntegerField(min_value=1, max_value=65535, required=False)

    class Meta:
        model = RemoteNode
        fields = [
            "site", "name", "ae_title", "host", "port", "active", "may_send", "only_from_host",
            "may_be_queried", "retrieve_by", "tells_counts", "tls", "certificate_subject",
            "deidentification",
        ]  # fmt: skip
        labels = {
            "may_send": "May send to us",
            "only_from_host": "Only from its own address",
            "may_be_queried": "May be queried, and fetched from",
            "retrieve_by": "Fetch by",
            "tells_counts": "Ask it how many images a study has",
            "tls": "Connect to it with TLS",
            "certificate_subject": "Name in its certificate",
            "deidentification": "De-identify what it sends",
        }

    def __init__(self, *args: object, user: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.all()  # type: ignore[attr-defined]
        # What it has sent, and the retrievals from it, belong to its site.
        self.fields["site"].disabled = self.instance.pk is not None
        profiles = self.fields["deidentification"]
        profiles.queryset = DeidentificationProfile.objects.for_user(user)  # type: ignore[attr-defined]
        for field in self.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput):
                field.widget.attrs["class"] = "input"

    def clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = super().clean() or {}
        profile = cleaned.get("deidentification")
        if profile is not None and profile.site != cleaned.get("site"):  # type: ignore[attr-defined]
            self.add_error("deidentification", gettext("This profile belongs to another site."))
        has_address = cleaned.get("host") and cleaned.get("port")
        if (cleaned.get("may_be_queried") or cleaned.get("tells_counts")) and not has_address:
            self.add_error("host", gettext("To query a node, its host and port are needed."))
        if cleaned.get("only_from_host") and not cleaned.get("host"):
            self.add_error("host", gettext("Enter the address it calls from."))
        return cleaned


@require_GET
@requires("node.view")
def nodes(request: HttpRequest) -> HttpResponse:
    """The nodes of the user's sites; for administrators, also who was refused at the door."""
    rows = RemoteNode.objects.for_user(request.user).select_related("site", "deidentification")
    callers = UnknownCaller.objects.none()
    if allowed(request.user, "node.manage"):
        callers = UnknownCaller.objects.all()[:CALLERS_SHOWN]
    return render(
        request, "receiving/nodes.html",
        {"nodes": rows.order_by("site__name", "name"), "callers": callers,
         "sites": request.user.sites.all()},
    )  # fmt: skip


@require_http_methods(["GET", "POST"])
@requires("node.manage")
def node(request: HttpRequest, node_id: int | None = None) -> HttpResponse:
    """Add or change a node."""
    found = None
    if node_id is not None:
        found = get_object_or_404(RemoteNode.objects.for_user(request.user), pk=node_id)
    form = NodeForm(request.POST or None, instance=found, user=request.user)
    if request.method == "POST" and form.is_valid():
        try:
            save_node(form.save(commit=False), request.user, address=address_of(request))
        except CannotSave as reason:
            form.add_error(None, str(reason))
        else:
            messages.success(
                request, gettext("The node is saved. Press Echo to see whether it answers.")
            )
            return redirect("receiving:nodes")
    return render(
        request, "receiving/node.html", {"form": form, "found": found},
        status=422 if form.errors else 200,
    )  # fmt: skip


@require_POST
@requires("node.manage")
def node_echo(request: HttpRequest, node_id: int) -> HttpResponse:
    """C-ECHO, now."""
    found = get_object_or_404(RemoteNode.objects.for_user(request.user), pk=node_id)
    try:
        echo(found)
    except NotReached as reason:
        error = str(reason)
        messages.error(request, f"{found.name}: {error}")
    else:
        error = ""
        messages.success(request, gettext("{name} answers.").format(name=found.name))
    note_echo(found, error, request.user, address=address_of(request))
    return redirect("receiving:nodes")


@require_POST
@requires("node.manage")
def node_switch(request: HttpRequest, node_id: int) -> HttpResponse:
    """Off or on."""
    found = get_object_or_404(RemoteNode.objects.for_user(request.user), pk=node_id)
    try:
        switch_node(found, request.user, active=not found.active, address=address_of(request))
    except CannotSave as reason:
        messages.error(request, str(reason))
    return redirect("receiving:nodes")


@require_POST
@requires("node.manage")
def caller(request: HttpRequest) -> HttpResponse:
    """Let a refused caller in as a node of a site, or take it off the list."""
    key = request.POST.get("caller", "")
    found = get_object_or_404(UnknownCaller, pk=key if key.isdecimal() else 0)
    if "forget" in request.POST:
        forget_caller(found, request.user, address=address_of(request))
        return redirect("receiving:nodes")
    site_key = request.POST.get("site", "")
    site = get_object_or_404(request.user.sites.all(), pk=site_key if site_key.isdecimal() else 0)
    try:
        made = allow_caller(found, site, request.user, address=address_of(request))
    except CannotSave as reason:
        messages.error(request, str(reason))
        return redirect("receiving:nodes")
    messages.success(
        request,
        gettext("{ae_title} may send to {name} now.").format(
            ae_title=made.ae_title, name=site.name
        ),
    )
    return redirect("receiving:node", made.pk)
