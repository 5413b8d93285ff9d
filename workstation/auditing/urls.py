"""URLs of the auditing room."""

from __future__ import annotations

from django.urls import path

from workstation.auditing import retention_views, views

app_name = "auditing"
urlpatterns = [
    path("", views.trail, name="trail"),
    path("retention/", retention_views.rules, name="retention"),
    path("retention/new/", retention_views.edit_rule, name="retention-new"),
    path("retention/<int:rule_id>/", retention_views.rule_plan, name="retention-plan"),
    path("retention/<int:rule_id>/edit/", retention_views.edit_rule, name="retention-edit"),
    path("retention/<int:rule_id>/run/", retention_views.run_rule, name="retention-run"),
    path("studies/<int:study_id>/delete/", retention_views.delete_one, name="delete-study"),
]
