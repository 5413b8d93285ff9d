"""The DICOMweb routes below ``/dicomweb/`` (PS3.18 10.4 to 10.6)."""

from __future__ import annotations

from django.urls import path

from workstation.receiving.dicomweb import views

app_name = "dicomweb"
STUDY = "studies/<str:study_uid>"
SERIES = f"{STUDY}/series/<str:series_uid>"
INSTANCE = f"{SERIES}/instances/<str:instance_uid>"
FRAMES = f"{INSTANCE}/frames/<str:frame_list>"
LEVELS = {"study": STUDY, "series": SERIES, "instance": INSTANCE}

urlpatterns = [
    path("studies", views.StudiesView.as_view(), name="studies"),
    path("series", views.SeriesView.as_view(), name="all-series"),
    path("instances", views.InstancesView.as_view(), name="all-instances"),
    path(STUDY, views.StudyView.as_view(), name="study"),
    path(f"{STUDY}/series", views.SeriesView.as_view(), name="study-series"),
    path(f"{STUDY}/instances", views.InstancesView.as_view(), name="study-instances"),
    path(SERIES, views.RetrieveView.as_view(), name="series"),
    path(f"{SERIES}/instances", views.InstancesView.as_view(), name="series-instances"),
    path(INSTANCE, views.RetrieveView.as_view(), name="instance"),
    *(
        path(f"{at}/{what}", view.as_view(), name=f"{level}-{what}")
        for level, at in LEVELS.items()
        for what, view in (
            ("metadata", views.MetadataView),
            ("rendered", views.RenderedView),
            ("thumbnail", views.ThumbnailView),
        )
    ),
    path(FRAMES, views.FramesView.as_view(), name="frames"),
    path(f"{FRAMES}/rendered", views.RenderedView.as_view(), name="frames-rendered"),
    path(
        f"{INSTANCE}/bulkdata/<str:element_path>", views.BulkdataView.as_view(), name="bulkdata"
    ),
]
