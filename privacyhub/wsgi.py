"""The hub as a WSGI application."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "privacyhub.settings")
application = get_wsgi_application()
# Import the pages now: a process that is forked from this one answers at once.
get_resolver().url_patterns  # noqa: B018 - read for its effect
