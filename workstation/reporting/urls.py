"""URLs of the reporting room."""

from __future__ import annotations

from django.urls import path

from workstation.reporting import views

app_name = "reporting"
urlpatterns = [
    path("<int:case_id>/panel/", views.panel, name="panel"),
    path("<int:case_id>/save/", views.save, name="save"),
    path("<int:case_id>/sentences/<int:sentence_id>/restore/", views.restore, name="restore"),
    path("findings/<int:finding_id>/review/", views.review, name="review"),
    path("<int:case_id>/sign/", views.sign, name="sign"),
    path("<int:case_id>/addend/", views.addend, name="addend"),
    path("<int:case_id>/report.pdf", views.pdf, name="pdf"),
]
