"""The training wizard: a form a step, and the recipe that their answers ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from privacyhub.datasets.errors import DataError
from privacyhub.datasets.forms import ShareForm
from privacyhub.datasets.models import Column, Role
from privacyhub.engines.dp.spec import REFERENCES
from privacyhub.governance.models import Right
from privacyhub.training import sweeps
from privacyhub.training.models import Model, Privacy
from privacyhub.training.recipe_settings import comma_hint
from privacyhub.training.recipes import (
    DEFAULT_EPSILON,
    DEFAULT_HOLDOUT,
    DEFAULT_METRICS_EPSILON,
    ENCODED_KINDS,
    suggested_classes,
)
from privacyhub.training.sources import Source

# Answers that are a setting as they stand; hidden layers and weights are parsed.
_SETTINGS = (
    "activation",
    "clip_norm",
    "clip_quantile",
    "ema",
    "epochs",
    "expected_batch",
    "implementation",
    "learning_rate",
    "momentum",
    "optimizer",
    "schedule",
)
_BY_RULE = "Empty: by rule."


class PointFloatField(forms.FloatField):
    """A number that says how its decimals are written when a comma comes."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except forms.ValidationError as error:
            hint = comma_hint(str(value).strip())
            if not hint:
                raise
            raise forms.ValidationError(f"Enter a number.{hint}") from error


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

    def __init__(self, *args: Any, source: Source, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        usable = [c for c in usable_columns(source) if not c.is_target]
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

    def __init__(self, *args: Any, source: Source, by: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._columns = {c.name: c for c in target_columns(source)}
        dataset = source.version.dataset
        target = self.fields["target"]
        target.choices = [(n, n) for n in self._columns]  # type: ignore[attr-defined]
        models = Model.objects.filter(dataset=dataset)
        self.fields["model"].queryset = models  # type: ignore[attr-defined]
        if self.is_bound:
            return
        chosen = self.initial.get("target") or _first_target(self._columns)
        self.initial.setdefault("target", chosen)
        if chosen in self._columns and "classes" not in self.initial:
            names = suggested_classes(self._columns[chosen], by=by)
            self.initial["classes"] = "\n".join(names)
        if not self.initial.get("name") and chosen:
            self.initial["name"] = f"{chosen} of {dataset.name}"

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
        help_text="What all training units pay, DP statistics included. Several, "
        "separated by blanks, make a sweep: 0.5 1 2 4.",
    )
    with_bare = forms.BooleanField(
        label="Also train once without privacy, to show what privacy costs",
        required=False,
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
    holdout = PointFloatField(
        label="Held-out share", required=False, initial=DEFAULT_HOLDOUT
    )
    epochs = PointFloatField(label="Epochs", required=False, help_text=_BY_RULE)
    expected_batch = forms.IntegerField(
        label="Expected batch", required=False, help_text="Units a step. " + _BY_RULE
    )
    learning_rate = PointFloatField(
        label="Learning rate", required=False, help_text=_BY_RULE
    )
    clip_norm = PointFloatField(
        label="Clip norm",
        required=False,
        help_text="The largest L2 norm of one unit's gradient. " + _BY_RULE,
    )
    clip_quantile = PointFloatField(
        label="Adaptive clip norm: quantile",
        required=False,
        help_text="Such as 0.5: the clip norm then starts where it is set and follows "
        "the median of the gradients' norms. Its noisy counts are in the price, which "
        "stays the same. Empty: the clip norm is fixed.",
    )
    hidden = forms.CharField(
        label="Hidden layers",
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Widths, such as 64, 32, or a declared architecture as JSON: "
        '[{"type": "dense", "units": 64, "activation": "relu"}]. Empty: a linear '
        "model.",
    )
    activation = forms.ChoiceField(
        label="Activation of hidden layers",
        required=False,
        choices=[("", "By rule: tanh"), ("tanh", "tanh"), ("relu", "ReLU")],
    )
    class_weights = forms.CharField(
        label="Class weights",
        required=False,
        help_text="One a class in their order, such as 1 4. You declare them; they "
        "are not read from the data. Empty: all 1.",
    )
    optimizer = forms.ChoiceField(
        label="Optimizer",
        required=False,
        choices=[
            ("", "By rule: SGD with momentum"),
            ("sgd", "SGD with momentum"),
            ("adam", "Adam"),
        ],
    )
    momentum = PointFloatField(
        label="Momentum", required=False, help_text="Of SGD. Empty: by rule, 0.9."
    )
    schedule = forms.ChoiceField(
        label="Learning rate over the run",
        required=False,
        choices=[
            ("", "By rule: falls linearly to 5%"),
            ("linear", "Falls linearly to 5%"),
            ("cosine", "Falls along a cosine to 5%"),
            ("constant", "Stays constant"),
        ],
    )
    ema = PointFloatField(
        label="Averaged weights",
        required=False,
        help_text="Decay of the average that becomes the model; costs no privacy. 0 "
        "keeps the last weights. Empty: by rule, 0.9.",
    )
    implementation = forms.ChoiceField(
        label="Training loop",
        required=False,
        choices=[
            ("", "The hub's own, the fastest"),
            *((name, f"{words}, a reference") for name, words in REFERENCES.items()),
        ],
    )

    search_learning_rate = forms.CharField(
        label="Learning rates to try",
        required=False,
        help_text="Several, separated by blanks, such as 0.5 1 2 4.",
    )
    search_clip_norm = forms.CharField(
        label="Clip norms to try",
        required=False,
        help_text="Several, separated by blanks, such as 0.5 1 2.",
    )
    mean_trials = PointFloatField(
        label="Trials on average",
        required=False,
        help_text="Their number is drawn at random and stays secret. Empty: 5.",
    )

    def clean_search_learning_rate(self) -> str:
        return self._numbers("search_learning_rate")

    def clean_search_clip_norm(self) -> str:
        return self._numbers("search_clip_norm")

    def _numbers(self, name: str) -> str:
        return " ".join(f"{one:g}" for one in _numbers_of(str(self.cleaned_data[name])))

    def clean_epsilon(self) -> str:
        try:
            return " ".join(sweeps.epsilons_of(self.cleaned_data["epsilon"]))
        except DataError as error:
            raise forms.ValidationError(error.message) from error

    def clean_hidden(self) -> str:
        text = str(self.cleaned_data["hidden"]).strip()
        layers = _layers(text)
        return text if text.startswith("[") else ", ".join(map(str, layers))

    def clean_class_weights(self) -> str:
        return self._numbers("class_weights")

    @property
    def answers(self) -> dict[str, Any]:
        """What the draft keeps: JSON."""
        return dict(self.cleaned_data)


def _layers(text: str) -> list[Any]:
    """Widths, or the layers of a JSON list; the engine checks each of them."""
    if text.startswith(("[", "{")):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}.") from error
        if not isinstance(found, list):
            raise forms.ValidationError("An architecture is a JSON list of layers.")
        return found
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise forms.ValidationError("Whole numbers, separated by commas, or JSON.")
    return [int(part) for part in parts]


def _numbers_of(text: str) -> list[float]:
    parts = text.replace(";", " ").replace(", ", " ").split()
    try:
        return [float(part.strip(",")) for part in parts]
    except ValueError as error:
        raise forms.ValidationError(
            f"Numbers, separated by blanks.{comma_hint(text)}"
        ) from error


def usable_columns(source: Source) -> list[Column]:
    """Columns a model may learn from: neither identifiers nor the unit key."""
    return [
        column
        for column in source.columns.values()
        if column.role != Role.IDENTIFIER and not column.is_unit_key
    ]


def target_columns(source: Source) -> list[Column]:
    """Columns a model may predict."""
    return [
        column
        for column in usable_columns(source)
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
    settings: dict[str, Any] = {name: answers.get(name) for name in _SETTINGS}
    if answers.get("hidden"):
        settings["hidden"] = _layers(answers["hidden"])
    if answers.get("class_weights"):
        settings["class_weights"] = _numbers_of(answers["class_weights"])
    asked: dict[str, Any] = {
        "target": target,
        "classes": classes,
        "settings": settings,
    }
    if "features" in answers:
        asked["features"] = [n for n in answers["features"] if n != target]
    asked["tuning"] = _search(answers)
    for name in ("privacy", "delta", "metrics_epsilon", "holdout"):
        asked[name] = answers.get(name)
    asked["epsilon"] = next(iter((answers.get("epsilon") or "").split()), "")
    return asked


def _search(answers: Mapping[str, Any]) -> dict[str, Any] | None:
    """The search over settings that the answers ask for; None without one."""
    space = {
        name: _numbers_of(answers[f"search_{name}"])
        for name in ("learning_rate", "clip_norm")
        if answers.get(f"search_{name}")
    }
    return (
        {"space": space, "mean_trials": answers.get("mean_trials")} if space else None
    )


def sweep_request(answers: Mapping[str, Any]) -> tuple[list[str], bool] | None:
    """The epsilons of a draft's sweep and whether a run without privacy joins it.

    None where the answers ask for one run.
    """
    epsilons = (answers.get("epsilon") or "").split()
    with_bare = bool(answers.get("with_bare"))
    private = answers.get("privacy") == Privacy.DP
    return (epsilons, with_bare) if private and len(epsilons) + with_bare > 1 else None
