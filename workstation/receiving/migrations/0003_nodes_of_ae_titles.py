"""The AE titles that sites listed become nodes; patients get their search key."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from workstation.receiving.names import name_key


def forwards(apps: Any, schema_editor: Any) -> None:
    site_model = apps.get_model("accounts", "Site")
    node_model = apps.get_model("receiving", "RemoteNode")
    patient_model = apps.get_model("receiving", "Patient")
    for site in site_model.objects.order_by("pk"):
        for title in site.calling_ae_titles:
            # A title that two sites listed was refused; it stays so until somebody decides.
            taken = node_model.objects.filter(ae_title=title, may_send=True, active=True).exists()
            node_model.objects.create(
                site=site, name=title, ae_title=title, may_send=True, active=not taken
            )
    for patient in patient_model.objects.filter(name_key="").iterator():
        patient.name_key = name_key(patient.name)
        patient.save(update_fields=["name_key"])


def backwards(apps: Any, schema_editor: Any) -> None:
    site_model = apps.get_model("accounts", "Site")
    node_model = apps.get_model("receiving", "RemoteNode")
    for site in site_model.objects.order_by("pk"):
        nodes = node_model.objects.filter(site=site, may_send=True, active=True)
        site.calling_ae_titles = list(nodes.values_list("ae_title", flat=True))
        site.save(update_fields=["calling_ae_titles"])


class Migration(migrations.Migration):
    dependencies = [("receiving", "0002_nodes_roles_identity_privacy"), ("accounts", "0002_audit_trail_is_append_only")]
    operations = [migrations.RunPython(forwards, backwards)]
