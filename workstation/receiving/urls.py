"""URLs of the receiving room."""

from __future__ import annotations

from django.urls import path

from workstation.receiving.views import (
    archive,
    identity,
    nodes,
    privacy,
    quarantine,
    retrievals,
    roles,
    tus,
    upload,
)

app_name = "receiving"
urlpatterns = [
    path("", upload.upload_page, name="upload"),
    path("uploads/", upload.upload_start, name="upload-start"),
    path("uploads/<int:pk>/files/", tus.upload_files, name="upload-files"),
    path("uploads/<int:pk>/known/", upload.upload_known, name="upload-known"),
    path("uploads/<int:pk>/state/", upload.upload_state, name="upload-state"),
    path("uploads/<int:pk>/finish/", upload.upload_finish, name="upload-finish"),
    path("files/<int:pk>/", tus.uploaded_file, name="uploaded-file"),
    path("quarantine/", quarantine.quarantine_page, name="quarantine"),
    path("quarantine/many/", quarantine.quarantine_many, name="quarantine-many"),
    path("quarantine/<int:pk>/bytes/", quarantine.quarantine_bytes, name="quarantine-bytes"),
    path("quarantine/<int:pk>/correct/", quarantine.quarantine_correct, name="correct"),
    path("quarantine/<int:pk>/release/", quarantine.quarantine_release, name="release"),
    path("quarantine/<int:pk>/discard/", quarantine.quarantine_discard, name="discard"),
    path("archive/", archive.archive, name="archive"),
    path("archive/studies/<int:study_id>/", archive.study, name="study"),
    path("archive/studies/<int:study_id>/move/", identity.move, name="move"),
    path("archive/patients/<int:patient_id>/", archive.patient, name="patient"),
    path("archive/patients/<int:patient_id>/merge/", identity.merge, name="merge"),
    path("archive/patients/<int:patient_id>/link/", identity.link, name="link"),
    path("archive/changes/<int:change_id>/undo/", identity.undo, name="identity-undo"),
    path("archive/links/<int:link_id>/undo/", identity.unlink, name="unlink"),
    path("studies/<int:study_id>/roles/", roles.series_roles, name="series-roles"),
    path("series/<int:series_id>/role/", roles.series_role, name="series-role"),
    path(
        "series/<int:series_id>/role/clear/", roles.series_role_clear, name="series-role-clear"
    ),
    path("nodes/", nodes.nodes, name="nodes"),
    path("nodes/new/", nodes.node, name="node-new"),
    path("nodes/caller/", nodes.caller, name="caller"),
    path("nodes/<int:node_id>/", nodes.node, name="node"),
    path("nodes/<int:node_id>/echo/", nodes.node_echo, name="node-echo"),
    path("nodes/<int:node_id>/switch/", nodes.node_switch, name="node-switch"),
    path("query/", retrievals.query, name="query"),
    path("query/fetch/", retrievals.fetch, name="fetch"),
    path("retrievals/", retrievals.retrievals, name="retrievals"),
    path(
        "retrievals/<int:retrieval_id>/cancel/", retrievals.retrieval_cancel,
        name="retrieval-cancel",
    ),
    path(
        "retrievals/<int:retrieval_id>/retry/", retrievals.retrieval_retry, name="retrieval-retry"
    ),
    path("prior-rules/", retrievals.prior_rules, name="prior-rules"),
    path("prior-rules/new/", retrievals.prior_rule, name="prior-rule-new"),
    path("prior-rules/<int:prior_rule_id>/", retrievals.prior_rule, name="prior-rule"),
    path("privacy/", privacy.profiles, name="privacy"),
    path("privacy/profiles/new/", privacy.profile, name="privacy-profile-new"),
    path("privacy/profiles/<int:profile_id>/", privacy.profile, name="privacy-profile"),
    path("privacy/vault/", privacy.vault, name="vault"),
]
