"""How the pages' templates write numbers: a builtin library of filters."""

from __future__ import annotations

from django import template

from . import formats

register = template.Library()


@register.filter
def epsilon(value: object) -> str:
    """1 -> '1.00', 0.0123 -> '0.012'."""
    return formats.epsilon_text(value=value)


@register.filter
def epsilon_up(value: object) -> str:
    """For what was spent or will be: never printed lower than it is."""
    return formats.epsilon_text(value=value, rounding=formats.ROUND_UP)


@register.filter
def epsilon_down(value: object) -> str:
    """For what is left: never printed higher than it is."""
    return formats.epsilon_text(value=value, rounding=formats.ROUND_DOWN)


@register.filter
def delta(value: object) -> str:
    """1e-5 -> '10⁻⁵'."""
    return formats.delta_text(value=value)


@register.filter
def odds(value: object) -> str:
    """Epsilon -> '73.1 of 100'."""
    return formats.odds_text(epsilon=value)


@register.filter(name="bytes")
def bytes_(value: object) -> str:
    """1234567 -> '1.2 MB'."""
    return formats.bytes_text(value=value)


@register.filter
def named(value: str) -> str:
    """The name of a kind: 'assess_groups' -> 'Assess groups'."""
    return value.replace("_", " ").capitalize()


@register.filter
def thousands(value: object) -> str:
    """20000 -> '20,000'."""
    return formats.thousands_text(value=value)


@register.filter
def percent(value: object, digits: int = 1) -> str:
    """A share: 0.813 -> '81.3%'."""
    return formats.percent_text(value=value, digits=digits)


@register.filter
def figure_cell(value: object) -> str:
    """A cell of a figure's table: numbers to six significant digits."""
    return f"{value:,.6g}" if isinstance(value, float) else str(value)
