"""A parameter of a model, metric or treatment: a number, a choice, or a word."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number within bounds, one of some choices, or a word of at most `longest`.

    `optional`: it may be left out, and is then None.
    """

    name: str
    label: str
    default: float | int | str | bool | None
    lower: float = 0
    upper: float | None = None
    whole: bool = False
    choices: tuple[str, ...] = ()
    longest: int = 0
    optional: bool = False

    @property
    def step(self) -> str:
        """For an input of type number."""
        return "1" if self.whole else "any"

    @property
    def input_type(self) -> str:
        return "text" if self.longest else "number"


def whole(name: str, label: str, default: int, lower: int = 2) -> Parameter:
    return Parameter(name=name, label=label, default=default, lower=lower, whole=True)


def part(name: str, label: str, default: float) -> Parameter:
    return Parameter(name=name, label=label, default=default, lower=0, upper=1)


def amount(name: str, label: str, default: float | None) -> Parameter:
    """A number without an upper bound; optional where it has no default."""
    return Parameter(
        name=name,
        label=label,
        default=default,
        lower=-1e15 if default is None else 0,
        optional=default is None,
    )


def choice(name: str, label: str, *choices: str) -> Parameter:
    """One of some words, the first by default."""
    return Parameter(name=name, label=label, default=choices[0], choices=choices)
