"""Forms of the datasets' pages. What they allow is decided by the services."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.db.models import QuerySet

from privacyhub.accounts.models import User
from privacyhub.datasets.models import Column, Dataset, Role, Version
from privacyhub.engines.tables import Kind
from privacyhub.governance.models import Ledger, Right, Unit

_EPOCH = date(1970, 1, 1)


class DescriptionForm(forms.ModelForm):
    """What a person says of a dataset."""

    class Meta:
        model = Dataset
        fields = ("name", "description", "purpose", "legal_basis")
        widgets = {
            "description": forms.Textarea(attrs={"rows": 2}),
            "purpose": forms.Textarea(attrs={"rows": 2}),
        }
        help_texts = {
            "purpose": "What the data are used for. Reports quote it.",
            "legal_basis": "For instance: GDPR Art. 6(1)(e), a contract, consent.",
        }


class UploadForm(DescriptionForm):
    """A description beside a file; the file is taken from the request itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].required = False
        self.fields["name"].help_text = "Left empty, it is the file's name."


class ColumnsForm(forms.Form):
    """Role and declared domain of every column, and which is target and unit key.

    The fields of a column are named after its position: `3-role`, `3-lower`.
    """

    target = forms.ChoiceField(required=False, help_text="What a model will predict.")
    unit_key = forms.ChoiceField(
        required=False,
        label="Unit key",
        help_text="The column that says which rows are of one person.",
    )

    def __init__(self, version: Version, data: Any = None) -> None:
        super().__init__(data)
        self.columns = list(version.columns.all())
        names = [("", "None"), *((one.name, one.name) for one in self.columns)]
        for field, flag in (("target", "is_target"), ("unit_key", "is_unit_key")):
            self.fields[field].choices = names  # type: ignore[attr-defined]
            chosen = [one.name for one in self.columns if getattr(one, flag)]
            self.initial[field] = chosen[0] if chosen else ""
        for column in self.columns:
            self._add(column)

    def _add(self, column: Column) -> None:
        small = "form-select-sm hub-role-select"
        label = {"aria-label": f"Role of {column.name}", "class": small}
        self._field(
            column,
            "role",
            forms.ChoiceField(choices=Role.choices, widget=forms.Select(attrs=label)),
            column.role,
        )
        for bound in ("lower", "upper"):
            value = getattr(column, bound)
            if column.kind in (Kind.INTEGER, Kind.NUMBER):
                self._field(column, bound, _number(column, bound), value)
            elif column.kind == Kind.DATE:
                day = None if value is None else _EPOCH + timedelta(days=value)
                self._field(column, bound, _date(column, bound), day)
        if column.kind in (Kind.TEXT, Kind.BOOLEAN, Kind.INTEGER):
            label = {"aria-label": f"Categories of {column.name}", "rows": "2"}
            self._field(
                column,
                "categories",
                forms.CharField(required=False, widget=forms.Textarea(attrs=label)),
                "\n".join(column.categories or []),
            )

    def _field(self, column: Column, name: str, field: Any, initial: Any) -> None:
        key = f"{column.position}-{name}"
        self.fields[key] = field
        self.initial[key] = initial

    def rows(self) -> list[dict[str, Any]]:
        """Each column with its bound fields, None for those it has not."""
        found = []
        for column in self.columns:
            row: dict[str, Any] = {"column": column}
            for name in ("role", "lower", "upper", "categories"):
                key = f"{column.position}-{name}"
                row[name] = self[key] if key in self.fields else None
            found.append(row)
        return found

    def changes(self) -> dict[str, dict[str, Any]]:
        """What differs from the version, as `services.set_columns` takes it."""
        told = self.cleaned_data
        found: dict[str, dict[str, Any]] = {}
        for column in self.columns:
            wanted: dict[str, Any] = {
                "is_target": told["target"] == column.name,
                "is_unit_key": told["unit_key"] == column.name,
            }
            for name in ("role", "lower", "upper"):
                key = f"{column.position}-{name}"
                if key in told:
                    wanted[name] = _days(told[key])
            key = f"{column.position}-categories"
            if key in told:
                lines = [line.strip() for line in told[key].splitlines()]
                wanted["categories"] = [line for line in lines if line] or None
            changed = {
                name: value
                for name, value in wanted.items()
                if value != getattr(column, name)
            }
            if changed:
                found[column.name] = changed
        return found

    def quasi_identifiers(self, data: Any) -> list[str]:
        """The columns with that role in what is on the page, saved or not."""
        return [
            column.name
            for column in self.columns
            if data.get(f"{column.position}-role") == Role.QUASI_IDENTIFIER
        ]


def _bound_attrs(column: Column, bound: str) -> dict[str, str]:
    return {
        "aria-label": f"{bound.capitalize()} bound of {column.name}",
        "class": "form-control form-control-sm",
    }


def _number(column: Column, bound: str) -> forms.Field:
    attrs = {"step": "any", **_bound_attrs(column, bound)}
    return forms.FloatField(required=False, widget=forms.NumberInput(attrs=attrs))


def _date(column: Column, bound: str) -> forms.Field:
    attrs = {"type": "date", **_bound_attrs(column, bound)}
    widget = forms.DateInput(attrs=attrs, format="%Y-%m-%d")
    return forms.DateField(required=False, widget=widget)


def _days(value: Any) -> Any:
    """Bounds of dates are kept in days since 1970-01-01."""
    return float((value - _EPOCH).days) if isinstance(value, date) else value


class BudgetForm(forms.Form):
    """Unit of privacy, number of units and caps of a family."""

    unit = forms.ChoiceField(
        choices=Unit.choices,
        label="Unit of privacy",
        help_text="What the guarantee protects.",
    )
    unit_key = forms.ChoiceField(
        required=False,
        label="Unit key",
        help_text="Only where the unit is all records of one key.",
    )
    most_rows_per_unit = forms.IntegerField(
        min_value=1,
        label="Most rows per unit",
        help_text="Of a unit with more rows, this many are used.",
    )
    declared_units = forms.IntegerField(
        min_value=1,
        label="Number of units N",
        help_text="Declared, not counted: the exact count is private itself.",
    )
    epsilon_cap = forms.CharField(max_length=40, label="Cap on epsilon")
    delta_cap = forms.CharField(
        max_length=40,
        required=False,
        label="Cap on delta",
        help_text="Left empty, it is 1 / (10 N).",
    )

    def __init__(
        self, version: Version, ledger: Ledger, suggested: int, data: Any = None
    ) -> None:
        super().__init__(data)
        names = [("", "None"), *((c.name, c.name) for c in version.columns.all())]
        self.fields["unit_key"].choices = names  # type: ignore[attr-defined]
        flagged = version.columns.filter(is_unit_key=True).first()
        self.initial = {
            "unit": ledger.unit if ledger.is_declared or not flagged else Unit.KEY,
            "unit_key": ledger.unit_key or (flagged.name if flagged else ""),
            "most_rows_per_unit": ledger.most_rows_per_unit,
            "declared_units": ledger.declared_units or suggested,
            "epsilon_cap": ledger.epsilon_cap or "3",
            "delta_cap": ledger.delta_cap,
        }
        if ledger.is_declared:
            self.initial["unit"] = ledger.unit
            self.initial["unit_key"] = ledger.unit_key


class UserChoice(forms.ModelChoiceField):
    """A person by name, with the role that says what they may hold."""

    def label_from_instance(self, user: Any) -> str:
        return f"{user} ({user.username}, {user.role})"


def _people(*, without: User) -> QuerySet[User]:
    active = User.objects.filter(is_active=True, role__in=["steward", "analyst"])
    return active.exclude(pk=without.pk).order_by("username")


class ShareForm(forms.Form):
    """Whom to give which right, and until when."""

    user = UserChoice(
        queryset=User.objects.none(), label="With", empty_label="Choose a person"
    )
    right = forms.ChoiceField(
        choices=[
            (Right.VIEW, "View: what the dataset is, and its anonymized versions"),
            (Right.MANAGE, "Manage: everything but erasing and handing over"),
        ]
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Until",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text="In UTC. Left empty, until it is revoked.",
    )

    def __init__(self, by: User, data: Any = None) -> None:
        super().__init__(data, auto_id="share_%s")
        self.fields["user"].queryset = _people(without=by)  # type: ignore[attr-defined]


class VersionShareForm(ShareForm):
    """An anonymized version is given to be read."""

    right = forms.ChoiceField(
        choices=[(Right.VIEW, "View and download")], initial=Right.VIEW
    )


class HandOverForm(forms.Form):
    """The steward who becomes the owner."""

    user = UserChoice(
        queryset=User.objects.none(), label="New owner", empty_label="Choose a person"
    )

    def __init__(self, by: User, data: Any = None) -> None:
        super().__init__(data, auto_id="hand_over_%s")
        stewards = _people(without=by).filter(role="steward")
        self.fields["user"].queryset = stewards  # type: ignore[attr-defined]


class EraseForm(forms.Form):
    """The dataset's name, typed; and whether its models go too."""

    confirm = forms.CharField(
        label="The dataset's name",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    with_models = forms.BooleanField(
        required=False, label="Destroy the models trained on it as well"
    )
