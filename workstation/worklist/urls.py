"""URLs of the worklist room."""

from __future__ import annotations

from django.urls import path

from workstation.worklist import views

app_name = "worklist"
urlpatterns = [
    path("", views.case_list, name="list"),
    path("worklist/next/", views.next_case, name="next"),
    path("worklist/<int:case_id>/claim/", views.claim, name="claim"),
    path("worklist/<int:case_id>/release/", views.release, name="release"),
    path("worklist/<int:case_id>/priority/", views.prioritise, name="priority"),
]
