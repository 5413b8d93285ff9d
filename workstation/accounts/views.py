"""Signing in and out; health; the API description."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.decorators import method_decorator
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from workstation.accounts.language import recall_language
from workstation.accounts.models import User
from workstation.accounts.permissions import HasPermission
from workstation.accounts.services import address_of, record


@method_decorator(login_not_required, name="dispatch")
class SignInView(auth_views.LoginView):
    """Name and password; a locked-out name is told so and when to try again."""

    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        assert isinstance(self.request.user, User)
        recall_language(self.request, self.request.user)
        record("sign_in", user=self.request.user, remote_address=address_of(self.request))
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        record(
            "sign_in_failed",
            remote_address=address_of(self.request),
            username=str(form.data.get("username", "")),
        )
        return super().form_invalid(form)


class SignOutView(auth_views.LogoutView):
    """POST only (Django's rule); the audit row is written before the session ends."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST":
            record("sign_out", user=request.user, remote_address=address_of(request))
        return super().dispatch(request, *args, **kwargs)


@login_not_required
def health(request: HttpRequest) -> JsonResponse:
    """For launchers and load balancers; says nothing about patients."""
    return JsonResponse({"status": "ok"})


class SchemaView(SpectacularAPIView):
    """The OpenAPI description of ``/api/``."""

    permission = "case.list"
    # drf-spectacular's own default is open to everybody.
    permission_classes = [HasPermission]


class SchemaPageView(SpectacularSwaggerSplitView):
    """The description as a page that can be read and tried; its script is a URL of its own."""

    permission = "case.list"
    permission_classes = [HasPermission]
    template_name = "accounts/api.html"
    url_name = "schema"
