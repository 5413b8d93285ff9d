"""The audit browser reads accounts.AuditRecord; this room has no tables of its own yet."""
