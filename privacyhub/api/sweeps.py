"""Sweeps: one recipe at several epsilons; and the simulated curve before a run."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.urls import path, reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from privacyhub.api.answers import find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.api.trainings import RecipeBody, model_asked, recipe_asked
from privacyhub.assessment import sweep_results
from privacyhub.engines.dp.accounting import odds
from privacyhub.training import curves, services, sweeps
from privacyhub.training.models import Sweep
from privacyhub.training.sweeps import SweepQuote


class SweepRequest(RecipeBody):
    """A recipe with several epsilons; all of its runs are priced together.

    With `model`, its private runs make new versions of that model.
    """

    version = serializers.UUIDField()
    after = None
    epsilon = None
    privacy = None
    epsilons = serializers.ListField(
        child=serializers.CharField(),
        help_text="decimals, each once; 1 to 8 runs with privacy",
    )
    with_bare = serializers.BooleanField(
        default=False,
        help_text="add a run without privacy, as a model of its own; needs a reason",
    )
    model = serializers.UUIDField(required=False)


class SweepRunQuote(serializers.Serializer[Any]):
    """One run's plan, and what it would take of the cap if it ran alone."""

    privacy = serializers.CharField()
    epsilon = serializers.CharField()
    odds = serializers.FloatField(allow_null=True)
    noise_multiplier = serializers.FloatField(allow_null=True)
    steps = serializers.IntegerField()
    uses_of_cap = serializers.CharField()


class SweepQuoteBody(serializers.Serializer[Any]):
    """What all runs cost together, by composition. Computed without reading a row."""

    runs = SweepRunQuote(many=True)
    epsilon_together = serializers.CharField(help_text="of the training units")
    metrics_epsilon_together = serializers.CharField(help_text="of the held-out units")
    delta = serializers.CharField()
    uses_of_cap = serializers.CharField()
    cap = serializers.CharField()
    cap_of = serializers.CharField(help_text="whose cap; empty: the ledger's own")
    left = serializers.CharField()
    left_after = serializers.CharField()
    fits = serializers.BooleanField()
    refused_for = serializers.CharField(
        help_text="who has the `model` too and whose own cap does not hold the private "
        "runs"
    )


class IntervalBody(serializers.Serializer[Any]):
    """A figure with its 95% interval."""

    value = serializers.FloatField()
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)


class SweepResultBody(serializers.Serializer[Any]):
    """A run. `exact` is steward-only and not covered by the guarantee."""

    training = serializers.UUIDField(source="run.pk")
    privacy = serializers.CharField(source="run.privacy")
    epsilon = serializers.CharField()
    noise_multiplier = serializers.FloatField(allow_null=True)
    state = serializers.CharField()
    job = serializers.UUIDField(source="run.job_id")
    assess_job = serializers.UUIDField(source="run.assess_job_id")
    model = serializers.UUIDField(source="run.model_id")
    model_version = serializers.UUIDField(source="version.pk", default=None)
    released = IntervalBody(allow_null=True)
    exact = IntervalBody(allow_null=True)


class SweepBody(serializers.ModelSerializer[Sweep]):
    """A sweep, for whoever sees its model."""

    owner = serializers.CharField(source="owner.username")
    epsilon_together = serializers.CharField(source="together")
    metrics_epsilon_together = serializers.CharField(source="metrics_together")

    class Meta:
        model = Sweep
        fields = (
            "id",
            "model",
            "version",
            "owner",
            "epsilon_together",
            "metrics_epsilon_together",
            "delta",
            "created_at",
        )
        read_only_fields = fields


class SweepDetailBody(SweepBody):
    """A sweep with its runs, by rising epsilon; `measure` names their figure."""

    measure = serializers.CharField()
    runs = SweepResultBody(many=True)

    class Meta(SweepBody.Meta):
        fields = (*SweepBody.Meta.fields, "measure", "runs")
        read_only_fields = fields


class SweepAccepted(serializers.Serializer[Any]):
    """The sweep that was queued; its address tells how far the runs are."""

    sweep = serializers.UUIDField()
    model = serializers.UUIDField()
    jobs = serializers.ListField(child=serializers.UUIDField())
    url = serializers.CharField()


class CurvePointBody(serializers.Serializer[Any]):
    """Utility at one noise multiplier, on simulated rows."""

    epsilon = serializers.FloatField()
    noise_multiplier = serializers.FloatField(source="simulated.noise_multiplier")
    value = serializers.FloatField(source="simulated.value")
    low = serializers.FloatField(source="simulated.low")
    high = serializers.FloatField(source="simulated.high")
    chosen = serializers.BooleanField()


class CurveBody(serializers.Serializer[Any]):
    """A privacy-utility curve from simulated rows alone, and what made it."""

    points = CurvePointBody(many=True)
    without_noise = serializers.FloatField(source="without_noise.value")
    measure = serializers.CharField(source="simulation.measure")
    best_possible = serializers.FloatField(source="simulation.best")
    simulated_rows = serializers.IntegerField(source="simulation.rows")
    rows_a_step = serializers.IntegerField(source="simulation.batch_rows")
    inputs = serializers.IntegerField(source="simulation.inputs")
    steps = serializers.IntegerField(source="simulation.steps")
    repeats = serializers.IntegerField(source="simulation.repeats")
    columns_without_domain = serializers.IntegerField(source="stand_ins")
    is_linear = serializers.BooleanField()


class SweepList(ListAPIView):
    """Sweeps; a POST queues one."""

    serializer_class = SweepBody

    def get_queryset(self) -> QuerySet[Sweep]:
        if getattr(self, "swagger_fake_view", False):
            return Sweep.objects.none()
        return _sweeps(self.request.user)

    @extend_schema(
        operation_id="sweeps_list",
        responses={200: SweepBody(many=True), **problems(401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="sweeps_create",
        request=SweepRequest,
        responses={202: SweepAccepted, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        source, recipe, asked = recipe_asked(request, SweepRequest)
        version = source.version
        sweep = sweeps.submit(
            version=version,
            recipes=sweeps.recipes_of(
                recipe=recipe,
                epsilons=asked["epsilons"],
                with_bare=asked["with_bare"],
            ),
            by=request.user,
            name=asked.get("name") or f"{recipe.target} of {version.dataset.name}",
            reason=asked.get("reason", ""),
            model=model_asked(request.user, asked),
        )
        where = reverse("api:sweep", args=[sweep.pk])
        return Response(
            {
                "sweep": str(sweep.pk),
                "model": str(sweep.model_id),
                "jobs": [str(run.job_id) for run in sweep.runs.all()],
                "url": where,
            },
            status=202,
            headers={"Location": where},
        )


class SweepDetail(APIView):
    """One sweep with its runs."""

    @extend_schema(
        operation_id="sweeps_retrieve",
        responses={200: SweepDetailBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        sweep = find(_sweeps(request.user), pk)
        told = sweep_results.results(sweep=sweep, user=request.user)
        body = SweepBody(sweep).data
        body["measure"] = sweep_results.measure(sweep)
        body["runs"] = SweepResultBody(told, many=True).data
        return Response(body)


class SweepPrice(APIView):
    """What a sweep would cost. Reads declarations and the ledger, no row."""

    @extend_schema(
        operation_id="sweeps_price",
        request=SweepRequest,
        responses={200: SweepQuoteBody, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        source, recipe, asked = recipe_asked(request, SweepRequest)
        wanted = sweeps.recipes_of(
            recipe=recipe, epsilons=asked["epsilons"], with_bare=asked["with_bare"]
        )
        quote = sweeps.price(
            version=source.version,
            recipes=wanted,
            recipient=request.user.username,
            model=model_asked(request.user, asked),
        )
        return Response(SweepQuoteBody(_quote_fields(quote)).data)


class TrainingCurve(APIView):
    """Utility against epsilon on simulated rows, around a recipe's price."""

    @extend_schema(
        operation_id="trainings_curve",
        request=RecipeBody,
        responses={200: CurveBody, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        source, recipe, _ = recipe_asked(request, RecipeBody)
        quote = services.price(version=source.version, recipe=recipe)
        curve = curves.curve_of(recipe=recipe, plan=quote.plan)
        return Response(CurveBody(curve).data)


def _quote_fields(quote: SweepQuote) -> dict[str, Any]:
    return {
        "runs": [
            {
                "privacy": run.recipe.privacy,
                "epsilon": run.plan.epsilon if run.plan.training else "",
                "odds": odds(float(run.plan.epsilon)) if run.plan.training else None,
                "noise_multiplier": run.plan.training
                and run.plan.training.noise_multiplier,
                "steps": run.plan.spec.steps,
                "uses_of_cap": str(run.uses),
            }
            for run in quote.runs
        ],
        "epsilon_together": quote.together,
        "metrics_epsilon_together": quote.metrics_together,
        "delta": quote.delta,
        "uses_of_cap": str(quote.uses),
        "cap": str(quote.balance.cap),
        "cap_of": quote.cap_of,
        "left": str(quote.balance.left),
        "left_after": str(quote.left_after),
        "fits": quote.fits,
        "refused_for": quote.refused_for,
    }


def _sweeps(user: Any) -> QuerySet[Sweep]:
    return Sweep.objects.visible_to(user).select_related("owner", "model")


urlpatterns = [
    path("sweeps/", SweepList.as_view(), name="sweeps"),
    path("sweeps/price/", SweepPrice.as_view(), name="sweep_price"),
    path("sweeps/<uuid:pk>/", SweepDetail.as_view(), name="sweep"),
    path("trainings/curve/", TrainingCurve.as_view(), name="training_curve"),
]
