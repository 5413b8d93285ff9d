from django.apps import AppConfig


class ReceivingConfig(AppConfig):
    name = "workstation.receiving"
    label = "receiving"
