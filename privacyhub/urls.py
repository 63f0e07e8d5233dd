"""Pages at the root, the REST API under /api/."""

from __future__ import annotations

from django.urls import include, path

handler400 = "privacyhub.web.errors.bad_request"
handler404 = "privacyhub.web.errors.not_found"
handler500 = "privacyhub.web.errors.broke"
urlpatterns = [
    path("api/", include("privacyhub.api.urls")),
    path("", include("privacyhub.web.urls")),
]
