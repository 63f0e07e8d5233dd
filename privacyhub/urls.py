"""Pages at the root, the REST API under /api/."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("api/", include("privacyhub.api.urls")),
    path("", include("privacyhub.web.urls")),
]
