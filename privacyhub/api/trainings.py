"""Training runs, and what one would cost."""

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

from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.api.answers import Accepted, accepted, find, problems
from privacyhub.api.idempotency import idempotent
from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Version
from privacyhub.engines.dp.accounting import odds
from privacyhub.governance.models import Part
from privacyhub.training import recipes, services
from privacyhub.training.models import Model, Privacy, TrainingRun
from privacyhub.training.plans import Quote
from privacyhub.training.sources import Source


class TuningBody(serializers.Serializer[Any]):
    """A search over settings: the best of a secret number of trials is kept."""

    space = serializers.DictField(
        child=serializers.ListField(),
        help_text="values to try, by setting: learning_rate, clip_norm, hidden, "
        "activation, optimizer, momentum, schedule, ema, embedding_width, "
        "class_weights",
    )
    mean_trials = serializers.FloatField(
        required=False, help_text="above 1, at most 50; default 5"
    )
    trials = serializers.ChoiceField(
        choices=["poisson", "geometric"],
        required=False,
        help_text="the distribution of the number of trials; default poisson",
    )


class RecipeBody(serializers.Serializer[Any]):
    """What to train, on `version` or `after` a run. What is left out goes by rule."""

    version = serializers.UUIDField(
        required=False, help_text="to train on; this or `after`"
    )
    after = serializers.UUIDField(
        required=False,
        help_text="an anonymization run, queued or running, whose release is trained "
        "on when it is there; this or `version`. The budget is reserved at once, and "
        "free again where there is no release",
    )
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    target = serializers.CharField(
        required=False, help_text="default: the version's target column"
    )
    features = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="default: every column but identifiers, unit key and target",
    )
    task = serializers.ChoiceField(
        choices=["binary", "multiclass", "regression"], required=False
    )
    classes = serializers.ListField(
        child=serializers.CharField(),
        required=False,
        help_text="declared names of the target's classes; of two the second is the "
        "positive one. Left out and not declared with the column, they are taken from "
        "the profile, and the guarantee says that they are not covered",
    )
    privacy = serializers.ChoiceField(choices=Privacy.choices, default=Privacy.DP)
    reason = serializers.CharField(
        required=False, allow_blank=True, help_text="why without privacy"
    )
    epsilon = serializers.CharField(required=False, help_text="decimal, default 1")
    delta = serializers.CharField(
        required=False, help_text="decimal, default 1/(10 N) of the declared N"
    )
    metrics_epsilon = serializers.CharField(
        required=False, help_text="decimal, default 0.5; paid by held-out units"
    )
    holdout = serializers.FloatField(required=False)
    settings = serializers.DictField(
        required=False,
        help_text="what overrides the engine's rule: epochs, expected_batch, "
        "learning_rate, clip_norm, clip_quantile (between 0 and 1: the clip norm "
        "follows this quantile of the gradients' norms from clip_norm on, at the same "
        "price), hidden (widths, or dense layers as objects), activation, "
        "embedding_width, optimizer, momentum, schedule, ema, class_weights (one a "
        "class, in their order), implementation (engine, or TensorFlow Privacy's own "
        "as a reference: dpsequential, dpkeras)",
    )
    tuning = TuningBody(
        required=False,
        help_text="priced whole by private selection, and charged before it starts",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("version" in attrs) == ("after" in attrs):
            raise serializers.ValidationError("Name either a version or a run.")
        return attrs


class TrainingRequest(RecipeBody):
    """A recipe; with `model`, the run makes a new version of that model."""

    model = serializers.UUIDField(required=False)


class PriceBody(serializers.Serializer[Any]):
    """One price of the ledger: who pays what."""

    purpose = serializers.CharField()
    part = serializers.ChoiceField(choices=Part.choices)
    epsilon = serializers.CharField()
    delta = serializers.CharField()
    event = serializers.DictField(source="event.to_dict")


class EpsilonAfterBody(serializers.Serializer[Any]):
    """What the training units have paid when this many steps are charged."""

    step = serializers.IntegerField()
    epsilon = serializers.FloatField()


class QuoteBody(serializers.Serializer[Any]):
    """What a run would do, cost and leave. Computed without reading a row."""

    epsilon = serializers.CharField()
    delta = serializers.CharField()
    odds = serializers.FloatField(
        allow_null=True, help_text="how often an attacker with a 50% prior is right"
    )
    metrics_epsilon = serializers.CharField()
    sampling_probability = serializers.FloatField(allow_null=True)
    noise_multiplier = serializers.FloatField(allow_null=True)
    steps = serializers.IntegerField()
    expected_batch = serializers.IntegerField()
    epochs = serializers.FloatField()
    declared_units = serializers.IntegerField()
    prices = PriceBody(many=True)
    uses_of_cap = serializers.CharField()
    cap = serializers.CharField()
    cap_of = serializers.CharField(help_text="whose cap; empty: the ledger's own")
    left = serializers.CharField()
    left_after = serializers.CharField()
    fits = serializers.BooleanField()
    refused_for = serializers.CharField(
        help_text="who has the `model` too and whose own cap does not hold the run"
    )
    runs_that_fit = serializers.IntegerField()
    epsilon_table = EpsilonAfterBody(many=True)


class TrainingBody(serializers.ModelSerializer[TrainingRun]):
    """A training run, for those who manage its dataset and for auditors.

    `version` is null while the run `after` has not released it.
    """

    owner = serializers.CharField(source="owner.username")
    recipe = serializers.DictField(source="recipe.spec")
    state = serializers.CharField(source="job.state")
    job = serializers.UUIDField(source="job_id")
    assess_job = serializers.UUIDField(source="assess_job_id", allow_null=True)
    model_version = serializers.SerializerMethodField()
    plan = serializers.DictField()

    class Meta:
        model = TrainingRun
        fields = (
            "id",
            "model",
            "version",
            "after",
            "model_version",
            "job",
            "assess_job",
            "state",
            "privacy",
            "reason",
            "recipe",
            "plan",
            "retrain_of",
            "sweep",
            "owner",
            "created_at",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.UUIDField(allow_null=True))
    def get_model_version(self, run: TrainingRun) -> str | None:
        made = getattr(run, "model_version", None)
        return str(made.pk) if made else None


class TrainingAccepted(Accepted):
    """The training's job, and the run that tells the assessment's."""

    training = serializers.UUIDField()
    model = serializers.UUIDField()
    assess_job = serializers.UUIDField()


class TrainingQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    model = serializers.UUIDField(required=False)
    version = serializers.UUIDField(required=False)
    after = serializers.UUIDField(required=False, help_text="an anonymization run")
    privacy = serializers.ChoiceField(choices=Privacy.choices, required=False)


class TrainingList(ListAPIView):
    """Training runs; a POST queues one."""

    serializer_class = TrainingBody

    def get_queryset(self) -> QuerySet[TrainingRun]:
        if getattr(self, "swagger_fake_view", False):
            return TrainingRun.objects.none()
        query = TrainingQuery(data=self.request.query_params)
        query.is_valid(raise_exception=True)
        return _runs(self.request.user).filter(**query.validated_data)

    @extend_schema(
        operation_id="trainings_list",
        parameters=[TrainingQuery],
        responses={200: TrainingBody(many=True), **problems(400, 401)},
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().get(request, *args, **kwargs)

    @extend_schema(
        operation_id="trainings_create",
        request=TrainingRequest,
        responses={202: TrainingAccepted, **problems(400, 401, 403, 404, 409, 429)},
    )
    @idempotent
    def post(self, request: Request) -> Response:
        source, recipe, asked = recipe_asked(request, TrainingRequest)
        version = source.version
        run = services.submit(
            version=version,
            after=source.after,
            recipe=recipe,
            by=request.user,
            name=asked.get("name") or f"{recipe.target} of {version.dataset.name}",
            reason=asked.get("reason", ""),
            model=model_asked(request.user, asked),
        )
        return accepted(
            run.job,
            training=str(run.pk),
            model=str(run.model_id),
            assess_job=str(run.assess_job_id),
        )


class TrainingDetail(APIView):
    """One training run."""

    @extend_schema(
        operation_id="trainings_retrieve",
        responses={200: TrainingBody, **problems(401, 404)},
    )
    def get(self, request: Request, pk: Any) -> Response:
        return Response(TrainingBody(find(_runs(request.user), pk)).data)


class TrainingPrice(APIView):
    """What a run would cost. Reads declarations and the ledger, no row."""

    @extend_schema(
        operation_id="trainings_price",
        request=TrainingRequest,
        responses={200: QuoteBody, **problems(400, 401, 403, 404, 409)},
    )
    def post(self, request: Request) -> Response:
        source, recipe, asked = recipe_asked(request, TrainingRequest)
        quote = services.price(
            version=source.version,
            recipe=recipe,
            recipient=request.user.username,
            model=model_asked(request.user, asked),
        )
        return Response(QuoteBody(quote_fields(quote)).data)


def quote_fields(quote: Quote) -> dict[str, Any]:
    """A quote, flat. Epsilons and shares of the cap are decimal strings."""
    plan = quote.plan
    return {
        "epsilon": plan.epsilon if plan.training else "",
        "delta": plan.delta,
        "odds": odds(float(plan.epsilon_in_all)) if plan.training else None,
        "metrics_epsilon": plan.metrics_epsilon,
        "sampling_probability": plan.training and plan.training.sampling_probability,
        "noise_multiplier": plan.training and plan.training.noise_multiplier,
        "steps": plan.spec.steps,
        "expected_batch": plan.spec.expected_batch,
        "epochs": plan.spec.epochs,
        "declared_units": plan.declared_units,
        "prices": plan.prices,
        "uses_of_cap": str(quote.uses),
        "cap": str(quote.balance.cap),
        "cap_of": quote.cap_of,
        "left": str(quote.balance.left),
        "left_after": str(quote.left_after),
        "fits": quote.fits,
        "refused_for": quote.refused_for,
        "runs_that_fit": quote.runs_that_fit,
        "epsilon_table": plan.epsilon_table,
    }


def recipe_asked(
    request: Request, body_class: type[RecipeBody]
) -> tuple[Source, recipes.RecipeSpec, dict[str, Any]]:
    """What to train on, which the user must manage, and the recipe for it."""
    body = body_class(data=request.data)
    body.is_valid(raise_exception=True)
    asked = body.validated_data
    source = _source(request.user, asked)
    datasets.require_manager(dataset=source.version.dataset, by=request.user)
    recipe = recipes.build(
        version=source.version, after=source.after, request=asked, by=request.user
    )
    return source, recipe, asked


def model_asked(user: Any, asked: dict[str, Any]) -> Model | None:
    """The model that is to get a new version, which the user must manage, or 404.

    None where none is named: then a model is made.
    """
    if "model" not in asked:
        return None
    found: Model = find(Model.objects.managed_by(user), asked["model"])
    return found


def _source(user: Any, asked: dict[str, Any]) -> Source:
    if "after" not in asked:
        return Source(version=find(Version.objects.visible_to(user), asked["version"]))
    run = find(AnonymizationRun.objects.visible_to(user), asked["after"])
    return Source(version=run.version, after=run)


def _runs(user: Any) -> QuerySet[TrainingRun]:
    return TrainingRun.objects.visible_to(user).select_related(
        "owner", "recipe", "job", "model_version"
    )


urlpatterns = [
    path("trainings/", TrainingList.as_view(), name="trainings"),
    path("trainings/price/", TrainingPrice.as_view(), name="training_price"),
    path("trainings/<uuid:pk>/", TrainingDetail.as_view(), name="training"),
]
