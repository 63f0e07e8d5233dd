"""The form that a model's inputs make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from django import forms

_EPOCH = date(1970, 1, 1)
MOST_CHOICES = 200


class RowForm(forms.Form):
    """One row to predict. Each field may stay empty: that counts as missing."""

    def __init__(
        self, *args: Any, inputs: Sequence[Mapping[str, Any]], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # Names of columns may hold anything; names of fields are numbers.
        self._columns = {f"input_{k}": column for k, column in enumerate(inputs)}
        for name, column in self._columns.items():
            self.fields[name] = _field(column)

    @property
    def row(self) -> dict[str, Any]:
        """What was filled in, by column."""
        told = self.cleaned_data
        return {
            str(column["name"]): told[name]
            for name, column in self._columns.items()
            if told[name] not in (None, "")
        }

    @property
    def left_empty(self) -> str:
        """How many inputs the model had to take as missing; "" for none."""
        empty = len(self._columns) - len(self.row)
        if not empty:
            return ""
        return (
            f"{empty} of the {len(self._columns)} inputs were left empty: the model "
            "took them as missing, and its answer may say little."
        )


class FileForm(forms.Form):
    """A file whose rows are predicted."""

    file = forms.FileField(label="A CSV or Parquet file")


def _figure(value: float) -> str:
    if 1000 <= abs(value) < 1e12:
        return f"{value:.0f}"
    return f"{value:.4g}"


def _field(column: Mapping[str, Any]) -> forms.Field:
    common: dict[str, Any] = {"label": column["name"], "required": False}
    match column["kind"]:
        case "number":
            bounds = (
                f"{_figure(column['lower'])} to {_figure(column['upper'])} in training"
            )
            return forms.FloatField(
                **common,
                help_text=bounds,
                widget=forms.NumberInput(attrs={"step": "any"}),
            )
        case "date":
            first, last = (
                _EPOCH + timedelta(days=int(column[side]))
                for side in ("lower", "upper")
            )
            return forms.DateField(
                **common,
                help_text=f"{first.isoformat()} to {last.isoformat()} in training",
                widget=forms.DateInput(attrs={"type": "date"}),
            )
        case "boolean":
            return forms.ChoiceField(
                **common, choices=[("", "not known"), ("true", "yes"), ("false", "no")]
            )
    names = list(column["categories"])
    if 0 < len(names) <= MOST_CHOICES:
        return forms.ChoiceField(
            **common, choices=[("", "not known"), *((name, name) for name in names)]
        )
    return forms.CharField(**common, max_length=300)
