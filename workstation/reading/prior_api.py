"""The API of priors. Each view only translates; the services decide."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiTypes, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from workstation.accounts.services import address_of, record
from workstation.reading.asking import NO_STORE, case_for, checked, conflict
from workstation.reading.models import PriorPair
from workstation.reading.prior_items import FINDING, MEASUREMENT
from workstation.reading.prior_pairs import (
    pair_again,
    pair_up,
    register_prior,
    take_out_prior,
    unpair,
)
from workstation.reading.prior_view import Priors, pair_json, priors_json, proposals
from workstation.reading.services import ReviewRefused
from workstation.receiving.models import Study
from workstation.worklist.models import Case


class Named(serializers.Serializer[dict[str, Any]]):
    kind = serializers.ChoiceField([MEASUREMENT, FINDING])
    id = serializers.IntegerField(min_value=1, max_value=2**62)


class PairInput(serializers.Serializer[dict[str, Any]]):
    current = Named()
    earlier = Named()
    study = serializers.IntegerField(
        min_value=1, max_value=2**62, required=False, allow_null=True, default=None
    )
    is_node = serializers.BooleanField(default=False)


class NothingElse(serializers.Serializer[dict[str, Any]]):
    """Nothing but the address is needed."""


class PriorsView(APIView):
    """GET: the patient's earlier studies by relevance, and what was compared with them."""

    permission = "case.view"

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        found = priors_json(case, request.user)
        # Sizes of earlier cases are told: those cases were seen too.
        for pk in [case.pk, *(int(one) for one in found["earlier"])]:
            seen = Case.objects.select_related("site").get(pk=pk)
            record(
                "view", user=request.user, site=seen.site, obj=seen, case_id=pk,
                remote_address=address_of(request), detail={"what": "priors", "of": case.pk},
            )  # fmt: skip
        return Response(found, headers=NO_STORE)


class PriorView(APIView):
    """POST: register an earlier study with this case. DELETE: take it out again."""

    permission = "assembly.place"

    @extend_schema(request=NothingElse, responses=None)
    def post(self, request: Request, case_id: int, study_id: int) -> Response:
        return self._steer(request, case_id, study_id, register_prior, status.HTTP_202_ACCEPTED)

    @extend_schema(responses=None)
    def delete(self, request: Request, case_id: int, study_id: int) -> Response:
        return self._steer(request, case_id, study_id, take_out_prior, status.HTTP_204_NO_CONTENT)

    def _steer(
        self, request: Request, case_id: int, study_id: int, verb: Any, done: int
    ) -> Response:
        case = case_for(request, case_id)
        # A study that the case compares with is part of it, whatever site it is of.
        rows = Study.objects.for_user(request.user) | case.studies.all()
        study = get_object_or_404(rows.distinct(), pk=study_id)
        try:
            verb(case, study, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(status=done)


class PriorPairsView(APIView):
    """POST: these two are the same lesion."""

    permission = "measurement.make"

    @extend_schema(request=PairInput, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, case_id: int) -> Response:
        case = case_for(request, case_id)
        data = checked(PairInput, request)
        near = next(
            (
                one["mm"]
                for one in proposals(Priors(case, request.user))
                if one["current"] == data["current"] and one["earlier"] == data["earlier"]
            ),
            None,
        )
        try:
            row = pair_up(
                case, request.user, current=_named(data["current"]),
                earlier=_named(data["earlier"]), study=data["study"], is_node=data["is_node"],
                proposed_mm=near, address=address_of(request),
            )  # fmt: skip
        except ReviewRefused as reason:
            return conflict(reason)
        shown = pair_json(row, Priors(case, request.user))
        return Response(shown, status=status.HTTP_201_CREATED)


class PriorPairView(APIView):
    """DELETE: take the pair back."""

    permission = "measurement.make"

    @extend_schema(responses=None)
    def delete(self, request: Request, pair_id: int) -> Response:
        row = _pair(request, pair_id)
        try:
            unpair(row, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PriorPairRestoreView(APIView):
    """POST: bring a pair back that was taken back."""

    permission = "measurement.make"

    @extend_schema(request=NothingElse, responses=OpenApiTypes.OBJECT)
    def post(self, request: Request, pair_id: int) -> Response:
        row = _pair(request, pair_id)
        try:
            again = pair_again(row, request.user, address=address_of(request))
        except ReviewRefused as reason:
            return conflict(reason)
        return Response(pair_json(again, Priors(row.case, request.user)))


def _pair(request: Request, pair_id: int) -> PriorPair:
    rows = PriorPair.objects.for_user(request.user).select_related("case__site", "case__patient")
    return get_object_or_404(rows, pk=pair_id)


def _named(data: dict[str, Any]) -> tuple[str, int]:
    return data["kind"], data["id"]
