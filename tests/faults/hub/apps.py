"""The hub under test knows one kind more: `steps`, which works like a DP training.

The real training runs as ever, and tells the witness of it too.
"""

from __future__ import annotations

from dataclasses import replace

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    name = "tests.faults.hub"
    label = "faults"

    def ready(self) -> None:
        from jobs import registry  # the app registry is ready only now
        from jobs.queues import Queue

        registry.register(
            registry.Kind("steps", "tests.faults.hub.steps.run", Queue.DATA)
        )
        watched = replace(registry.kind("train"), path="tests.faults.hub.trainings.run")
        registry._kinds["train"] = watched
