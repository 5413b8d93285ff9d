"""What was sent where, sending it again, and the destinations of a site."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.exporting.models import Delivery, Destination, Export, ExportObject
from workstation.exporting.services import resend as resend_delivery
from workstation.exporting.services import rewrite as rewrite_export
from workstation.exporting.services import save_destination
from workstation.exporting.states import InvalidMove
from workstation.receiving.models import DeidentificationProfile

PAGE_SIZE = 50


class DestinationForm(forms.ModelForm):  # type: ignore[type-arg]
    """A destination of one of the user's sites."""

    ae_title = forms.RegexField(
        r"^(?=.*[^ ])[ -\[\]-~]{1,16}$",
        label=gettext_lazy("AE title"),
        error_messages={"invalid": "1 to 16 plain letters, digits or signs, no backslash."},
    )
    port = forms.IntegerField(min_value=1, max_value=65535)

    class Meta:
        model = Destination
        fields = ["site", "name", "ae_title", "host", "port", "deidentification", "active"]
        labels = {"deidentification": "De-identification"}

    def __init__(self, *args: object, user: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.fields["site"].queryset = user.sites.all()  # type: ignore[attr-defined]
        # Deliveries belong to the site of their destination: moving it would show them to others.
        self.fields["site"].disabled = self.instance.pk is not None
        profiles = self.fields["deidentification"]
        profiles.queryset = DeidentificationProfile.objects.for_user(user)  # type: ignore[attr-defined]
        profiles.empty_label = "None: as it is"  # type: ignore[attr-defined]
        for field in self.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput):
                field.widget.attrs["class"] = "input"

    def clean(self) -> dict[str, object] | None:
        cleaned = super().clean() or {}
        profile = cleaned.get("deidentification")
        if profile is not None and profile.site != cleaned.get("site"):
            self.add_error("deidentification", gettext("This profile belongs to another site."))
        return cleaned


@require_GET
@requires("export.list")
def deliveries(request: HttpRequest) -> HttpResponse:
    """Newest first, with what went wrong and what to do; ``?case=`` shows one case."""
    rows = Delivery.objects.for_user(request.user).select_related(
        "destination", "object__export__version__report__case"
    )
    exports = Export.objects.for_user(request.user).select_related("version__report__case")
    case = request.GET.get("case", "")
    if case.isdigit():
        rows = rows.filter(object__export__version__report__case_id=case)
        exports = exports.filter(version__report__case_id=case)
    template = "exporting/_deliveries.html" if request.htmx else "exporting/deliveries.html"
    return render(
        request,
        template,
        {
            "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
            "unwritten": exports.exclude(state="written").order_by("-pk")[:PAGE_SIZE],
            "destinations": Destination.objects.for_user(request.user).select_related("site"),
            "case": case,
        },
    )


@require_POST
@requires("export.send")
def resend(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """Send one object again."""
    delivery = get_object_or_404(Delivery.objects.for_user(request.user), pk=delivery_id)
    try:
        resend_delivery(delivery, request.user, address=address_of(request))
    except InvalidMove:
        messages.info(request, gettext("This object is already on its way."))
    return redirect("exporting:deliveries")


@require_POST
@requires("export.send")
def rewrite(request: HttpRequest, export_id: int) -> HttpResponse:
    """Write a failed export again."""
    export = get_object_or_404(Export.objects.for_user(request.user), pk=export_id)
    try:
        rewrite_export(export, request.user, address=address_of(request))
    except InvalidMove:
        messages.info(request, gettext("This export is already under way."))
    return redirect("exporting:deliveries")


@require_GET
@requires("export.download")
def download(request: HttpRequest, object_id: int) -> HttpResponseBase:
    """The DICOM file itself."""
    item = get_object_or_404(
        ExportObject.objects.for_user(request.user).select_related(
            "export__version__report__case__site"
        ),
        pk=object_id,
    )
    path = settings.EXPORTS_DIR / item.path
    if not path.is_file():
        raise Http404
    case = item.export.version.report.case
    record(
        "download", user=request.user, site=case.site, obj=item, case_id=case.pk,
        remote_address=address_of(request), detail={"kind": item.kind},
    )  # fmt: skip
    return FileResponse(
        path.open("rb"),
        as_attachment=True,
        filename=f"case-{case.pk}-{item.kind}.dcm",
        content_type="application/dicom",
    )


@require_http_methods(["GET", "POST"])
@requires("destination.manage")
def destination(request: HttpRequest, destination_id: int | None = None) -> HttpResponse:
    """Add or change a destination."""
    found = None
    if destination_id is not None:
        rows = Destination.objects.for_user(request.user)
        found = get_object_or_404(rows, pk=destination_id)
    form = DestinationForm(request.POST or None, instance=found, user=request.user)
    if request.method == "POST" and form.is_valid():
        save_destination(form.save(commit=False), request.user, address=address_of(request))
        messages.success(request, gettext("The destination is saved. New results go there too."))
        return redirect("exporting:deliveries")
    status = 422 if form.errors else 200
    return render(
        request, "exporting/destination.html", {"form": form, "found": found}, status=status
    )
