"""The training wizard: a form a step, and the recipe that their answers ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from privacyhub.datasets.forms import ShareForm
from privacyhub.datasets.models import Column, Role, Version
from privacyhub.governance.models import Right
from privacyhub.training.models import Model, Privacy
from privacyhub.training.recipes import (
    DEFAULT_EPSILON,
    DEFAULT_HOLDOUT,
    DEFAULT_METRICS_EPSILON,
    ENCODED_KINDS,
    suggested_classes,
)

_SETTINGS = (
    "epochs",
    "expected_batch",
    "learning_rate",
    "clip_norm",
    "implementation",
)


class ModelShareForm(ShareForm):
    """Whom to give a model: it gives nothing on its data."""

    right = forms.ChoiceField(
        choices=[
            (Right.USE, "Use: predict, download, give feedback"),
            (Right.VIEW, "View: released metrics and the guarantee"),
        ],
        initial=Right.USE,
    )


class DataForm(forms.Form):
    """Step 1: which columns the model may read."""

    features = forms.MultipleChoiceField(
        label="Columns to learn from", widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, version: Version, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usable = usable_columns(version)
        field = self.fields["features"]
        field.choices = [(c.name, c.name) for c in usable]  # type: ignore[attr-defined]
        if not self.is_bound and "features" not in self.initial:
            self.initial["features"] = [column.name for column in usable]


class TargetForm(forms.Form):
    """Step 2: what to predict, and the names that the steward declares for it."""

    target = forms.ChoiceField(label="Target")
    classes = forms.CharField(
        label="Classes",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One a line; of two the second is the positive one. You declare "
        "these names as public knowledge. Leave it empty to predict a number.",
    )
    model = forms.ModelChoiceField(
        Model.objects.none(),
        label="Model",
        required=False,
        empty_label="A new model",
        help_text="A new version of a model keeps its name.",
    )
    name = forms.CharField(
        label="Name of the new model", max_length=200, required=False
    )

    def __init__(self, *args: Any, version: Version, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._columns = {c.name: c for c in target_columns(version)}
        target = self.fields["target"]
        target.choices = [(n, n) for n in self._columns]  # type: ignore[attr-defined]
        models = Model.objects.filter(dataset=version.dataset_id)
        self.fields["model"].queryset = models  # type: ignore[attr-defined]
        if self.is_bound:
            return
        chosen = self.initial.get("target") or _first_target(self._columns)
        self.initial.setdefault("target", chosen)
        if chosen in self._columns and "classes" not in self.initial:
            names = suggested_classes(version=version, column=self._columns[chosen])
            self.initial["classes"] = "\n".join(names)
        if not self.initial.get("name") and chosen:
            self.initial["name"] = f"{chosen} of {version.dataset.name}"

    def clean(self) -> dict[str, Any]:
        answers = super().clean() or {}
        if not answers.get("model") and not (answers.get("name") or "").strip():
            self.add_error("name", "Give the new model a name.")
        return answers

    @property
    def answers(self) -> dict[str, Any]:
        """What the draft keeps: JSON."""
        told = self.cleaned_data
        return {
            "target": told["target"],
            "classes": told["classes"],
            "name": told["name"],
            "model": str(told["model"].pk) if told["model"] else "",
        }


class PrivacyForm(forms.Form):
    """Step 3: the price, and settings for those who want them."""

    privacy = forms.ChoiceField(
        label="Privacy",
        choices=Privacy.choices,
        initial=Privacy.DP,
        widget=forms.RadioSelect,
    )
    epsilon = forms.CharField(
        label="Epsilon of the training",
        initial=DEFAULT_EPSILON,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text="What all training units pay, DP statistics included.",
    )
    metrics_epsilon = forms.CharField(
        label="Epsilon of the metrics",
        initial=DEFAULT_METRICS_EPSILON,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
        help_text="What the held-out units pay for metrics that may leave stewards.",
    )
    reason = forms.CharField(
        label="Why without privacy",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="It is kept in the ledger, and every total says from then on that "
        "it does not cover this model.",
    )
    delta = forms.CharField(
        label="Delta",
        required=False,
        help_text="Empty: 1/(10 N) of the declared N.",
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    holdout = forms.FloatField(
        label="Held-out share", required=False, initial=DEFAULT_HOLDOUT
    )
    epochs = forms.FloatField(
        label="Epochs", required=False, help_text="Empty: by rule."
    )
    expected_batch = forms.IntegerField(
        label="Expected batch", required=False, help_text="Empty: by rule."
    )
    learning_rate = forms.FloatField(
        label="Learning rate", required=False, help_text="Empty: by rule."
    )
    clip_norm = forms.FloatField(
        label="Clip norm", required=False, help_text="Empty: by rule."
    )
    hidden = forms.CharField(
        label="Hidden layers",
        required=False,
        help_text="Widths, such as 64, 32. Empty: a linear model.",
    )

    implementation = forms.ChoiceField(
        label="Training loop",
        required=False,
        choices=[
            ("", "The hub's own, the fastest"),
            ("dpsequential", "TensorFlow Privacy's DPSequential, the reference"),
        ],
    )

    def clean_hidden(self) -> str:
        text = str(self.cleaned_data["hidden"])
        parts = [part.strip() for part in text.split(",") if part.strip()]
        if not all(part.isdecimal() for part in parts):
            raise forms.ValidationError("Whole numbers, separated by commas.")
        return ", ".join(parts)

    @property
    def answers(self) -> dict[str, Any]:
        """What the draft keeps: JSON."""
        return dict(self.cleaned_data)


def usable_columns(version: Version) -> list[Column]:
    """Columns a model may learn from: neither identifiers nor the unit key."""
    found = version.columns.exclude(role=Role.IDENTIFIER).exclude(is_unit_key=True)
    return list(found)


def target_columns(version: Version) -> list[Column]:
    """Columns a model may predict."""
    return [
        column
        for column in usable_columns(version)
        if ENCODED_KINDS[column.kind] != "date"
    ]


def _first_target(columns: Mapping[str, Column]) -> str:
    marked = next((c.name for c in columns.values() if c.is_target), None)
    return marked or next(iter(columns), "")


def recipe_request(answers: Mapping[str, Any]) -> dict[str, Any]:
    """A draft's answers as `recipes.build` reads them."""
    target = answers.get("target", "")
    classes = [line.strip() for line in (answers.get("classes") or "").splitlines()]
    classes = [line for line in classes if line]
    settings = {name: answers.get(name) for name in _SETTINGS}
    hidden = [int(part) for part in (answers.get("hidden") or "").split(",") if part]
    asked: dict[str, Any] = {
        "target": target,
        "classes": classes,
        "settings": settings | ({"hidden": hidden} if hidden else {}),
    }
    if "features" in answers:
        asked["features"] = [n for n in answers["features"] if n != target]
    for name in ("privacy", "epsilon", "delta", "metrics_epsilon", "holdout"):
        asked[name] = answers.get(name)
    return asked
