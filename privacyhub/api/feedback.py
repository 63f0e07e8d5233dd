"""Feedback: given, read, priced, accepted or declined."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent, idempotent_atomic
from privacyhub.assessment.report_fields import decimal_down, decimal_up, odds_of_100
from privacyhub.feedback import services
from privacyhub.feedback.models import Decision, Feedback, Problem
from privacyhub.training.models import ModelVersion
from privacyhub.training.plans import Quote


class FeedbackBody(serializers.ModelSerializer[Feedback]):
    """One form and what became of it. `version`, `run`: what its acceptance made."""

    author = serializers.CharField(source="author.username")
    decided_by = serializers.SerializerMethodField()
    job = serializers.SerializerMethodField()

    class Meta:
        model = Feedback
        fields = (
            "id",
            "model_version",
            "author",
            "rating",
            "problem",
            "group",
            "text",
            "corrections_count",
            "state",
            "decided_by",
            "decided_at",
            "reason",
            "version",
            "run",
            "job",
            "created_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_decided_by(self, feedback: Feedback) -> str | None:
        return feedback.decided_by.username if feedback.decided_by else None

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_job(self, feedback: Feedback) -> str | None:
        """The training job of the retrain."""
        return str(feedback.run.job_id) if feedback.run else None


class NewCorrection(serializers.Serializer[Any]):
    """The right answer for a prediction: one of the model's classes, or a number."""

    prediction = serializers.UUIDField()
    label = serializers.JSONField()


class NewFeedback(serializers.Serializer[Any]):
    """The form: a rating from 1 to 5, the kind of problem, and what was seen."""

    model_version = serializers.UUIDField()
    rating = serializers.IntegerField(min_value=1, max_value=5)
    problem = serializers.ChoiceField(choices=Problem.choices)
    group = serializers.CharField(
        max_length=services.LONGEST_GROUP, allow_blank=True, default=""
    )
    text = serializers.CharField(
        max_length=services.LONGEST_TEXT, allow_blank=True, default=""
    )
    corrections = NewCorrection(many=True, required=False)


class Reason(serializers.Serializer[Any]):
    """Why the feedback is declined; its author reads it."""

    reason = serializers.CharField(max_length=2000)


class RetrainPriceBody(serializers.Serializer[Any]):
    """What accepting would cost. Epsilons are decimal strings.

    `uses` and `left_after` are parts of the ledger's cap; `fits` says whether the
    ledger would accept it now.
    """

    epsilon = serializers.CharField()
    delta = serializers.CharField()
    metrics_epsilon = serializers.CharField()
    odds_of_100 = serializers.CharField(allow_null=True)
    cap = serializers.CharField()
    left = serializers.CharField()
    uses = serializers.CharField()
    left_after = serializers.CharField()
    fits = serializers.BooleanField()
    refused_for = serializers.CharField(
        help_text="who gets the model too and whose own cap does not hold it"
    )


class AcceptedFeedback(Accepted):
    """The training job; `correct_job` runs first where labels were corrected."""

    feedback = serializers.UUIDField()
    training = serializers.UUIDField()
    correct_job = serializers.UUIDField(allow_null=True)


class FeedbackQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model_version = serializers.UUIDField(required=False)
    state = serializers.ChoiceField(choices=Decision.choices, required=False)


class FeedbackList(ListAPIView):
    """The user's own feedback, and all about models that they manage."""

    serializer_class = FeedbackBody

    def get_queryset(self) -> QuerySet[Feedback]:
        if getattr(self, "swagger_fake_view", False):
            return Feedback.objects.none()
        query = FeedbackQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return _feedback(self.request.user).filter(**query.validated_data)

    @extend_schema(
        operation_id="feedback_list",
        parameters=[FeedbackQuery],
        responses={200: FeedbackBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="feedback_create",
        request=NewFeedback,
        responses={201: FeedbackBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request) -> Response:
        asked = _valid(NewFeedback, request)
        known = ModelVersion.objects.visible_to(request.user)
        model_version = find(known, asked.pop("model_version"))
        given = services.submit(
            model_version=model_version, author=request.user, **asked
        )
        return Response(FeedbackBody(given).data, status=201)


class FeedbackDetail(APIView):
    """One feedback."""

    @extend_schema(
        operation_id="feedback_retrieve",
        responses={200: FeedbackBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(FeedbackBody(_find(request, pk)).data)


class FeedbackPrice(APIView):
    """What the retrain would cost, before anything is decided. Reads no row."""

    @extend_schema(
        operation_id="feedback_price",
        responses={200: RetrainPriceBody, **problems(401, 403, 404, 409)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        quote = services.price(feedback=_find(request, pk), by=request.user)
        return Response(_price(quote))


class FeedbackAccept(APIView):
    """Queues the retrain, its budget reserved.

    409 `over_cap` or `recipient_cap` leaves it open.
    """

    @extend_schema(
        operation_id="feedback_accept",
        request=None,
        responses={202: AcceptedFeedback, **problems(401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request, pk: Any) -> Response:
        taken = services.accept(feedback=_find(request, pk), by=request.user)
        run = taken.run
        assert run is not None  # noqa: S101 - an accepted feedback has one
        more = {
            "feedback": str(taken.pk),
            "training": str(run.pk),
            "correct_job": str(run.job.depends_on_id)
            if run.job.depends_on_id
            else None,
        }
        return accepted(run.job, **more)


class FeedbackDecline(APIView):
    """Closes the feedback with a reason."""

    @extend_schema(
        operation_id="feedback_decline",
        request=Reason,
        responses={200: FeedbackBody, **problems(400, 401, 403, 404, 409)},
    )
    @idempotent_atomic
    def post(self, request: Request, pk: Any) -> Response:
        declined = services.decline(
            feedback=_find(request, pk),
            by=request.user,
            reason=_valid(Reason, request)["reason"],
        )
        return Response(FeedbackBody(declined).data)


def _price(quote: Quote) -> dict[str, Any]:
    plan = quote.plan
    return {
        "epsilon": plan.epsilon,
        "delta": plan.delta,
        "metrics_epsilon": plan.metrics_epsilon,
        "odds_of_100": odds_of_100(plan.epsilon_in_all) if plan.training else None,
        "cap": str(quote.balance.cap),
        "left": decimal_down(quote.balance.left),
        "uses": decimal_up(quote.uses),
        "left_after": decimal_down(quote.left_after),
        "fits": quote.fits,
        "refused_for": quote.refused_for,
    }


def _feedback(user: Any) -> QuerySet[Feedback]:
    return Feedback.objects.visible_to(user).select_related(
        "author", "decided_by", "run"
    )


def _find(request: Request, pk: Any) -> Feedback:
    found: Feedback = find(_feedback(request.user), pk)
    return found


def _valid(kind: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


urlpatterns = [
    path("feedback/", FeedbackList.as_view(), name="feedback"),
    path("feedback/<uuid:pk>/", FeedbackDetail.as_view(), name="feedback_detail"),
    path("feedback/<uuid:pk>/price/", FeedbackPrice.as_view(), name="feedback_price"),
    path(
        "feedback/<uuid:pk>/accept/", FeedbackAccept.as_view(), name="feedback_accept"
    ),
    path(
        "feedback/<uuid:pk>/decline/",
        FeedbackDecline.as_view(),
        name="feedback_decline",
    ),
]
