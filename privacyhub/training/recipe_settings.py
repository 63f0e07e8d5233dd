"""Numbers and settings of a request, each refused with words that say what to write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp.spec import TrainSpec
from privacyhub.training.recipe_spec import DEFAULT_HOLDOUT

# What an epsilon or a delta may be: the ledger's least unit, and its highest cap.
LEAST_AMOUNT = Decimal("1e-15")
MOST_AMOUNT = Decimal(1000)
SETTINGS = frozenset(
    {
        "activation",
        "class_weights",
        "clip_norm",
        "clip_quantile",
        "ema",
        "embedding_width",
        "epochs",
        "expected_batch",
        "hidden",
        "implementation",
        "learning_rate",
        "momentum",
        "optimizer",
        "schedule",
    }
)
_DECIMAL_COMMA = re.compile(r"\d,\d|^,\d")


class SettingError(DataError):
    """A training setting that cannot be. `setting` names it, for the field beside."""

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message, code="settings")
        self.setting = setting


def positive(text: Any, *, name: str, code: str) -> str:
    """A positive finite decimal as it was written; DataError for anything else."""
    written = str(text).strip()
    try:
        value = Decimal(written)
    except InvalidOperation as error:
        raise DataError(
            f"{name} must be a number.{comma_hint(written)}", code=code
        ) from error
    if not value.is_finite() or value <= 0:
        raise DataError(f"{name} must be a number above 0.", code=code)
    if not LEAST_AMOUNT <= value <= MOST_AMOUNT:
        raise DataError(
            f"{name} lies between {LEAST_AMOUNT:e} and {MOST_AMOUNT:,}.", code=code
        )
    return format(value, "f")


def comma_hint(written: str) -> str:
    """For a number with a decimal comma: how it is written here. Else nothing."""
    if not _DECIMAL_COMMA.search(written):
        return ""
    return " Its decimals follow a point, not a comma: 2.5."


def holdout(given: Any) -> float:
    """The held-out share of a request, or the default."""
    if given is None or given == "":
        return DEFAULT_HOLDOUT
    try:
        share = float(given)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The held-out share must be a number.{comma_hint(str(given))}",
            code="holdout",
        ) from error
    if not 0.05 <= share <= 0.5:
        raise DataError("The held-out share lies between 0.05 and 0.5.", code="holdout")
    return share


def settings_of(given: Any) -> dict[str, Any]:
    """The settings of a request that override the engine's rule."""
    if not isinstance(given, Mapping):
        raise DataError("The training settings must be an object.", code="settings")
    unknown = sorted(set(given) - SETTINGS)
    if unknown:
        raise DataError(
            f"“{unknown[0]}” is not a training setting.", code="unknown_setting"
        )
    hidden = given.get("hidden")
    if hidden is not None and (
        isinstance(hidden, str) or not isinstance(hidden, Sequence)
    ):
        raise SettingError(
            "The hidden layers are a list of widths or of dense layers.",
            setting="hidden",
        )
    return {name: value for name, value in given.items() if value not in (None, "")}


def spec_from(*, rule: Mapping[str, Any], settings: Mapping[str, Any]) -> TrainSpec:
    """The engine's rule with the recipe's settings over it.

    Raises SettingError naming the setting that cannot be, alone or beside the others.
    """
    try:
        return TrainSpec.from_dict({**rule, **settings})
    except (ValueError, TypeError) as error:
        culprit = next((n for n in settings if not _holds(rule, n, settings[n])), "")
        raise SettingError(str(error), setting=culprit) from error


def _holds(rule: Mapping[str, Any], name: str, value: Any) -> bool:
    try:
        TrainSpec.from_dict({**rule, name: value})
    except (ValueError, TypeError):
        return False
    return True
