"""What the viewer's API views share: whose case, what was sent, and how a refusal answers."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from workstation.worklist.models import Case

NO_STORE = {"Cache-Control": "no-store"}


def case_for(request: HttpRequest | Request, case_id: int) -> Case:
    """The case if it belongs to one of the user's sites, else 404."""
    rows = Case.objects.for_user(request.user).select_related("patient", "site", "claim__user")
    return get_object_or_404(rows, pk=case_id)


def conflict(reason: Exception) -> Response:
    """409 with the reason in words."""
    return Response({"detail": str(reason)}, status=status.HTTP_409_CONFLICT)


def checked(form: type[serializers.Serializer[dict[str, Any]]], request: Request) -> Any:
    """The body as the serializer understands it, else 400 naming the first field at fault."""
    filled = form(data=request.data)
    if not filled.is_valid():
        field, errors = next(iter(filled.errors.items()))
        raise serializers.ValidationError({"detail": f"{field}: {errors[0]}"})
    return filled.validated_data
