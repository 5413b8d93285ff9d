"""URLs of the accounts room."""

from __future__ import annotations

from django.urls import path

from workstation.accounts.views import SignInView, SignOutView

app_name = "accounts"
urlpatterns = [
    path("sign-in/", SignInView.as_view(), name="sign-in"),
    path("sign-out/", SignOutView.as_view(), name="sign-out"),
]
