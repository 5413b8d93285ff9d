"""The API of measurements and key images. Each view only translates; the services decide."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.services import address_of, record
from workstation.analyzing.volume_files import VolumeUnreadable
from workstation.reading.asking import NO_STORE, case_for, checked, conflict
from workstation.reading.key_images import label_key_image, make_key_image
from workstation.reading.marks import hide, restore
from workstation.reading.measurement_view import (
    hidden_json,
    key_image_json,
    marks_json,
    measurement_json,
    screen_of,
)
from workstation.reading.measurements import change_measurement, make_measurement
from workstation.reading.models import KeyImage, Measurement, MeasurementTool
from workstation.reading.services import ReviewRefused


class MeasurementChange(serializers.Serializer[dict[str, Any]]):
    points = serializers.JSONField(required=False)
    plane = serializers.JSONField(required=False, allow_null=True)
    layers = serializers.ListField(child=serializers.IntegerField(), max_length=500, required=False)
    label = serializers.CharField(max_length=200, allow_blank=True, required=False)
    purpose = serializers.ChoiceField(["", "liver"], required=False)
    threshold = serializers.JSONField(required=False, allow_null=True)


class MeasurementInput(MeasurementChange):
    tool = serializers.ChoiceField(MeasurementTool.values)
    points = serializers.JSONField()
    sent = serializers.UUIDField(required=False, allow_null=True)


class KeyImageInput(serializers.Serializer[dict[str, Any]]):
    label = serializers.CharField(max_length=200, allow_blank=True, default="")
    state = serializers.JSONField()
    picture = serializers.CharField(max_length=6_000_000, allow_blank=True, default="")


class KeyImageChange(serializers.Serializer[dict[str, Any]]):
    label = serializers.CharField(max_length=200, allow_blank=True)


class NoInput(serializers.Serializer[dict[str, Any]]):
    """Nothing but the address is needed."""


def _measurement(request: Request, measurement_id: int) -> Measurement:
    rows = Measurement.objects.for_user(request.user).select_related("case", "by")
    return get_object_or_404(rows, pk=measurement_id)


def _key_image(request: Request, key_image_id: int) -> KeyImage:
    rows = KeyImage.objects.for_user(request.user).select_related("case__site", "by")
    return get_object_or_404(rows.defer("picture"), pk=key_image_id)


def _shown(row: Measurement) -> dict[str, Any]:
    fresh = Measurement.objects.select_related("case", "by").prefetch_related("values")
    return measurement_json(fresh.get(pk=row.pk), screen_of(row.case))


class MeasurementsView(APIView):
    """GET: all marks of a case. POST: a measurement, computed on the server."""

    permission = "measurement.make"
    permissions = {"GET": "case.view"}

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        record(
            "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
            remote_address=address_of(request), detail={"what": "measurements"},
        )  # fmt: skip
        marks = marks_json(case, screen_of(case))
        return Response({**marks, "hidden": hidden_json(case)}, headers=NO_STORE)

    @extend_schema(request=MeasurementInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        data = checked(MeasurementInput, request)
        try:
            made = make_measurement(case, request.user, **data, address=address_of(request))
        except (ReviewRefused, VolumeUnreadable) as reason:
            return conflict(reason)
        return Response(_shown(made), status=status.HTTP_201_CREATED)


class MeasurementView(APIView):
    """PATCH: change it, which computes it again. DELETE: hide it."""

    permission = "measurement.make"

    @extend_schema(request=MeasurementChange, responses=OpenApiTypes.OBJECT)
    def patch(self, request: Request, measurement_id: int) -> Response:
        measurement = _measurement(request, measurement_id)
        data = checked(MeasurementChange, request)
        try:
            row = change_measurement(
                measurement, request.user, **data, address=address_of(request)
            )
        except (ReviewRefused, VolumeUnreadable) as reason:
            return conflict(reason)
        return Response(_shown(row))

    @extend_schema(responses=None)
    def delete(self, request: Request, measurement_id: int) -> Response:
        return _hidden(request, _measurement(request, measurement_id))


class MeasurementRestoreView(APIView):
    """POST: bring a deleted measurement back."""

    permission = "measurement.make"

    @extend_schema(request=NoInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, measurement_id: int) -> Response:
        measurement = _measurement(request, measurement_id)
        try:
            restore(measurement, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(_shown(measurement))


class KeyImagesView(APIView):
    """POST: keep what is on screen."""

    permission = "measurement.make"

    @extend_schema(request=KeyImageInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        data = checked(KeyImageInput, request)
        try:
            made = make_key_image(case, request.user, **data, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        shown = key_image_json(made, screen_of(case))
        return Response(shown, status=status.HTTP_201_CREATED)


class KeyImageView(APIView):
    """PATCH: other words. DELETE: hide it."""

    permission = "measurement.make"

    @extend_schema(request=KeyImageChange, responses=OpenApiTypes.OBJECT)
    def patch(self, request: Request, key_image_id: int) -> Response:
        image = _key_image(request, key_image_id)
        data = checked(KeyImageChange, request)
        try:
            row = label_key_image(image, request.user, **data, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(key_image_json(row, screen_of(image.case)))

    @extend_schema(responses=None)
    def delete(self, request: Request, key_image_id: int) -> Response:
        return _hidden(request, _key_image(request, key_image_id))


class KeyImageRestoreView(APIView):
    """POST: bring a deleted key image back."""

    permission = "measurement.make"

    @extend_schema(request=NoInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, key_image_id: int) -> Response:
        image = _key_image(request, key_image_id)
        try:
            restore(image, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(key_image_json(image, screen_of(image.case)))


class KeyImagePictureView(APIView):
    """GET: the picture that the browser sent."""

    permission = "case.view"

    @extend_schema(responses=OpenApiTypes.BINARY)
    def get(self, request: Request, key_image_id: int) -> HttpResponse:
        image = _key_image(request, key_image_id)
        if not image.picture_type:
            return Response(
                {"detail": "No picture was kept."}, status=status.HTTP_404_NOT_FOUND
            )
        record(
            "view", user=request.user, site=image.case.site, obj=image, case_id=image.case_id,
            remote_address=address_of(request), detail={"what": "key image"},
        )  # fmt: skip
        return HttpResponse(
            bytes(image.picture), content_type=image.picture_type,
            headers={**NO_STORE, "X-Content-Type-Options": "nosniff"},
        )  # fmt: skip


def _hidden(request: Request, row: Measurement | KeyImage) -> Response:
    try:
        hide(row, request.user, address=address_of(request))
    except ReviewRefused as reason:
        return conflict(reason)
    return Response(status=status.HTTP_204_NO_CONTENT)
