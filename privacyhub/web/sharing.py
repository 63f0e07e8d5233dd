"""Sharing, handing over and erasing."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.forms import BaseForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST

from privacyhub.datasets import erasure, services
from privacyhub.datasets.forms import (
    EraseForm,
    HandOverForm,
    ShareForm,
    VersionShareForm,
)
from privacyhub.datasets.models import Dataset, Version
from privacyhub.governance import grants
from privacyhub.governance.models import Grant
from privacyhub.web.datasets import managed_dataset
from privacyhub.web.flash import explained


@require_POST
def share(request: HttpRequest, pk: Any) -> HttpResponse:
    """Give a right on a dataset."""
    dataset = managed_dataset(request, pk)
    _give(request, dataset, ShareForm(request.user, request.POST))
    return redirect(_access_tab(pk))


@require_POST
def share_version(request: HttpRequest, pk: Any) -> HttpResponse:
    """Give an anonymized version away: a release, noted in the ledger."""
    version = get_object_or_404(Version.objects.visible_to(request.user), pk=pk)
    managed_dataset(request, version.dataset_id)
    _give(request, version, VersionShareForm(request.user, request.POST))
    return redirect("web:version", pk)


def _give(request: HttpRequest, target: Any, form: ShareForm) -> None:
    if not form.is_valid():
        messages.error(request, _first_error(form))
        return
    asked = form.cleaned_data
    until = asked["expires_at"]
    with explained(request) as outcome:
        services.share(
            target=target,
            user=asked["user"],
            right=asked["right"],
            expires_at=until.replace(tzinfo=UTC) if until else None,
            by=request.user,
        )
    if outcome.ok:
        messages.success(request, f"Shared with {asked['user'].username}.")


@require_POST
def revoke(request: HttpRequest, pk: Any) -> HttpResponse:
    """Take back a grant on a dataset or one of its versions."""
    managed = Dataset.objects.managed_by(request.user).values("pk")
    reach = Q(dataset__in=managed) | Q(version__dataset__in=managed)
    grant = get_object_or_404(Grant.objects.live().filter(reach), pk=pk)
    with explained(request) as outcome:
        grants.revoke(grant=grant, by=request.user)
    if outcome.ok:
        messages.success(request, "The grant was revoked.")
    dataset = grant.dataset_id or grant.version.dataset_id
    return redirect(_access_tab(dataset))


@require_POST
def hand_over(request: HttpRequest, pk: Any) -> HttpResponse:
    """Make another steward the owner."""
    dataset = managed_dataset(request, pk)
    form = HandOverForm(request.user, request.POST)
    if not form.is_valid():
        messages.error(request, _first_error(form))
        return redirect(_access_tab(pk))
    to = form.cleaned_data["user"]
    with explained(request) as outcome:
        services.hand_over(dataset=dataset, to=to, by=request.user)
    if not outcome.ok:
        return redirect(_access_tab(pk))
    messages.success(request, f"“{dataset.name}” is {to.username}'s now.")
    return redirect("web:datasets")


@require_http_methods(["GET", "HEAD", "POST"])
def erase(request: HttpRequest, pk: Any) -> HttpResponse:
    """What an erasure reaches; with the name typed, the erasure."""
    dataset = managed_dataset(request, pk)
    if dataset.owner_id != request.user.pk:
        raise PermissionDenied("Only the owner of the dataset can do this.")
    form = EraseForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with explained(request, form) as outcome:
            erasure.erase(dataset=dataset, by=request.user, **form.cleaned_data)
        if outcome.ok:
            messages.success(request, f"“{dataset.name}” was erased.")
            return redirect("web:dataset", pk)
    context = {
        "dataset": dataset,
        "form": form,
        "touched": erasure.touched(dataset),
    }
    status = 400 if form.errors else 200
    return render(request, "datasets/erase.html", context, status=status)


def _first_error(form: BaseForm) -> str:
    for field, errors in form.errors.items():
        return f"{form.fields[field].label or field.capitalize()}: {errors[0]}"
    return "Nothing was changed."


def _access_tab(pk: Any) -> str:
    return f"{reverse('web:dataset', args=[pk])}?tab=access"


urlpatterns = [
    path("datasets/<uuid:pk>/share/", share, name="dataset_share"),
    path("datasets/<uuid:pk>/hand-over/", hand_over, name="dataset_hand_over"),
    path("datasets/<uuid:pk>/erase/", erase, name="dataset_erase"),
    path("versions/<uuid:pk>/share/", share_version, name="version_share"),
    path("grants/<uuid:pk>/revoke/", revoke, name="grant_revoke"),
]
