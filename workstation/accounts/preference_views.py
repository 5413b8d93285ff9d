"""``/api/preferences/``: a person's own settings, for the pages and the viewer."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.language import remember_language
from workstation.accounts.preferences import (
    KEYS,
    PreferenceRefused,
    keep_preference,
    preferences_of,
)

NO_STORE = {"Cache-Control": "no-store"}


class PreferenceInput(serializers.Serializer[dict[str, Any]]):
    value = serializers.JSONField(allow_null=True)


class PreferencesView(APIView):
    """GET: everything that the person keeps, by key."""

    permission = "preference.keep"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        return Response(preferences_of(request.user), headers=NO_STORE)


class PreferenceView(APIView):
    """PUT: keep a value; null takes it back. 404 for an unknown key, 400 for an unfit value."""

    permission = "preference.keep"

    @extend_schema(request=PreferenceInput, responses={204: None})
    def put(self, request: Request, key: str) -> Response:
        if key not in KEYS:
            raise NotFound(gettext("There is no such setting."))
        given = PreferenceInput(data=request.data)
        given.is_valid(raise_exception=True)
        value = given.validated_data["value"]
        try:
            keep_preference(request.user, key, value)
        except PreferenceRefused as refusal:
            raise ValidationError({"detail": str(refusal)}) from None
        if key == "language":
            remember_language(request, value)
        return Response(status=status.HTTP_204_NO_CONTENT)
