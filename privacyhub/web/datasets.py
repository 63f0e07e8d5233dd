"""Datasets: list, upload, the dataset's page with its tabs."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
