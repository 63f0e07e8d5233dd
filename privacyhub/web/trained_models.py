"""Models: leaderboard, a model's page, download, comparison."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
