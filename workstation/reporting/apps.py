from django.apps import AppConfig


class ReportingConfig(AppConfig):
    name = "workstation.reporting"
    label = "reporting"
