from django.apps import AppConfig


class AnalyzingConfig(AppConfig):
    name = "workstation.analyzing"
    label = "analyzing"
