"""URLs of the worklist room."""

from __future__ import annotations

from django.urls import path

from workstation.worklist import rule_views, views

app_name = "worklist"
urlpatterns = [
    path("", views.case_list, name="list"),
    path("worklist/next/", views.next_case, name="next"),
    path("worklist/<int:case_id>/claim/", views.claim, name="claim"),
    path("worklist/<int:case_id>/release/", views.release, name="release"),
    path("worklist/<int:case_id>/priority/", views.prioritise, name="priority"),
    path("worklist/<int:case_id>/assembly/", rule_views.assembly, name="assembly"),
    path("worklist/<int:case_id>/assembly/put/", rule_views.put, name="assembly-put"),
    path("worklist/<int:case_id>/assembly/take/", rule_views.take, name="assembly-take"),
    path("worklist/rules/", rule_views.rules, name="rules"),
    path("worklist/rules/<int:rule_id>/", rule_views.rule, name="rule"),
    path("worklist/sites/<int:site_id>/rules/new/", rule_views.new_rule, name="rule-new"),
]
