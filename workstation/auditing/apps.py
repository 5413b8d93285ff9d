from django.apps import AppConfig


class AuditingConfig(AppConfig):
    name = "workstation.auditing"
    label = "auditing"
