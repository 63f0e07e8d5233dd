"""What a model is to learn from: a version, or a release that is still to come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from privacyhub.anonymization import awaited
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import services as datasets
from privacyhub.datasets.models import Column, Version, VersionKind


@dataclass(frozen=True, kw_only=True)
class Source:
    """version: the one to train on, or the one of which `after` makes a release.

    Both pay from the same ledgers: those of the version's family.
    """

    version: Version
    after: AnonymizationRun | None = None

    def __str__(self) -> str:
        if self.after is None:
            return str(self.version)
        return str(self.after.release or f"The anonymized {self.version}")

    @cached_property
    def columns(self) -> dict[str, Column]:
        """By name, in their order; those of a release to come as far as known."""
        after = self.after
        found = awaited.columns_of(after) if after else self.version.columns.all()
        return {column.name: column for column in found}

    @property
    def is_to_come(self) -> bool:
        """Whether the release is not there yet."""
        return self.after is not None and self.after.release_id is None

    @property
    def is_anonymized(self) -> bool:
        return bool(self.after) or self.version.kind == VersionKind.ANONYMIZED

    def require_open(self) -> None:
        """Refuse what was erased, and a release that will not come."""
        if self.after is None:
            datasets.require_open(self.version)
        else:
            awaited.require_release(self.after)
