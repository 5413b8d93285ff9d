from django.apps import AppConfig


class ReadingConfig(AppConfig):
    name = "workstation.reading"
    label = "reading"
