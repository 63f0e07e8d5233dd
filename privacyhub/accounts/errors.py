"""A request about users or tokens that cannot be met; safe to show."""

from __future__ import annotations


class AccountError(Exception):
    """`message` says why; `field` names the field of the form that is wrong."""

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
