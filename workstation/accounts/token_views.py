"""The administrators' page of access tokens: make one (its secret is shown once), list, revoke."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from workstation.accounts.models import AccessToken, Site, TokenScope, User
from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of
from workstation.accounts.tokens import LONGEST_DAYS, create_token, revoke_token

SHOWN = 200


class TokenForm(forms.Form):
    """A new token of one of the administrator's sites."""

    name = forms.CharField(
        max_length=100, help_text=gettext_lazy("Which program uses it, e.g. OHIF viewer.")
    )
    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    scope = forms.ChoiceField(choices=TokenScope.choices, label=gettext_lazy("It may"))
    days = forms.IntegerField(
        min_value=1, max_value=LONGEST_DAYS, initial=365, label=gettext_lazy("Valid for (days)")
    )

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data)
        sites = self.fields["site"]
        assert isinstance(sites, forms.ModelChoiceField)
        sites.queryset = user.sites.order_by("name")


@never_cache
@require_http_methods(["GET", "POST"])
@requires("token.manage")
def tokens_page(request: HttpRequest) -> HttpResponse:
    """The list, and the form; after a POST the secret, this once."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(user, request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        _, secret = create_token(
            user, given["site"], given["name"], TokenScope(given["scope"]), given["days"],
            address=address_of(request),
        )  # fmt: skip
        form = TokenForm(user)
    tokens = AccessToken.objects.for_user(user).select_related("site", "user")[:SHOWN]
    return render(
        request,
        "accounts/tokens.html",
        {
            "form": form,
            "secret": secret,
            "tokens": tokens,
            "now": timezone.now(),
            "root": request.build_absolute_uri("/dicomweb"),
        },
        status=400 if form.errors else 200,
    )


@require_POST
@requires("token.manage")
def token_revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    """End a token now."""
    token = get_object_or_404(AccessToken.objects.for_user(request.user), pk=token_id)
    assert isinstance(request.user, User)
    revoke_token(token, request.user, address=address_of(request))
    messages.success(
        request, gettext("The token is revoked. Programs that use it are refused from now.")
    )
    return redirect("accounts:tokens")
