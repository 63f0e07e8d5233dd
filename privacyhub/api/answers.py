"""Answers that several resources give alike."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.urls import reverse
from rest_framework import serializers
from rest_framework.response import Response

from jobs.models import Job
from privacyhub.api.problems import CONTENT_TYPE


class Accepted(serializers.Serializer):
    """What a 202 holds; `Location` names the same address as `url`."""

    job = serializers.UUIDField()
    state = serializers.CharField()
    url = serializers.CharField()


class Problem(serializers.Serializer):
    """RFC 9457; `row` and `column` say where, `errors` names fields."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    row = serializers.IntegerField(required=False)
    column = serializers.CharField(required=False)
    errors = serializers.DictField(required=False)


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """For `extend_schema(responses=…)`: the refusals that a method may answer."""
    return {(status, CONTENT_TYPE): Problem for status in statuses}


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
