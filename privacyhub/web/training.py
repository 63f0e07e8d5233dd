"""The training wizard: data and unit, target, privacy, review."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Role, Version
from privacyhub.governance import ledger
from privacyhub.training import recipes, services
from privacyhub.training.forms import (
    DataForm,
    PrivacyForm,
    TargetForm,
    recipe_request,
)
from privacyhub.training.models import Model
from privacyhub.training.plans import unit_in_words
from privacyhub.web.flash import explained

_LABELS = ("Data and unit", "Target", "Privacy", "Review")
_TEMPLATES = ("data", "target", "privacy", "review")
PRICED_STEP = 3


@require_http_methods(["GET", "HEAD", "POST"])
def train(request: HttpRequest, pk: Any) -> HttpResponse:
    """A step of the wizard. What is answered is kept as a draft."""
    version = _version(request, pk)
    with explained(request) as outcome:
        datasets.require_open(version)
    if not outcome.ok:
        return redirect("web:version", version.pk)
    draft = services.draft_of(version=version, by=request.user)
    step = _step(request, draft)
    if step == len(_LABELS):
        return _review(request, version, draft)
    form = _form(request, version, draft, step)
    if request.method == "POST" and form.is_valid():
        answers = getattr(form, "answers", form.cleaned_data)
        if _hold_together(request, version, draft | answers, form, step):
            services.keep_draft(version=version, by=request.user, answers=answers)
            return redirect(_address(version, step + 1))
    context = _context(version, step) | {"form": form, "draft": draft}
    if step == 1:
        context |= _data_context(version)
    return render(request, f"training/{_TEMPLATES[step - 1]}.html", context)


def _hold_together(
    request: HttpRequest,
    version: Version,
    answers: dict[str, Any],
    form: forms.Form,
    step: int,
) -> bool:
    """Whether the answers so far make a recipe, and from step 3 on have a price.

    What does not hold is told on the form of the step that it belongs to.
    """
    if step == 1:
        return True
    with explained(request, form) as outcome:
        recipe = recipes.build(version=version, request=recipe_request(answers))
        if step >= PRICED_STEP:
            services.price(version=version, recipe=recipe)
    return outcome.ok


@require_GET
def train_target(request: HttpRequest, pk: Any) -> HttpResponse:
    """The fields that follow from the chosen target."""
    version = _version(request, pk)
    form = TargetForm(version=version, initial={"target": request.GET.get("target")})
    return render(request, "training/_target_fields.html", {"form": form})


@require_POST
def train_price(request: HttpRequest, pk: Any) -> HttpResponse:
    """What the answers so far would cost. Reads no row of the data."""
    version = _version(request, pk)
    draft = services.draft_of(version=version, by=request.user)
    form = PrivacyForm(request.POST)
    context: dict[str, Any] = {"version": version, "form": form}
    if form.is_valid():
        answers = draft | form.answers
        with explained(request, form):
            recipe = recipes.build(version=version, request=recipe_request(answers))
            context["quote"] = services.price(version=version, recipe=recipe)
            context["recipe"] = recipe
    return render(request, "training/_price.html", context)


def _review(
    request: HttpRequest, version: Version, draft: dict[str, Any]
) -> HttpResponse:
    form = forms.Form(request.POST)
    form.is_valid()
    context = _context(version, len(_LABELS)) | {"draft": draft, "form": form}
    with explained(request, form) as outcome:
        recipe = recipes.build(version=version, request=recipe_request(draft))
        context |= {
            "recipe": recipe,
            "searched": sorted(recipe.searched),
            "quote": services.price(version=version, recipe=recipe),
        }
        if request.method == "POST":
            model = Model.objects.filter(pk=draft.get("model") or None).first()
            run = services.submit(
                version=version,
                recipe=recipe,
                by=request.user,
                name=draft.get("name", ""),
                reason=draft.get("reason") or "",
                model=model,
            )
            return redirect("web:job", run.job_id)
    status = 200 if outcome.ok else 409
    return render(request, "training/review.html", context, status=status)


def _version(request: HttpRequest, pk: Any) -> Version:
    version = get_object_or_404(
        Version.objects.visible_to(request.user).select_related("dataset"), pk=pk
    )
    with explained(request):
        datasets.require_manager(dataset=version.dataset, by=request.user)
    return version


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
    request: HttpRequest, version: Version, draft: dict[str, Any], step: int
) -> forms.Form:
    data = request.POST if request.method == "POST" else None
    if step == 1:
        return DataForm(data, version=version, initial=_known(draft, DataForm))
    if step == 2:
        return TargetForm(data, version=version, initial=_known(draft, TargetForm))
    return PrivacyForm(data, initial=_known(draft, PrivacyForm))


def _known(draft: dict[str, Any], form: type[forms.Form]) -> dict[str, Any]:
    return {name: draft[name] for name in form.base_fields if name in draft}


def _address(version: Version, step: int) -> str:
    return f"{reverse('web:train', args=[version.pk])}?step={step}"


def _context(version: Version, step: int) -> dict[str, Any]:
    account = datasets.the_ledger(version)
    return {
        "version": version,
        "dataset": version.dataset,
        "ledger": account,
        "balance": ledger.balance(account),
        "unit": unit_in_words(account),
        "step": step,
        "steps": [
            {"label": label, "url": _address(version, number)}
            for number, label in enumerate(_LABELS, start=1)
        ],
        "back": _address(version, step - 1) if step > 1 else "",
    }


def _data_context(version: Version) -> dict[str, Any]:
    """The columns as a table: which are dropped, and how their domain is known."""
    columns = list(version.columns.all())
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


urlpatterns = [
    path("versions/<uuid:pk>/train/", train, name="train"),
    path("versions/<uuid:pk>/train/target/", train_target, name="train_target"),
    path("versions/<uuid:pk>/train/price/", train_price, name="train_price"),
]
