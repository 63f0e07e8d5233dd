"""A client that sends forms as a browser does."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.test import Client


class Browser(Client):
    """Plain forms are URL-encoded; Django's own client sends multipart."""

    def post(self, path: str, data: Any = None, **extra: Any) -> Any:
        body = urlencode(data or {})
        kind = "application/x-www-form-urlencoded"
        return super().post(path, body, content_type=kind, **extra)
