"""Predictions from a form or a file."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
