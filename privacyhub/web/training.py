"""The training wizard: data and unit, target, privacy, review."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4, uuid5

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Role, Version
from privacyhub.governance import ledger
from privacyhub.governance.what_if import Answer
from privacyhub.training import curves, recipes, services, sweeps, what_if
from privacyhub.training.deliveries import audience_of
from privacyhub.training.forms import (
    DataForm,
    PrivacyForm,
    TargetForm,
    recipe_request,
    sweep_request,
)
from privacyhub.training.models import Model, Sweep, TrainingRun
from privacyhub.training.plans import Quote, capped, unit_in_words
from privacyhub.training.recipe_settings import SettingError
from privacyhub.training.recipe_spec import RecipeSpec
from privacyhub.training.sources import Source
from privacyhub.web import sweep_figures
from privacyhub.web.flash import explained
from privacyhub.web.model_figures import epsilon_over_steps

_LABELS = ("Data and unit", "Target", "Privacy", "Review")
_TEMPLATES = ("data", "target", "privacy", "review")
PRICED_STEP = 3
_FIELDS = {"no_reason": "reason", "tuning": "search_learning_rate"}
_PLAIN_FIELDS = {"__all__", "privacy", "epsilon", "metrics_epsilon", "reason"}
Find = Callable[[HttpRequest, Any], Source]  # what the id of an address leads to


@require_http_methods(["GET", "HEAD", "POST"])
def train(request: HttpRequest, pk: Any, find: Find) -> HttpResponse:
    """A step of the wizard. What is answered is kept as a draft."""
    source = find(request, pk)
    draft = services.draft_of(source=source, by=request.user)
    if request.method == "POST" and not draft and "submission" in request.POST:
        return redirect(_submitted(request) or _address(source, 1))
    with explained(request) as outcome:
        source.require_open()
    if not outcome.ok:
        return redirect(_origin(source))
    step = _step(request, draft)
    if step == len(_LABELS):
        return _review(request, source, draft)
    form = _form(request, source, draft, step)
    if request.method == "POST" and form.is_valid():
        answers = getattr(form, "answers", form.cleaned_data)
        if _hold_together(request, source, draft | answers, form, step):
            services.keep_draft(source=source, by=request.user, answers=answers)
            return redirect(_address(source, step + 1))
    context = _context(source, step) | {
        "form": form,
        "draft": draft,
        "advanced_errors": bool(set(form.errors) - _PLAIN_FIELDS),
    }
    if step == 1:
        context |= _data_context(source)
    return render(request, f"training/{_TEMPLATES[step - 1]}.html", context)


def _hold_together(
    request: HttpRequest,
    source: Source,
    answers: dict[str, Any],
    form: forms.Form,
    step: int,
) -> bool:
    """Whether the answers so far make a recipe, and from step 3 on have a price.

    What does not hold is told on the form of the step that it belongs to.
    """
    if step == 1:
        return True
    with explained(request, form), _at_its_field(form):
        if step >= PRICED_STEP:
            _priced(source, answers, by=request.user)
        else:
            _recipe(source, answers, by=request.user)
    return not form.errors


@contextmanager
def _at_its_field(form: forms.Form) -> Iterator[None]:
    """A refusal that names a field of the form is told there."""
    try:
        yield
    except DataError as error:
        setting = error.setting if isinstance(error, SettingError) else ""
        field = setting or _FIELDS.get(error.code, error.code)
        if field not in form.fields:
            raise
        form.add_error(field, error.message)


def _recipe(source: Source, answers: dict[str, Any], *, by: Any) -> RecipeSpec:
    return recipes.build(
        version=source.version,
        after=source.after,
        request=recipe_request(answers),
        by=by,
    )


def _priced(source: Source, answers: dict[str, Any], *, by: Any) -> dict[str, Any]:
    """The recipe that the answers ask for and its price, or the sweep's.

    Reads declarations, the ledger and the profile, no row.
    """
    recipe, version = _recipe(source, answers, by=by), source.version
    context: dict[str, Any] = {"recipe": recipe}
    asked, model = sweep_request(answers), _model(answers)
    if asked is not None and source.after is not None:
        raise DataError(
            "A sweep is ordered from the page of a version that is there. Ask for one "
            "epsilon, or wait for the release.",
            code="epsilon",
        )
    if asked is None:
        quote = services.price(
            version=version, recipe=recipe, recipient=by.username, model=model
        )
        return context | {
            "quote": quote,
            "most": _most_like(quote, recipe, source, model, by=by),
            "epsilon_figure": epsilon_over_steps(quote.plan.to_dict()),
        }
    epsilons, with_bare = asked
    runs = sweeps.recipes_of(recipe=recipe, epsilons=epsilons, with_bare=with_bare)
    return context | {
        "recipes": runs,
        "sweep": sweeps.price(
            version=version, recipes=runs, recipient=by.username, model=model
        ),
    }


def _model(answers: dict[str, Any]) -> Model | None:
    """The one that is to get a new version; the form has checked whose it is."""
    return Model.objects.filter(pk=answers.get("model") or None).first()


def _most_like(
    quote: Quote, recipe: RecipeSpec, source: Source, model: Model | None, *, by: Any
) -> Answer | None:
    """What is left for the recipe; unknown where others' own caps bind it too."""
    accounts = list(source.version.ledgers.all())
    if capped(audience_of(model), accounts=accounts):
        return None
    return what_if.largest_like(
        plan=quote.plan, recipe=recipe, accounts=accounts, recipient=by.username
    )


@require_GET
def train_target(request: HttpRequest, pk: Any, find: Find) -> HttpResponse:
    """The fields that follow from the chosen target."""
    source = find(request, pk)
    initial = {"target": request.GET.get("target")}
    form = TargetForm(source=source, by=request.user, initial=initial)
    return render(request, "training/_target_fields.html", {"form": form})


@require_POST
def train_price(request: HttpRequest, pk: Any, find: Find) -> HttpResponse:
    """What the answers so far would cost. Reads no row of the data."""
    source = find(request, pk)
    draft = services.draft_of(source=source, by=request.user)
    form = PrivacyForm(request.POST)
    context: dict[str, Any] = {"version": source.version, "form": form}
    if form.is_valid():
        with explained(request, form), _at_its_field(form):
            answers = draft | form.answers
            context |= _priced(source, answers, by=request.user)
    return render(request, "training/_price.html", context)


@require_POST
def train_curve(request: HttpRequest, pk: Any, find: Find) -> HttpResponse:
    """Utility against epsilon on simulated rows, for the answers so far."""
    source = find(request, pk)
    draft = services.draft_of(source=source, by=request.user)
    form = PrivacyForm(request.POST)
    context: dict[str, Any] = {}
    if form.is_valid():
        with explained(request, form):
            recipe = _recipe(source, draft | form.answers, by=request.user)
            quote = services.price(version=source.version, recipe=recipe)
            try:
                curve = curves.curve_of(recipe=recipe, plan=quote.plan)
            except curves.NoCurveError as error:
                context = {"reason": str(error)}
            else:
                context = {
                    "curve": curve,
                    "recipe": recipe,
                    "figure": sweep_figures.simulated(curve),
                }
    return render(request, "training/_curve.html", context)


def _review(
    request: HttpRequest, source: Source, draft: dict[str, Any]
) -> HttpResponse:
    form = forms.Form(request.POST)
    form.is_valid()
    context = _context(source, len(_LABELS)) | {
        "draft": draft,
        "form": form,
        "submission": _submission(request),
    }
    with explained(request, form) as outcome:
        context |= _priced(source, draft, by=request.user)
        context["searched"] = sorted(context["recipe"].searched)
        if request.method == "POST":
            return redirect(_submit(request, source, draft, context))
    status = 200 if outcome.ok else 409
    return render(request, "training/review.html", context, status=status)


def _submission(request: HttpRequest) -> UUID:
    """What the review page sends with its button: sent twice, a run is made once."""
    try:
        return UUID(request.POST.get("submission", ""))
    except ValueError:
        return uuid4()


def _made_by(user: Any, submission: UUID) -> UUID:
    """The id of what the user's submission makes: no other user's leads to it."""
    return uuid5(submission, str(user.pk))


def _submitted(request: HttpRequest) -> str:
    """Where a submission leads that was made before, by an earlier click."""
    made = _made_by(request.user, _submission(request))
    if Sweep.objects.filter(pk=made, owner=request.user).exists():
        return reverse("web:sweep", args=[made])
    run = TrainingRun.objects.filter(pk=made, owner=request.user).first()
    return reverse("web:job", args=[run.job_id]) if run else ""


def _submit(
    request: HttpRequest,
    source: Source,
    draft: dict[str, Any],
    context: dict[str, Any],
) -> str:
    """Queue what the draft asks for; the address that shows it."""
    asked: dict[str, Any] = {
        "version": source.version,
        "by": request.user,
        "name": draft.get("name", ""),
        "reason": draft.get("reason") or "",
        "model": _model(draft),
    }
    made = _made_by(request.user, context["submission"])
    if "sweep" in context:
        sweep = sweeps.submit(recipes=context["recipes"], sweep_id=made, **asked)
        return reverse("web:sweep", args=[sweep.pk])
    run = services.submit(
        recipe=context["recipe"], run_id=made, after=source.after, **asked
    )
    return reverse("web:job", args=[run.job_id])


def _of_version(request: HttpRequest, pk: Any) -> Source:
    seen = Version.objects.visible_to(request.user).select_related("dataset")
    return _managed(request, Source(version=get_object_or_404(seen, pk=pk)))


def _of_release(request: HttpRequest, pk: Any) -> Source:
    seen = AnonymizationRun.objects.visible_to(request.user)
    found = seen.select_related("job", "version__dataset", "release__dataset")
    run = get_object_or_404(found, pk=pk)
    return _managed(request, Source(version=run.version, after=run))


def _managed(request: HttpRequest, source: Source) -> Source:
    with explained(request):
        datasets.require_manager(dataset=source.version.dataset, by=request.user)
    return source


def _step(request: HttpRequest, draft: dict[str, Any]) -> int:
    """The step that is asked for, or the first that lacks an answer before it."""
    asked = request.GET.get("step", "1")
    step = int(asked) if asked.isdecimal() else 1
    reached = 1
    for key in ("features", "target", "privacy"):
        if key not in draft:
            break
        reached += 1
    return max(1, min(step, reached))


def _form(
    request: HttpRequest, source: Source, draft: dict[str, Any], step: int
) -> forms.Form:
    data = request.POST if request.method == "POST" else None
    if step == 1:
        return DataForm(data, source=source, initial=_known(draft, DataForm))
    if step == 2:
        initial = _known(draft, TargetForm)
        return TargetForm(data, source=source, by=request.user, initial=initial)
    return PrivacyForm(data, initial=_known(draft, PrivacyForm))


def _known(draft: dict[str, Any], form: type[forms.Form]) -> dict[str, Any]:
    return {name: draft[name] for name in form.base_fields if name in draft}


def _address(source: Source, step: int) -> str:
    return f"{_url(source)}?step={step}"


def _url(source: Source, part: str = "") -> str:
    """The wizard of this source, or a part of its page: target, price, curve."""
    name = f"_{part}" if part else ""
    if source.after is None:
        return reverse(f"web:train{name}", args=[source.version.pk])
    return reverse(f"web:train_after{name}", args=[source.after.pk])


def _origin(source: Source) -> str:
    """The page that leads to the wizard."""
    if source.after is None:
        return reverse("web:version", args=[source.version.pk])
    return reverse("web:anonymization", args=[source.after.pk])


def _context(source: Source, step: int) -> dict[str, Any]:
    version = source.version
    account = datasets.the_ledger(version)
    return {
        "version": version,
        "source": source,
        "urls": {part: _url(source, part) for part in ("target", "price", "curve")},
        "dataset": version.dataset,
        "ledger": account,
        "balance": ledger.balance(account),
        "unit": unit_in_words(account),
        "step": step,
        "steps": [
            {"label": label, "url": _address(source, number)}
            for number, label in enumerate(_LABELS, start=1)
        ],
        "back": _address(source, step - 1) if step > 1 else "",
    }


def _data_context(source: Source) -> dict[str, Any]:
    """The columns as a table: which are dropped, and how their domain is known."""
    columns = list(source.columns.values())
    return {
        "columns": [
            {
                "column": column,
                "dropped": column.role == Role.IDENTIFIER or column.is_unit_key,
                "declared": column.kind == "boolean"
                or bool(column.categories)
                or (column.lower is not None and column.upper is not None),
            }
            for column in columns
        ],
        "doubtful": [
            column.name
            for column in columns
            if column.suggested_role == Role.IDENTIFIER
            and column.role != Role.IDENTIFIER
        ],
    }


_VERSION, _RELEASE = "versions/<uuid:pk>/train/", "anonymizations/<uuid:pk>/train/"
urlpatterns = [
    path(f"{before}{part}", view, {"find": find}, name=f"{name}{after}")
    for before, find, name in (
        (_VERSION, _of_version, "train"),
        (_RELEASE, _of_release, "train_after"),
    )
    for part, view, after in (
        ("", train, ""),
        ("target/", train_target, "_target"),
        ("price/", train_price, "_price"),
        ("curve/", train_curve, "_curve"),
    )
]
