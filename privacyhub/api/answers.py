"""Answers that several resources give alike."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from rest_framework.response import Response

from jobs.models import Job


def accepted(job: Job, **more: Any) -> Response:
    """202: the work is queued; `Location` tells where to look."""
    where = reverse("api:job", args=[job.pk])
    return Response(
        {"job": str(job.pk), "state": job.state, "url": where, **more},
        status=202,
        headers={"Location": where},
    )


def find(queryset: QuerySet[Any], pk: Any) -> Any:
    """The object, or 404 where it is foreign or not there: both look alike."""
    found = queryset.filter(pk=pk).first()
    if found is None:
        raise Http404
    return found
