"""The REST API under /api/v1/, its schema and its docs page."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from privacyhub.api import (
    accounts,
    anonymizations,
    assessments,
    audit,
    datasets,
    feedback,
    gaps,
    group_assessments,
    jobs,
    ledgers,
    model_files,
    predictions,
    reports,
    sweeps,
    trained_models,
    trainings,
    versions,
    what_if,
)

app_name = "api"
resources = [
    *accounts.urlpatterns,
    *datasets.urlpatterns,
    *versions.urlpatterns,
    *anonymizations.urlpatterns,
    *trainings.urlpatterns,
    *sweeps.urlpatterns,
    *trained_models.urlpatterns,
    *model_files.urlpatterns,
    *predictions.urlpatterns,
    *assessments.urlpatterns,
    *group_assessments.urlpatterns,
    *reports.urlpatterns,
    *feedback.urlpatterns,
    *jobs.urlpatterns,
    *ledgers.urlpatterns,
    *what_if.urlpatterns,
    *gaps.urlpatterns,
    *audit.urlpatterns,
]
urlpatterns = [
    path("v1/", include(resources)),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/", SpectacularSwaggerSplitView.as_view(url_name="api:schema"), name="docs"
    ),
]
