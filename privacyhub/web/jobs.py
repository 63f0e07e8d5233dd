"""The jobs board and a job's page."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
