"""URLs of the reading room: one page and the viewer's API."""

from __future__ import annotations

from django.urls import path

from workstation.reading import api, views

app_name = "reading"
urlpatterns = [
    path("cases/<int:case_id>/", views.case, name="case"),
    path("api/cases/<int:case_id>/view/", api.CaseView.as_view(), name="view"),
    path("api/cases/<int:case_id>/probe/", api.ProbeView.as_view(), name="probe"),
    path(
        "api/cases/<int:case_id>/measurements/",
        api.MeasurementsView.as_view(),
        name="measurements",
    ),
    path(
        "api/measurements/<int:measurement_id>/",
        api.MeasurementView.as_view(),
        name="measurement",
    ),
    path("api/findings/<int:finding_id>/review/", api.FindingReviewView.as_view(), name="review"),
    path(
        "api/registrations/<int:registration_id>/decision/",
        api.RegistrationDecisionView.as_view(),
        name="decision",
    ),
    path("api/cases/<int:case_id>/thumbnail.png", api.thumbnail, name="thumbnail"),
]
