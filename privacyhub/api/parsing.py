"""JSON bodies: an object, of bounded size, that every database can keep."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from django.conf import settings
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from privacyhub.datasets.errors import DataError


class JsonObject(BaseParser):
    """`application/json` that holds an object.

    Refused: another value, NaN and infinities (written or by overflow), NUL and lone
    surrogates in texts, nesting that Python cannot read, and more bytes than a form
    may have. ParseError (400), or DataError with 413.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: Any,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise DataError(
                f"A JSON body has at most {most // 2**20} MB.",
                code="too_large",
                status=413,
            )
        try:
            told = json.loads(
                body.decode(), parse_constant=_refuse_number, parse_float=_number
            )
            json.dumps(told, ensure_ascii=False).encode()  # fails on a lone surrogate
        except UnicodeError as error:
            raise ParseError("The body is not UTF-8 text.") from error
        except RecursionError as error:
            raise ParseError("The body is nested too deeply.") from error
        except ValueError as error:
            raise ParseError("The body is not JSON.") from error
        if not isinstance(told, dict):
            raise ParseError("The body must be a JSON object.")
        if rb"\u0000" in body and _holds_nul(told):
            raise ParseError("A text in the body holds a NUL character.")
        return told


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse_number(text)
    return value


def _refuse_number(text: str) -> NoReturn:
    raise ParseError("A number in the body is not finite.")


def _holds_nul(told: Any) -> bool:
    match told:
        case str():
            return "\0" in told
        case dict():
            return any(_holds_nul(k) or _holds_nul(v) for k, v in told.items())
        case list():
            return any(map(_holds_nul, told))
    return False
