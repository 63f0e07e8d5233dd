"""A request about data that cannot be met; safe to show to the user."""

from __future__ import annotations

from jobs.states import Refusal


class DataError(Refusal):
    """Bad input (`status` 400) or a conflict with what is there (409).

    `message` names row and column and never a value; `code` is stable, for scripts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "invalid",
        status: int = 400,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.row = row
        self.column = column


class Conflict(DataError):
    """The request is well formed, but the state of things does not allow it."""

    def __init__(self, message: str, *, code: str = "conflict", **at: str) -> None:
        super().__init__(message, code=code, status=409, column=at.get("column"))
