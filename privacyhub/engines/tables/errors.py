"""What a table can be refused for."""

from __future__ import annotations


class TableError(ValueError):
    """A table that cannot be taken as it is.

    `message` is safe to show: it names row and column and never a value. `row` counts
    data rows from 1 (the header is row 0); `code` is stable, for scripts.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        row: int | None = None,
        column: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.row = row
        self.column = column
