"""Anonymization: the list of runs, and the pages of a run."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

from jobs.states import State
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization import (
    awaited,
    family,
    narration,
    policies,
    policy_seals,
    reading,
    services,
    solution_space,
    utility,
)
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.web import anonymization_figures as figures
from privacyhub.web import anonymization_space as space
from privacyhub.web.flash import explained

PAGE = 25
MOST_ALTERNATIVES = 8


@require_GET
def anonymizations(request: HttpRequest) -> HttpResponse:
    """Runs, newest first, and the way to templates and hierarchies."""
    seen = AnonymizationRun.objects.visible_to(request.user)
    found = seen.select_related("job", "owner", "version__dataset", "release")
    page = Paginator(found.order_by("-created_at"), PAGE)
    context = {"page_obj": page.get_page(request.GET.get("page"))}
    return render(request, "anonymization/runs.html", context)


@require_GET
def anonymization(request: HttpRequest, pk: UUID) -> HttpResponse:
    """A run: its state, and what it found."""
    run = _run(request, pk)
    manages = Version.objects.managed_by(request.user)
    context = _live(request, run) | {
        "version": run.version,
        "manages": manages.filter(pk=run.version_id).exists(),
        "policy": run.policy,
    }
    if run.result:
        context |= _outcome(request, run, manages=context["manages"])
    return render(request, "anonymization/run.html", context)


def _outcome(
    request: HttpRequest, run: AnonymizationRun, *, manages: bool
) -> dict[str, Any]:
    told = run.result
    nodes = solution_space.nodes(told)
    picked = _picked(request, nodes)
    risk = space.risk_axis(request.GET.get("risk"))
    levels = picked["levels"] if picked else list(told["levels"].values())
    return {
        "result": told,
        "loss_figure": figures.column_loss(told),
        "sizes_figure": figures.class_sizes(told),
        "utility_figure": figures.utility(told),
        "space_figure": space.figure(told, nodes, risk=risk, pick=manages),
        "risk_axes": space.RISKS.values(),
        "risk_axis": risk,
        "attackers": narration.attackers(told),
        "explanation": narration.explain(told),
        "score": narration.score_text(told, told["score"]),
        "picked_score": picked and narration.score_text(told, picked["score"]),
        "utility": told.get("utility"),
        "utility_lines": (
            utility.sentences(told["utility"]) if told.get("utility") else []
        ),
        "others_apply": _others_apply(run),
        "alternatives": _alternatives(told, nodes),
        "joint": narration.joint(told),
        "joint_is_worse": bool(told["joint"] and any(told["joint"]["rows_below"][-1:])),
        "others": [r for r in family.releases(run.version) if r.pk != run.release_id],
        "applied": services.applied_from(run),
        "picked": picked,
        "suppressed_hint": (
            f"{told['suppressed'] / max(told['rows'], 1):.2%} of {told['rows']:,}; "
            f"{narration.limit(told)}"
        ),
        "space_summary": space.summary(told, nodes),
        "costs_in_bits": narration.in_bits(told),
        "columns": [
            {
                "name": name,
                "level": told["levels"][name],
                "picked": level,
                "height": told["heights"][name],
                "choices": range(told["heights"][name] + 1),
                "loss": (told["column_loss"] or {}).get(name),
            }
            for name, level in zip(told["columns"], levels, strict=True)
        ],
    }


def _others_apply(run: AnonymizationRun) -> bool:
    """Whether the run has other solutions that could be released."""
    policy = run.policy
    full = policy.get("method", policies.FULL_DOMAIN) == policies.FULL_DOMAIN
    return full and not policies.is_dp(policy)


def _alternatives(
    told: dict[str, Any], nodes: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The best nodes besides the one that was taken: the plot without a mouse."""
    taken = list(told["levels"].values())
    holding = [
        (index, node)
        for index, node in enumerate(nodes)
        if node["score"] is not None and node["levels"] != taken
    ]
    ranked = sorted(holding, key=lambda pair: pair[1]["score"])[:MOST_ALTERNATIVES]
    return [
        {
            "index": index,
            "levels": space.levels_text(told, node["levels"]),
            "suppressed": node["suppressed"],
            "smallest": node["smallest"],
            "score": narration.score_text(told, node["score"]),
        }
        for index, node in ranked
    ]


def _picked(request: HttpRequest, nodes: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The node of the plot that was chosen (`?node=`)."""
    index = whole_number(request.GET.get("node"))
    return nodes[index] if 0 <= index < len(nodes) else None


@require_GET
def anonymization_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The part of the page that follows a job that is at work."""
    run = _run(request, pk)
    answer = render(request, "anonymization/live.html", _live(request, run))
    if not run.job.is_open:
        answer.headers["HX-Refresh"] = "true"
    return answer


def _live(request: HttpRequest, run: AnonymizationRun) -> dict[str, Any]:
    """What waits for the release, and whether a training may be ordered on it."""
    waiting = run.trainings.filter(job__state=State.QUEUED).select_related("model")
    return {
        "run": run,
        "waiting": waiting.order_by("created_at"),
        "awaitable": awaited.is_offered(run, to=request.user),
    }


@require_POST
def anonymization_rows(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Rows before and after (`?offset=`): for stewards, and on the record."""
    run = _run(request, pk)
    offset = max(whole_number(request.GET.get("offset")), 0)
    context: dict[str, Any] = {"run": run}
    try:
        found = reading.compare_rows(run=run, by=request.user, offset=offset)
        context |= _side_by_side(found)
    except (DataError, NotAllowed) as error:
        context["problem"] = error.message
    return render(request, "anonymization/rows.html", context)


def _side_by_side(found: reading.Comparison) -> dict[str, Any]:
    """The two tables: rows of their number and (cell, changed)."""
    first = found.offset + 1
    after = found.offset + reading.SHOWN_ROWS

    def numbered(rows: list[tuple[Any, ...]]) -> list[tuple[int, Any]]:
        marked = zip(rows, found.changed, strict=True)
        cells = [list(zip(row, changed, strict=True)) for row, changed in marked]
        return list(enumerate(cells, start=first))

    return {
        "rows": found,
        "tables": [
            ("Before", numbered(found.before)),
            ("After", numbered(found.after)),
        ],
        "first": first,
        "last": found.offset + len(found.after),
        "before_offset": max(found.offset - reading.SHOWN_ROWS, 0),
        "after_offset": after if after < found.total else None,
    }


@require_POST
def anonymization_apply(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Release what was held, or another node of the solution space."""
    run = _run(request, pk)
    if run.job.state != State.SUCCEEDED:
        messages.error(request, "This run found no solution.")
        return redirect("web:anonymization", pk=run.pk)
    levels = None
    if "another" in request.POST:
        levels = {
            name: whole_number(request.POST.get(f"level-{place}"))
            for place, name in enumerate(run.result["columns"])
        }
    elif "confirm_joint" not in request.POST and family.releases(run.version):
        messages.error(request, "Confirm the joint risk first.")
        return redirect("web:anonymization", pk=run.pk)
    with explained(request) as outcome:
        fresh = services.apply(
            run=run,
            levels=levels,
            confirm_joint="confirm_joint" in request.POST,
            recipient=request.POST.get("recipient", ""),
            by=request.user,
        )
    if not outcome.ok:
        return redirect("web:anonymization", pk=run.pk)
    return redirect("web:job", pk=fresh.job_id)


@require_GET
def anonymization_policy(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The policy as a JSON file; it holds no values of the data."""
    run = _run(request, pk)
    policy = {key: value for key, value in run.policy.items() if key != "apply"}
    policy["models"] = policy_seals.without(policy["models"])
    name = f"policy-{run.pk}.json"
    return JsonResponse(
        policy,
        json_dumps_params={"indent": 2},
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _run(request: HttpRequest, pk: UUID) -> AnonymizationRun:
    runs = AnonymizationRun.objects.visible_to(request.user)
    return get_object_or_404(
        runs.select_related("job", "owner", "version__dataset", "release"), pk=pk
    )


def whole_number(text: str | None) -> int:
    """A whole number from a form; -1 is never a level, a node or a key."""
    return int(text) if text and text.isascii() and text.isdigit() else -1


_RUN = "anonymizations/<uuid:pk>/"
urlpatterns = [
    path("anonymizations/", anonymizations, name="anonymizations"),
    path(_RUN, anonymization, name="anonymization"),
    path(f"{_RUN}live/", anonymization_live, name="anonymization_live"),
    path(f"{_RUN}rows/", anonymization_rows, name="anonymization_rows"),
    path(f"{_RUN}apply/", anonymization_apply, name="anonymization_apply"),
    path(f"{_RUN}policy.json", anonymization_policy, name="anonymization_policy"),
]
