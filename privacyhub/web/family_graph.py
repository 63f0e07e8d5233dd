"""The pipeline of a family: version -> runs -> models -> reports -> feedback.

Only reverse relations are read, each through `visible_to`: a viewer sees the part of
the graph that they may see.
"""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from privacyhub.datasets.models import Dataset, Version

Node = dict[str, Any]
Edge = tuple[str, str]


class Graph:
    """Nodes, parents first, and edges between those that are there."""

    def __init__(self, dataset: Dataset, user: Any, *, exact: bool) -> None:
        self._user = user
        self._exact = exact
        self.nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._made: set[str] = set()  # versions that a run or feedback made
        versions = dataset.versions.visible_to(user).order_by("number")
        versions = versions.prefetch_related("parents")
        for version in versions:
            self._version(version)
        for version in versions:
            if f"{version.pk}" not in self._made:
                for parent in version.parents.all():
                    self._edges.append((f"{parent.pk}", f"{version.pk}"))

    @property
    def edges(self) -> list[Edge]:
        there = {node["id"] for node in self.nodes}
        return [edge for edge in self._edges if there.issuperset(edge)]

    def _add(self, kind: str, thing: Any, url: str, **shown: Any) -> str:
        name = f"{thing.pk}"
        self.nodes.append({"id": name, "kind": kind, "url": url, **shown})
        return name

    def _version(self, version: Version) -> None:
        node = self._add(
            "version",
            version,
            reverse("web:version", args=[version.pk]),
            title=f"v{version.number} {version.get_kind_display().lower()}",
            subtitle=f"{version.rows:,} rows" if self._exact else "",
            state="erased" if version.erased_at else None,
        )
        for run in version.anonymization_runs.visible_to(self._user).select_related(
            "job"
        ):
            self._anonymization(node, run)
        runs = version.training_runs.visible_to(self._user)
        for run in runs.select_related("job", "model").order_by("created_at"):
            self._training(node, run)
        for report in version.reports.visible_to(self._user):
            self._report(node, report)

    def _anonymization(self, parent: str, run: Any) -> None:
        node = self._add(
            "run",
            run,
            reverse("web:anonymization", args=[run.pk]),
            title="Anonymization",
            subtitle=f"by {run.owner}",
            state=run.job.state,
        )
        self._edges.append((parent, node))
        if run.release_id:
            self._edges.append((node, f"{run.release_id}"))
            self._made.add(f"{run.release_id}")

    def _training(self, parent: str, run: Any) -> None:
        node = self._add(
            "run",
            run,
            reverse("web:job", args=[run.job_id]),
            title=f"Training of {run.model.name}",
            subtitle="retrain" if run.retrain_of_id else run.get_privacy_display(),
            state=run.job.state,
        )
        self._edges.append((parent, node))
        model_version = getattr(run, "model_version", None)
        if model_version is not None:
            self._model_version(node, model_version)

    def _model_version(self, parent: str, model_version: Any) -> None:
        epsilon = model_version.guarantee.get("epsilon")
        node = self._add(
            "model",
            model_version,
            reverse("web:model_version", args=[model_version.pk]),
            title=f"{model_version}",
            subtitle=f"epsilon {epsilon}"[:14] if epsilon else "without privacy",
            state="erased" if model_version.erased_at else None,
        )
        self._edges.append((parent, node))
        for report in model_version.reports.visible_to(self._user):
            self._report(node, report)
        for feedback in model_version.feedback.visible_to(self._user):
            self._feedback(node, feedback)

    def _report(self, parent: str, report: Any) -> None:
        node = self._add(
            "report",
            report,
            reverse("web:report", args=[report.pk]),
            title="Report",
            subtitle=f"{report.created_at:%d %b %Y}",
            state="signed" if report.signed_at else "draft",
        )
        self._edges.append((parent, node))

    def _feedback(self, parent: str, feedback: Any) -> None:
        node = self._add(
            "feedback",
            feedback,
            reverse("web:feedback_detail", args=[feedback.pk]),
            title=f"{feedback.rating} of 5",
            subtitle=feedback.get_problem_display(),
            state=feedback.state,
        )
        self._edges.append((parent, node))
        if feedback.version_id:
            self._edges.append((node, f"{feedback.version_id}"))
            self._made.add(f"{feedback.version_id}")
