"""What REST says of a version, and what it takes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from privacyhub.datasets.models import Column, Role, Version, VersionKind
from privacyhub.governance.models import Unit


class StewardsOnly(serializers.Field[Any, Any, Any, Any]):
    """An exact figure: null for those who do not manage the data."""

    def to_representation(self, value: Any) -> Any:
        return value if self.context.get("exact") else None


@extend_schema_field(serializers.IntegerField(allow_null=True))
class StewardsCount(StewardsOnly):
    pass


@extend_schema_field(serializers.FloatField(allow_null=True))
class StewardsShare(StewardsOnly):
    pass


@extend_schema_field(serializers.CharField(allow_null=True))
class StewardsText(StewardsOnly):
    pass


class CheckBody(serializers.Serializer[Any]):
    """What the steward must know of the values."""

    code = serializers.CharField()
    column = serializers.CharField(allow_null=True)
    message = serializers.CharField()


class VersionBody(serializers.ModelSerializer[Version]):
    """A version; rows, size, checks and ledgers are null but for stewards."""

    dataset_name = serializers.CharField(source="dataset.name")
    created_by = serializers.CharField(source="created_by.username")
    rows = serializers.SerializerMethodField()
    size = serializers.SerializerMethodField()
    checks = serializers.SerializerMethodField()
    ledgers = serializers.SerializerMethodField()
    target = serializers.SerializerMethodField()

    class Meta:
        model = Version
        fields = (
            "id",
            "dataset",
            "dataset_name",
            "number",
            "kind",
            "parents",
            "source_name",
            "rows",
            "columns_count",
            "size",
            "sha256",
            "target",
            "checks",
            "ledgers",
            "created_by",
            "created_at",
            "erased_at",
        )
        read_only_fields = fields

    def _exact(self, version: Version) -> bool:
        """`exact` in the context: "all" for auditors, else the managed versions."""
        exact = self.context["exact"]
        return exact == "all" or version.pk in exact

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_rows(self, version: Version) -> int | None:
        return version.rows if self._exact(version) else None

    @extend_schema_field(serializers.IntegerField(allow_null=True))
    def get_size(self, version: Version) -> int | None:
        return version.size if self._exact(version) else None

    @extend_schema_field(CheckBody(many=True, allow_null=True))
    def get_checks(self, version: Version) -> list[dict[str, Any]] | None:
        return version.checks if self._exact(version) else None

    @extend_schema_field(
        serializers.ListField(child=serializers.UUIDField(), allow_null=True)
    )
    def get_ledgers(self, version: Version) -> list[str] | None:
        if not self._exact(version):
            return None
        return [str(account.pk) for account in version.ledgers.all()]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_target(self, version: Version) -> str | None:
        target = next((one for one in version.columns.all() if one.is_target), None)
        return target.name if target else None


class VersionQuery(serializers.Serializer[Any]):
    """Filters of the list."""

    dataset = serializers.UUIDField(required=False)
    kind = serializers.ChoiceField(choices=VersionKind.choices, required=False)


class ColumnBody(serializers.ModelSerializer[Column]):
    """A column; suggestion, confidence and reason are null but for stewards."""

    suggested_role = StewardsText(read_only=True)
    confidence = StewardsShare(read_only=True)
    reason = StewardsText(read_only=True)
    looks_like = StewardsText(read_only=True)
    categories = serializers.ListField(child=serializers.CharField(), allow_null=True)

    class Meta:
        model = Column
        fields = (
            "name",
            "kind",
            "role",
            "is_target",
            "is_unit_key",
            "lower",
            "upper",
            "categories",
            "suggested_role",
            "confidence",
            "reason",
            "looks_like",
        )
        read_only_fields = fields


class ColumnChange(serializers.Serializer[Any]):
    """What a steward sets of one column. Bounds of dates: days since 1970-01-01."""

    role = serializers.ChoiceField(choices=Role.choices, required=False)
    is_target = serializers.BooleanField(required=False)
    is_unit_key = serializers.BooleanField(required=False)
    lower = serializers.FloatField(required=False, allow_null=True)
    upper = serializers.FloatField(required=False, allow_null=True)
    categories = serializers.ListField(
        child=serializers.CharField(), required=False, allow_null=True
    )


COLUMN_CHANGES = {
    "application/json": {
        "type": "object",
        "description": "By the column's name, what is to be set of it.",
        "additionalProperties": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "role": {"type": "string", "enum": list(Role.values)},
                "is_target": {"type": "boolean"},
                "is_unit_key": {"type": "boolean"},
                "lower": {"type": "number", "nullable": True},
                "upper": {"type": "number", "nullable": True},
                "categories": {
                    "type": "array",
                    "items": {"type": "string"},
                    "nullable": True,
                },
            },
        },
    }
}


def column_changes(data: Any) -> dict[str, dict[str, Any]]:
    """The body of a PATCH, `{"column": {"role": …}}`; ValidationError otherwise."""
    if not isinstance(data, dict) or not all(
        isinstance(change, dict) for change in data.values()
    ):
        raise serializers.ValidationError(
            {"body": ["An object of columns, each with what is to be set."]}
        )
    changes = {}
    for name, change in data.items():
        body = ColumnChange(data=change)
        unknown = sorted(set(change) - set(body.fields))
        if unknown:
            raise serializers.ValidationError(
                {name: [f"“{unknown[0]}” of a column cannot be set."]}
            )
        if not body.is_valid():
            raise serializers.ValidationError({name: body.errors})
        changes[name] = body.validated_data
    return changes


class Budget(serializers.Serializer[Any]):
    """What is declared of a family: unit of privacy, number of units, caps.

    Without `delta_cap` it is 1 / (10 N).
    """

    unit = serializers.ChoiceField(choices=Unit.choices, default=Unit.RECORD)
    unit_key = serializers.CharField(default="", allow_blank=True, max_length=200)
    most_rows_per_unit = serializers.IntegerField(
        default=1, min_value=1, max_value=10**6
    )
    declared_units = serializers.IntegerField(min_value=1, max_value=10**12)
    epsilon_cap = serializers.CharField(max_length=40, help_text="a decimal")
    delta_cap = serializers.CharField(
        default="", allow_blank=True, max_length=40, help_text="a decimal below 1/N"
    )


class BudgetBody(serializers.Serializer[Any]):
    """A ledger's declarations and what is left of its cap; epsilons are decimals."""

    ledger = serializers.UUIDField()
    unit = serializers.ChoiceField(choices=Unit.choices)
    unit_key = serializers.CharField()
    most_rows_per_unit = serializers.IntegerField()
    relation = serializers.CharField()
    declared_units = serializers.IntegerField(allow_null=True)
    epsilon_cap = serializers.CharField()
    delta_cap = serializers.CharField()
    spent = serializers.CharField()
    reserved = serializers.CharField()
    left = serializers.CharField()
    fixed_at = serializers.DateTimeField(allow_null=True)
    uncovered_release_at = serializers.DateTimeField(allow_null=True)


class ColumnProfileBody(serializers.Serializer[Any]):
    """Exact figures of one column; dates stand as ISO text."""

    name = serializers.CharField()
    kind = serializers.CharField()
    missing = serializers.IntegerField()
    distinct = serializers.IntegerField()
    distinct_capped = serializers.BooleanField()
    unique_share = serializers.FloatField()
    minimum = serializers.JSONField(allow_null=True)
    maximum = serializers.JSONField(allow_null=True)
    mean = serializers.FloatField(allow_null=True)
    std = serializers.FloatField(allow_null=True)
    quantiles = serializers.DictField()
    histogram = serializers.DictField()
    top = serializers.ListField()
    top_exact = serializers.BooleanField()
    classes = serializers.ListField(allow_null=True)
    text_lengths = serializers.DictField(allow_null=True)


class ProfileBody(serializers.Serializer[Any]):
    """The steward's profile of a version: it must not leave stewards."""

    rows = serializers.IntegerField()
    sampled = serializers.BooleanField()
    columns = ColumnProfileBody(many=True)
    checks = CheckBody(many=True)


class PreviewBody(serializers.Serializer[Any]):
    """Some rows as they are."""

    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.ListField(child=serializers.ListField())
    offset = serializers.IntegerField()


class PreviewQuery(serializers.Serializer[Any]):
    offset = serializers.IntegerField(default=0)
    rows = serializers.IntegerField(default=20)


class RiskQuery(serializers.Serializer[Any]):
    columns = serializers.CharField(help_text="names, separated by commas")


class RiskBody(serializers.Serializer[Any]):
    """How far the columns tell rows apart. Exact: for stewards only."""

    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.IntegerField()
    classes = serializers.IntegerField()
    unique_rows = serializers.IntegerField()
    unique_share = serializers.FloatField()
    smallest_class = serializers.IntegerField()


class DownloadQuery(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=["csv", "parquet"], default="csv")
