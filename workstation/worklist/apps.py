from django.apps import AppConfig


class WorklistConfig(AppConfig):
    name = "workstation.worklist"
    label = "worklist"
