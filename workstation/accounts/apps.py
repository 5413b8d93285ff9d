from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "workstation.accounts"
    label = "accounts"
