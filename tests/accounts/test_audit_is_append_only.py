"""Audit rows cannot be changed or deleted, not even by SQL."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from workstation.accounts.models import AuditRecord
from workstation.accounts.services import record


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    ["UPDATE accounts_auditrecord SET action = 'x'", "DELETE FROM accounts_auditrecord"],
)
def test_database_refuses_to_touch_an_audit_row(statement: str) -> None:
    row = record("view", detail={"n": 1})
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert AuditRecord.objects.get(pk=row.pk).action == "view"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("turn", [1, 2])
def test_transactional_tests_have_the_triggers_too(turn: int) -> None:
    record("view")
    with pytest.raises(DatabaseError):
        AuditRecord.objects.update(action="list")


@pytest.mark.django_db
def test_unknown_action_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="unknown audit action"):
        record("looked around")
