"""Every page. Each module names its own."""

from __future__ import annotations

from privacyhub.web import (
    account,
    anonymization,
    audit,
    datasets,
    feedback,
    health,
    home,
    jobs,
    ledgers,
    predictions,
    reports,
    sharing,
    trained_models,
    training,
    users,
    versions,
)

app_name = "web"
urlpatterns = [
    *home.urlpatterns,
    *health.urlpatterns,
    *account.urlpatterns,
    *users.urlpatterns,
    *datasets.urlpatterns,
    *versions.urlpatterns,
    *sharing.urlpatterns,
    *anonymization.urlpatterns,
    *training.urlpatterns,
    *trained_models.urlpatterns,
    *predictions.urlpatterns,
    *reports.urlpatterns,
    *feedback.urlpatterns,
    *jobs.urlpatterns,
    *ledgers.urlpatterns,
    *audit.urlpatterns,
]
