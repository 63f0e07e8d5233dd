"""What the engine raises. No message carries a cell value."""

from __future__ import annotations


class AnonymizeError(ValueError):
    """The input cannot be anonymized as asked; the text is safe to show."""


class AnonymizeTimeout(AnonymizeError):
    """The time limit passed before any solution was found; there may be one."""


class AnonymizeCancelled(Exception):  # noqa: N818 - not an error: the caller asked
    """`cancelled()` answered true; nothing was produced."""
