"""Every room's URLs. A test holds this list against the permission table."""

from __future__ import annotations

from django.urls import include, path

from workstation.accounts.preference_views import PreferencesView, PreferenceView
from workstation.accounts.views import SchemaPageView, SchemaView, health

urlpatterns = [
    path("", include("workstation.worklist.urls")),
    path("accounts/", include("workstation.accounts.urls")),
    path("receiving/", include("workstation.receiving.urls")),
    path("dicomweb/", include("workstation.receiving.dicomweb.urls")),
    path("runs/", include("workstation.analyzing.urls")),
    path("", include("workstation.reading.urls")),
    path("reports/", include("workstation.reporting.urls")),
    path("exports/", include("workstation.exporting.urls")),
    path("audit/", include("workstation.auditing.urls")),
    path("api/preferences/", PreferencesView.as_view(), name="preferences"),
    path("api/preferences/<str:key>/", PreferenceView.as_view(), name="preference"),
    path("api/schema/", SchemaView.as_view(), name="schema"),
    path("api/", SchemaPageView.as_view(), name="schema-page"),
    path("health/", health, name="health"),
]
