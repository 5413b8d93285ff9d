"""URLs of the exporting room."""

from __future__ import annotations

from django.urls import path

from workstation.exporting import views

app_name = "exporting"
urlpatterns = [
    path("", views.deliveries, name="deliveries"),
    path("deliveries/<int:delivery_id>/resend/", views.resend, name="resend"),
    path("<int:export_id>/rewrite/", views.rewrite, name="rewrite"),
    path("objects/<int:object_id>.dcm", views.download, name="download"),
    path("destinations/new/", views.destination, name="destination-new"),
    path("destinations/<int:destination_id>/", views.destination, name="destination"),
]
