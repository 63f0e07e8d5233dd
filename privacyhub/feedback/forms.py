"""The analyst's form. Corrections are one choice a prediction, named by its id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from privacyhub.deployments.models import Prediction
from privacyhub.feedback.models import Problem

RATINGS = [
    ("", "Choose a rating"),
    (5, "5, very good"),
    (4, "4"),
    (3, "3"),
    (2, "2"),
    (1, "1, very poor"),
]
AS_IT_IS = ""


class FeedbackForm(forms.Form):
    """Rating, problem, group, text; and a field `correct_<id>` for each prediction."""

    rating = forms.TypedChoiceField(
        label="Rating of the model", choices=RATINGS, coerce=int, empty_value=None
    )
    problem = forms.ChoiceField(
        label="Kind of problem",
        choices=[("", "Choose the kind"), *Problem.choices],
    )
    group = forms.CharField(
        label="Affected group",
        required=False,
        max_length=200,
        help_text="Who the predictions fail for, in words. Name no person.",
    )
    text = forms.CharField(
        label="What you have seen",
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 5}),
        help_text="Name no person.",
    )

    def __init__(
        self,
        *args: Any,
        predictions: Sequence[Prediction] = (),
        classes: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._named = {f"correct_{one.pk}": one for one in predictions}
        for name in self._named:
            self.fields[name] = _correction(classes)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Each prediction beside the field that corrects it."""
        return [
            {
                "prediction": one,
                "field": self[name],
                "control": self[name].as_widget(
                    attrs={
                        "class": _css(self.fields[name]),
                        "aria-label": f"Right answer for prediction {str(one.pk)[:8]}",
                    }
                ),
            }
            for name, one in self._named.items()
        ]

    @property
    def corrections(self) -> list[dict[str, Any]]:
        """What was corrected, as `services.submit` takes it."""
        return [
            {"prediction": str(one.pk), "label": self.cleaned_data[name]}
            for name, one in self._named.items()
            if self.cleaned_data.get(name) not in (None, AS_IT_IS)
        ]


def _css(field: forms.Field) -> str:
    is_choice = isinstance(field, forms.ChoiceField)
    return "form-select form-select-sm" if is_choice else "form-control form-control-sm"


def _correction(classes: Sequence[str]) -> forms.Field:
    if not classes:
        return forms.FloatField(required=False, label="Correct value")
    choices = [(AS_IT_IS, "as predicted"), *((one, one) for one in classes)]
    return forms.ChoiceField(required=False, label="Correct label", choices=choices)


class DeclineForm(forms.Form):
    reason = forms.CharField(
        label="Reason", widget=forms.Textarea(attrs={"rows": 3}), max_length=2000
    )
