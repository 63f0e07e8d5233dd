"""The user behind the token, users and tokens."""

from __future__ import annotations

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
