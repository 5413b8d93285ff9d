from django.apps import AppConfig


class ExportingConfig(AppConfig):
    name = "workstation.exporting"
    label = "exporting"
