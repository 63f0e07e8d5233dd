"""Training runs, and what one would cost."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
