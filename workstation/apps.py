from django.apps import AppConfig


class WorkstationConfig(AppConfig):
    """The house itself: commands that need more than one room."""

    name = "workstation"
    label = "workstation"
