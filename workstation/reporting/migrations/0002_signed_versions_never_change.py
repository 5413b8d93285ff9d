"""The database itself refuses to change or delete a signed version."""

from django.db import migrations

from workstation.accounts.append_only import protect, unprotect


class Migration(migrations.Migration):
    dependencies = [("reporting", "0001_initial")]
    operations = [migrations.RunPython(protect("reporting_version"), unprotect("reporting_version"))]
