"""Checks that the parts of a policy share, and how they refuse."""

from __future__ import annotations

import sys
from collections.abc import Container, Mapping
from typing import Any
from uuid import UUID

from privacyhub.anonymization.models import Hierarchy
from privacyhub.anonymization.vocabulary import Parameter
from privacyhub.datasets.errors import DataError

AUTOMATIC = "automatic"


def wrong(message: str, *, code: str = "policy", column: str = "") -> DataError:
    return DataError(message, code=code, column=column or None)


def mapping(given: Any, *, name: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise wrong(f"{name} must be an object.")
    return dict(given)


def is_one(given: Any, among: Container[str]) -> bool:
    """Whether it is one of some words; JSON may bring a list in a word's place."""
    return isinstance(given, str) and given in among


def storable(given: Any) -> None:
    """DataError where JSON holds text that is no Unicode, or a NUL character."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            storable(key)
            storable(value)
    elif isinstance(given, list):
        for value in given:
            storable(value)
    elif isinstance(given, str) and ("\0" in given or not _is_unicode(given)):
        raise wrong("The policy holds a character that is no text.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def number(value: Any, *, name: str, lower: float, upper: float | None) -> Any:
    """The number unchanged, so that a whole one stays whole."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    within = (
        known
        and abs(value) <= sys.float_info.max  # not for NaN, nor past what floats hold
        and value >= lower
        and (upper is None or value <= upper)
    )
    if not within:
        to = "" if upper is None else f" to {upper:g}"
        least = f"at least {lower:g}" if upper is None else f"from {lower:g}{to}"
        raise wrong(f"{name} must be a number {least}.", code="out_of_range")
    return value


def parameter(value: Any, *, declared: Parameter, of: str, code: str) -> Any:
    """A parameter's value within what is declared of it; its default for None."""
    name = f"{of}: {declared.name}"
    if value is None:
        value = declared.default
    if value is None and declared.optional:
        return None
    if declared.choices:
        if value not in declared.choices:
            raise wrong(f"{name} is one of {', '.join(declared.choices)}.", code=code)
        return value
    if declared.longest:
        if not isinstance(value, str) or len(value) > declared.longest:
            raise wrong(
                f"{name} must be text of at most {declared.longest} characters.",
                code=code,
            )
        return value.strip()
    if declared.whole and (isinstance(value, bool) or not isinstance(value, int)):
        raise wrong(f"{name} must be a whole number.", code=code)
    return number(value, name=name, lower=declared.lower, upper=declared.upper)


def hierarchy(given: Any, *, column: str, by: Any) -> str:
    """`automatic`, or the id of a hierarchy that the user may use."""
    if given == AUTOMATIC:
        return AUTOMATIC
    try:
        known = Hierarchy.objects.visible_to(by).get(pk=UUID(str(given)))
    except (ValueError, Hierarchy.DoesNotExist) as error:
        raise wrong(
            f"Column “{column}”: there is no such hierarchy.",
            code="no_hierarchy",
            column=column,
        ) from error
    return str(known.pk)
