"""A sweep's page: utility against epsilon, live while its runs are under way."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import path
from django.views.decorators.http import require_safe

from privacyhub.assessment import sweep_results
from privacyhub.assessment.metric_names import NAMES
from privacyhub.datasets.services import the_ledger
from privacyhub.training.models import Sweep
from privacyhub.training.plans import unit_in_words
from privacyhub.web import sweep_figures


@require_safe
def sweep(request: HttpRequest, pk: Any) -> HttpResponse:
    return render(request, "training/sweep.html", _context(request, pk))


@require_safe
def sweep_live(request: HttpRequest, pk: Any) -> HttpResponse:
    """The part of the page that polls; it polls no more when every run has ended."""
    return render(request, "training/_sweep_live.html", _context(request, pk))


def _context(request: HttpRequest, pk: Any) -> dict[str, Any]:
    found = get_object_or_404(
        Sweep.objects.visible_to(request.user).select_related(
            "model__dataset", "version", "owner"
        ),
        pk=pk,
    )
    results = sweep_results.results(sweep=found, user=request.user)
    measure = sweep_results.measure(found)
    ended = sum(not one.is_open for one in results)
    return {
        "sweep": found,
        "model": found.model,
        "unit": unit_in_words(the_ledger(found.version)),
        "results": results,
        "bare": next((one for one in results if not one.epsilon), None),
        "exact": sweep_results.may_see_exact(sweep=found, user=request.user),
        "measure": NAMES[measure],
        "figure": sweep_figures.sweep(results, measure=measure),
        "live": ended < len(results),
        "announcement": f"{found}: {ended} of {len(results)} runs ended",
    }


urlpatterns = [
    path("sweeps/<uuid:pk>/", sweep, name="sweep"),
    path("sweeps/<uuid:pk>/live/", sweep_live, name="sweep_live"),
]
