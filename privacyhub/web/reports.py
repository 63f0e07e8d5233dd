"""Reports: list, page, PDF and JSON."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
