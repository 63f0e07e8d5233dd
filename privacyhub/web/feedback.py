"""Feedback: the analyst's form and the steward's inbox."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
