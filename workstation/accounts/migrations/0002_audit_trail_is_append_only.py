"""The database itself refuses to change or delete an audit row."""

from django.db import migrations

from workstation.accounts.append_only import protect, unprotect


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.RunPython(protect("accounts_auditrecord"), unprotect("accounts_auditrecord"))
    ]
