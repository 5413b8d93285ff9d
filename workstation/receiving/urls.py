"""URLs of the receiving room."""

from __future__ import annotations

from django.urls import path

from workstation.receiving import views

app_name = "receiving"
urlpatterns = [
    path("", views.upload_page, name="upload"),
    path("uploads/", views.upload_start, name="upload-start"),
    path("uploads/<int:pk>/files/", views.upload_files, name="upload-files"),
    path("uploads/<int:pk>/finish/", views.upload_finish, name="upload-finish"),
    path("quarantine/", views.quarantine_page, name="quarantine"),
    path("quarantine/<int:pk>/release/", views.quarantine_release, name="release"),
    path("quarantine/<int:pk>/discard/", views.quarantine_discard, name="discard"),
]
