"""URLs of the reading room: one page, the viewer's API and that of the registration tools."""

from __future__ import annotations

from django.urls import path

from workstation.reading import api, views
from workstation.reading import measurement_api as marks
from workstation.reading import prior_api as priors
from workstation.reading import registration_api as tools
from workstation.reading.prefetching import warm_next_case
from workstation.reading.slice_pictures import FORMATS
from workstation.reading.slice_views import slice_picture

app_name = "reading"
urlpatterns = [
    path("cases/<int:case_id>/", views.case, name="case"),
    path("api/next-case/warm/", warm_next_case, name="warm-next"),
    path("api/cases/<int:case_id>/view/", api.CaseView.as_view(), name="view"),
    path("api/cases/<int:case_id>/probe/", api.ProbeView.as_view(), name="probe"),
    path(
        "api/cases/<int:case_id>/measurements/",
        marks.MeasurementsView.as_view(),
        name="measurements",
    ),
    path(
        "api/measurements/<int:measurement_id>/",
        marks.MeasurementView.as_view(),
        name="measurement",
    ),
    path(
        "api/measurements/<int:measurement_id>/restore/",
        marks.MeasurementRestoreView.as_view(),
        name="measurement-restore",
    ),
    path(
        "api/cases/<int:case_id>/key-images/", marks.KeyImagesView.as_view(), name="key-images"
    ),
    path("api/key-images/<int:key_image_id>/", marks.KeyImageView.as_view(), name="key-image"),
    path(
        "api/key-images/<int:key_image_id>/restore/",
        marks.KeyImageRestoreView.as_view(),
        name="key-image-restore",
    ),
    path(
        "api/key-images/<int:key_image_id>/picture/",
        marks.KeyImagePictureView.as_view(),
        name="key-image-picture",
    ),
    path("api/cases/<int:case_id>/priors/", priors.PriorsView.as_view(), name="priors"),
    path(
        "api/cases/<int:case_id>/priors/<int:study_id>/",
        priors.PriorView.as_view(),
        name="prior",
    ),
    path(
        "api/cases/<int:case_id>/prior-pairs/", priors.PriorPairsView.as_view(), name="prior-pairs"
    ),
    path("api/prior-pairs/<int:pair_id>/", priors.PriorPairView.as_view(), name="prior-pair"),
    path(
        "api/prior-pairs/<int:pair_id>/restore/",
        priors.PriorPairRestoreView.as_view(),
        name="prior-pair-restore",
    ),
    path("api/findings/<int:finding_id>/review/", api.FindingReviewView.as_view(), name="review"),
    path("api/cases/<int:case_id>/thumbnail.png", api.thumbnail, name="thumbnail"),
    *(
        path(
            f"api/cases/<int:case_id>/slice.{kind}", slice_picture, {"kind": kind},
            name=f"slice-{kind}",
        )
        for kind in FORMATS
    ),
    path("api/cases/<int:case_id>/rerun/", tools.RerunView.as_view(), name="rerun"),
    path(
        "api/registrations/<int:registration_id>/",
        tools.RegistrationView.as_view(),
        name="registration",
    ),
    path(
        "api/registrations/<int:registration_id>/decision/",
        tools.RegistrationDecisionView.as_view(),
        name="decision",
    ),
    path(
        "api/registrations/<int:registration_id>/landmarks/",
        tools.LandmarksView.as_view(),
        name="landmarks",
    ),
    path(
        "api/registrations/<int:registration_id>/landmarks/fit/",
        tools.LandmarkFitView.as_view(),
        name="landmark-fit",
    ),
    path(
        "api/registrations/<int:registration_id>/map/", tools.MapView.as_view(), name="map-points"
    ),
    path(
        "api/registrations/<int:registration_id>/refinements/",
        tools.RefinementsView.as_view(),
        name="refinements",
    ),
    path("api/landmarks/<int:landmark_id>/", tools.LandmarkView.as_view(), name="landmark"),
    path("api/refinements/<int:refinement_id>/", tools.RefinementView.as_view(), name="refinement"),
    *(
        path(
            f"api/refinements/<int:refinement_id>/{what}/",
            tools.RefinementActView.as_view(what=what),
            name=f"refinement-{what}",
        )
        for what in ("cancel", "retry", "discard")
    ),
]
