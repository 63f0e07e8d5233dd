"""What a person should know of a table that can be taken all the same."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One remark on a column (or, with None, on the table); no cell value in it."""

    code: str
    column: str | None
    message: str

    def to_dict(self) -> dict[str, str | None]:
        return asdict(self)
