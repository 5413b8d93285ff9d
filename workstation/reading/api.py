"""The viewer's JSON API. Each view only translates; the services decide."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.permissions import requires
from workstation.accounts.services import address_of, record
from workstation.analyzing.models import Finding
from workstation.analyzing.volume_files import VolumeUnreadable
from workstation.reading.asking import NO_STORE, case_for, checked, conflict
from workstation.reading.case_view import case_view, finding_json
from workstation.reading.services import (
    ReviewRefused,
    check_points,
    probe,
    review_finding,
)
from workstation.reading.thumbnails import NoPicture, thumbnail_png


class ReviewInput(serializers.Serializer[dict[str, Any]]):
    state = serializers.ChoiceField(["accepted", "edited", "rejected", "pending"])
    label = serializers.CharField(max_length=100, allow_blank=True, default="")
    location = serializers.CharField(max_length=100, allow_blank=True, default="")
    comment = serializers.CharField(max_length=500, allow_blank=True, default="")


class ProbeInput(serializers.Serializer[dict[str, Any]]):
    point = serializers.JSONField()
    layers = serializers.ListField(child=serializers.IntegerField(), max_length=500, required=False)


class CaseView(APIView):
    """GET: everything a viewer needs before the first slice."""

    permission = "case.view"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        record(
            "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
            remote_address=address_of(request), detail={"what": "images"},
        )  # fmt: skip
        return Response(case_view(case, request.user), headers=NO_STORE)


class ProbeView(APIView):
    """POST: the value of every fused layer at a point; nothing is stored."""

    permission = "case.view"

    @extend_schema(request=ProbeInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        data = checked(ProbeInput, request)
        try:
            [point] = check_points([data["point"]], 1)
            values = probe(case, point, data.get("layers"))
        except (ReviewRefused, VolumeUnreadable) as reason:
            return conflict(reason)
        return Response({"point": point, "values": values}, headers=NO_STORE)


class FindingReviewView(APIView):
    """POST: accept, edit, reject a finding, or take the judgement back."""

    permission = "finding.review"

    @extend_schema(request=ReviewInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, finding_id: int) -> Response:
        rows = Finding.objects.for_user(request.user).select_related("run__case")
        finding = get_object_or_404(rows, pk=finding_id)
        data = checked(ReviewInput, request)
        try:
            review_finding(finding, request.user, **data, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        fresh = Finding.objects.select_related("review__by").get(pk=finding.pk)
        return Response(finding_json(fresh))


@require_GET
@requires("case.view")
def thumbnail(request: HttpRequest, case_id: int) -> HttpResponse:
    """The middle slice of the reference series as PNG."""
    case = case_for(request, case_id)
    try:
        png = thumbnail_png(case)
    except NoPicture:
        return HttpResponse("No image has been assembled yet.", status=404)
    record(
        "view", user=request.user, site=case.site, obj=case, case_id=case.pk,
        remote_address=address_of(request), detail={"what": "thumbnail"},
    )  # fmt: skip
    return HttpResponse(png, content_type="image/png", headers=NO_STORE)
