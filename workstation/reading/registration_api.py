"""The API of the registration tools. Each view only translates; ``aligning.py`` decides."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.services import address_of
from workstation.analyzing.models import Refinement, RefinementModel, Registration
from workstation.analyzing.services import run_summary
from workstation.analyzing.volume_files import VolumeUnreadable
from workstation.reading.aligning import (
    decide_registration,
    fit_landmarks,
    map_points,
    place_landmark,
    refine_from_here,
    remove_landmark,
    run_again,
    steer_refinement,
)
from workstation.reading.asking import NO_STORE, case_for, checked, conflict
from workstation.reading.models import LandmarkPair, RegistrationDecisionKind
from workstation.reading.services import ReviewRefused
from workstation.reading.tools_view import NO_PAIRS, landmarks_json, refinement_json, tools_json


class DecisionInput(serializers.Serializer[dict[str, Any]]):
    decision = serializers.ChoiceField(RegistrationDecisionKind.values)
    reason = serializers.CharField(max_length=500, allow_blank=True, default="")
    matrix = serializers.JSONField(default=None, allow_null=True)
    method = serializers.ChoiceField(["", "hand", "landmarks"], default="")
    refinement = serializers.IntegerField(default=None, allow_null=True)


class LandmarkInput(serializers.Serializer[dict[str, Any]]):
    reference = serializers.JSONField()
    moving = serializers.JSONField()
    label = serializers.CharField(max_length=64, allow_blank=True, default="")


class RefinementInput(serializers.Serializer[dict[str, Any]]):
    model = serializers.ChoiceField(RefinementModel.values)
    matrix = serializers.JSONField(default=None, allow_null=True)


class MapInput(serializers.Serializer[dict[str, Any]]):
    points = serializers.JSONField()
    refinement = serializers.IntegerField(default=None, allow_null=True)

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        # ``from`` is a word of Python's own.
        return {**super().get_fields(), "from": serializers.ChoiceField(["reference", "moving"])}


def _registration(request: Request, registration_id: int) -> Registration:
    rows = Registration.objects.for_user(request.user).select_related(
        "run__case", "series", "reference"
    )
    return get_object_or_404(rows, pk=registration_id)


def _refinement(request: Request, refinement_id: int) -> Refinement:
    rows = Refinement.objects.for_user(request.user).select_related(
        "registration__run__case", "by"
    )
    return get_object_or_404(rows, pk=refinement_id)


class RegistrationView(APIView):
    """GET: what the tools show of one registration."""

    permission = "case.view"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, registration_id: int) -> Response:
        return Response(tools_json(_registration(request, registration_id)), headers=NO_STORE)


class RegistrationDecisionView(APIView):
    """POST: accept, nudge, reject a registration, or take the decision back."""

    permission = "registration.decide"

    @extend_schema(request=DecisionInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, registration_id: int) -> Response:
        registration = _registration(request, registration_id)
        data = checked(DecisionInput, request)
        try:
            new = decide_registration(
                registration, request.user, **data, address=address_of(request)
            )
        except ReviewRefused as reason:
            return conflict(reason)
        return Response({"matrix": new.matrix, "fusion": new.as_json()})


class LandmarksView(APIView):
    """POST: place a landmark pair."""

    permission = "registration.decide"

    @extend_schema(request=LandmarkInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, registration_id: int) -> Response:
        registration = _registration(request, registration_id)
        data = checked(LandmarkInput, request)
        try:
            place_landmark(registration, request.user, **data, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        # The pair is kept: nothing after it may answer as if it were not.
        return Response(landmarks_json(registration), status=status.HTTP_201_CREATED)


class LandmarkView(APIView):
    """DELETE: undo a landmark pair."""

    permission = "registration.decide"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def delete(self, request: Request, landmark_id: int) -> Response:
        rows = LandmarkPair.objects.for_user(request.user).select_related("registration__run__case")
        pair = get_object_or_404(rows, pk=landmark_id)
        try:
            registration = remove_landmark(pair, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(landmarks_json(registration) or NO_PAIRS)


class LandmarkFitView(APIView):
    """POST: the rigid fit to the landmarks; nothing is kept."""

    permission = "registration.decide"

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, registration_id: int) -> Response:
        registration = _registration(request, registration_id)
        try:
            return Response(fit_landmarks(registration), headers=NO_STORE)
        except ReviewRefused as reason:
            return conflict(reason)


class RefinementsView(APIView):
    """POST: refine from here."""

    permission = "registration.decide"

    @extend_schema(request=RefinementInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, registration_id: int) -> Response:
        registration = _registration(request, registration_id)
        data = checked(RefinementInput, request)
        try:
            row = refine_from_here(
                registration, request.user, **data, address=address_of(request)
            )
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(refinement_json(row), status=status.HTTP_202_ACCEPTED)


class RefinementView(APIView):
    """GET: a refinement with its progress or result."""

    permission = "case.view"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, refinement_id: int) -> Response:
        return Response(refinement_json(_refinement(request, refinement_id)), headers=NO_STORE)


class RefinementActView(APIView):
    """POST: cancel, retry or discard a refinement."""

    permission = "registration.decide"
    what = ""

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, refinement_id: int) -> Response:
        row = _refinement(request, refinement_id)
        try:
            steer_refinement(row, request.user, what=self.what, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(refinement_json(_refinement(request, refinement_id)))


class MapView(APIView):
    """POST: points of one space in the other, deformation included; nothing is kept."""

    permission = "case.view"

    @extend_schema(request=MapInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, registration_id: int) -> Response:
        registration = _registration(request, registration_id)
        data = checked(MapInput, request)
        refinement = None
        if data["refinement"] is not None:
            refinement = get_object_or_404(registration.refinements, pk=data["refinement"])
        try:
            points, model = map_points(
                registration, data["points"], origin=data["from"], refinement=refinement
            )
        except (ReviewRefused, VolumeUnreadable) as reason:
            return conflict(reason)
        to = "moving" if data["from"] == "reference" else "reference"
        return Response({"points": points, "to": to, "model": model}, headers=NO_STORE)


class RerunView(APIView):
    """POST: analyse again with the alignments on record."""

    permission = "registration.decide"

    @extend_schema(request=None, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        try:
            run = run_again(case, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response({"run": run_summary(run)}, status=status.HTTP_202_ACCEPTED)
