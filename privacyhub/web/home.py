"""Home, search and the bell."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from jobs import services
from jobs.models import Job
from jobs.states import TERMINAL
from privacyhub.accounts.roles import Permission
from privacyhub.assessment.models import Report
from privacyhub.datasets.models import Dataset
from privacyhub.feedback.models import Decision, Feedback
from privacyhub.governance import balances, statement
from privacyhub.governance.models import CapRequest, Ledger
from privacyhub.training.models import Model, ModelVersion

SHOWN = 5
FOUND = 20
NOTICES = 12
LEDGERS_LOOKED_AT = 200
SHORTEST_QUERY = 2
# Heading, icon, page, what is searched, the field that names it.
_SEARCHED = (
    ("Datasets", "database", "web:dataset", Dataset, "name"),
    ("Models", "cube", "web:model", Model, "name"),
    ("Jobs", "subtask", "web:job", Job, "title"),
    ("Reports", "file-certificate", "web:report", Report, "title"),
)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    user = request.user
    datasets = Dataset.objects.visible_to(user).filter(erased_at=None)
    live = ModelVersion.objects.filter(erased_at=None).values("model")
    models = Model.objects.visible_to(user).filter(pk__in=live)
    models = models.select_related("dataset")
    jobs = Job.objects.filter(owner=user).defer("spec", "trace")
    context = {
        "running": jobs.open()[:SHOWN],
        "feedback": _feedback(user)[:SHOWN],
        "cap_requests": _cap_requests(user)[:SHOWN],
        "reports": _reports(user)[:SHOWN],
        "low": _low_budgets(user)[:SHOWN],
        "models": models[:SHOWN],
        "datasets_count": datasets.count(),
        "models_count": models.count(),
    }
    waiting = (context["feedback"], context["cap_requests"], context["reports"])
    context["waits"] = any(waiting)
    return render(request, "home/home.html", context)


def _feedback(user: Any) -> QuerySet[Feedback]:
    managed = Model.objects.managed_by(user).values("pk")
    return Feedback.objects.filter(
        state=Decision.OPEN, model_version__model__in=managed
    ).select_related("model_version__model", "author")


def _cap_requests(user: Any) -> QuerySet[CapRequest]:
    if not user.may(Permission.APPROVE_CAPS):
        return CapRequest.objects.none()
    undecided = CapRequest.objects.filter(approved=None).exclude(requested_by=user)
    return undecided.select_related("ledger", "requested_by")


def _reports(user: Any) -> QuerySet[Report]:
    if not user.may(Permission.SIGN_REPORTS):
        return Report.objects.none()
    return Report.objects.visible_to(user).filter(signed_at=None).defer("content")


def _low_budgets(user: Any) -> list[dict[str, Any]]:
    ledgers = Ledger.objects.visible_to(user).exclude(epsilon_cap="")
    return [
        {
            "ledger": row,
            "name": statement.name(ledger=row, user=user),
            "balance": balances.balance(row),
        }
        for row in ledgers[:LEDGERS_LOOKED_AT]
        if statement.is_low(row)
    ]


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Names that hold the words, among what the user may see."""
    words = request.GET.get("q", "").strip()[:200]
    user = request.user
    groups = []
    if len(words) >= SHORTEST_QUERY:
        groups = [_group(*searched, words, user) for searched in _SEARCHED]
    context = {
        "words": words,
        "groups": [group for group in groups if group["hits"]],
        "too_short": len(words) < SHORTEST_QUERY,
    }
    return render(request, "search/search.html", context)


def _group(
    title: str, symbol: str, page: str, kind: Any, field: str, words: str, user: Any
) -> dict[str, Any]:
    visible = kind.objects.visible_to(user).filter(**{f"{field}__icontains": words})
    found = visible.order_by("-created_at").values_list("pk", field, "created_at")
    hits = [
        {"title": text, "url": reverse(page, args=[pk]), "when": when}
        for pk, text, when in found.distinct()[:FOUND]
    ]
    return {"title": title, "symbol": symbol, "hits": hits}


@require_http_methods(["GET", "HEAD", "POST"])
def bell(request: HttpRequest) -> HttpResponse:
    """The count of finished jobs that were not seen; a POST lists and marks them."""
    ended = Job.objects.filter(owner=request.user, state__in=TERMINAL)
    if request.method != "POST" and request.GET.get("part") != "list":
        count = ended.filter(seen_at=None).count()
        return render(request, "components/bell_count.html", {"count": count})
    latest = ended.defer("spec", "trace").order_by("-finished_at")[:NOTICES]
    notices = [
        {
            "title": job.title,
            "text": job.message,
            "url": reverse("web:job", args=[job.pk]),
            "when": job.finished_at,
            "state": job.state,
            "unread": job.seen_at is None,
        }
        for job in latest
    ]
    if request.method == "POST":
        services.mark_seen(owner=request.user)
    return render(request, "components/bell_list.html", {"notices": notices})


urlpatterns: list[URLPattern] = [
    path("", home, name="home"),
    path("search/", search, name="search"),
    path("bell/", bell, name="bell"),
]
