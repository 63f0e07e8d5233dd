"""The one value of the data that a policy may hold, sealed.

A steward who takes a subset of the rows types a value of a column. A run keeps it
under the version's key, so that it goes with the version's rows, and neither its page
nor its JSON shows it; a template leaves it out.

    {"column": "study", "is": "equals", "sealed": "<base64>"}
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from privacyhub.anonymization.policy_checks import wrong
from privacyhub.datasets.models import Version
from privacyhub.governance import keys

SEALED, VALUE = "sealed", "value"


def sealed(models: list[dict[str, Any]], *, version: Version) -> list[dict[str, Any]]:
    """The models as a run keeps them; equal subsets stay equal."""
    known: dict[str, str] = {}

    def seal(value: str) -> dict[str, str]:
        if value not in known:
            content = keys.seal_json(value, key=version.key, context=_context(version))
            known[value] = base64.b64encode(content).decode()
        return {SEALED: known[value]}

    return _changed(models, key=VALUE, change=seal)


def opened(models: list[dict[str, Any]], *, version: Version) -> list[dict[str, Any]]:
    """The models as the search and the form take them."""
    return _changed(
        models, key=SEALED, change=lambda text: {VALUE: value_of(text, version=version)}
    )


def without(models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The models as templates and files hold them: the value is typed anew there."""
    bare = _changed(models, key=SEALED, change=lambda _: {})
    return _changed(bare, key=VALUE, change=lambda _: {})


def value_of(text: Any, *, version: Version) -> str:
    """What was sealed for this version, or DataError."""
    try:
        content = base64.b64decode(str(text), validate=True)
        return str(
            keys.unseal_json(content, key=version.key, context=_context(version))
        )
    except ValueError as error:
        raise wrong(
            "The subset's value was sealed for another version. Type it anew.",
            code="subset",
        ) from error


def _context(version: Version) -> str:
    return f"{version.pk} subset"


def _changed(
    models: list[dict[str, Any]], *, key: str, change: Callable[[str], dict[str, str]]
) -> list[dict[str, Any]]:
    found = []
    for entry in models:
        subset = entry.get("subset")
        if isinstance(subset, Mapping) and key in subset:
            rest = {name: told for name, told in subset.items() if name != key}
            entry = {**entry, "subset": {**rest, **change(subset[key])}}
        found.append(entry)
    return found
