"""URLs of the accounts room."""

from __future__ import annotations

from django.urls import path

from workstation.accounts.language import choose_language
from workstation.accounts.menu import manage
from workstation.accounts.token_views import token_revoke, tokens_page
from workstation.accounts.views import SignInView, SignOutView

app_name = "accounts"
urlpatterns = [
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    path("sign-out/", SignOutView.as_view(), name="sign-out"),
    path("language/", choose_language, name="language"),
    path("manage/", manage, name="manage"),
    path("tokens/", tokens_page, name="tokens"),
    path("tokens/<int:token_id>/revoke/", token_revoke, name="token-revoke"),
]
