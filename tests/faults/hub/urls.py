"""The hub's routes and the one that accepts a `steps` job."""

from __future__ import annotations

from django.urls import include, path

from tests.faults.hub.views import Steps

urlpatterns = [
    path("api/v1/steps/", Steps.as_view()),
    path("", include("privacyhub.urls")),
]
