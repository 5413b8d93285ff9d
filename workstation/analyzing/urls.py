"""URLs of the analyzing room, below ``/runs/``."""

from __future__ import annotations

from django.urls import path

from workstation.analyzing import pet_views, views

app_name = "analyzing"
urlpatterns = [
    path("", views.runs, name="runs"),
    path("<int:run_id>/", views.run, name="run"),
    path("<int:run_id>/retry/", views.retry, name="retry"),
    path("cases/<int:case_id>/", views.case_run, name="case"),
    path("cases/<int:case_id>/suv/", pet_views.values, name="pet-values"),
    path("cases/<int:case_id>/suv/<int:series_id>/", pet_views.enter, name="pet-enter"),
    path("suv-values/<int:pet_entry_id>/withdraw/", pet_views.withdraw, name="pet-withdraw"),
]
