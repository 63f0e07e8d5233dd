"""Every page. Each module names its own."""

from __future__ import annotations

from privacyhub.web import (
    account,
    anonymization,
    audit,
    datasets,
    feedback,
    gaps,
    group_errors,
    health,
    home,
    jobs,
    ledgers,
    metrics,
    predictions,
    reports,
    sharing,
    sweeps,
    trained_models,
    training,
    users,
    versions,
    what_if,
)

app_name = "web"
urlpatterns = [
    *home.urlpatterns,
    *health.urlpatterns,
    *metrics.urlpatterns,
    *account.urlpatterns,
    *users.urlpatterns,
    *datasets.urlpatterns,
    *versions.urlpatterns,
    *sharing.urlpatterns,
    *anonymization.urlpatterns,
    *training.urlpatterns,
    *sweeps.urlpatterns,
    *trained_models.urlpatterns,
    *group_errors.urlpatterns,
    *predictions.urlpatterns,
    *reports.urlpatterns,
    *feedback.urlpatterns,
    *jobs.urlpatterns,
    *ledgers.urlpatterns,
    *what_if.urlpatterns,
    *gaps.urlpatterns,
    *audit.urlpatterns,
]
