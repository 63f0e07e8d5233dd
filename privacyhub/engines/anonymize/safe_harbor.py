"""A check against HIPAA's Safe Harbor list, 45 CFR 164.514(b)(2)(i).

It looks at names and values and can miss identifiers; it is no determination. What it
finds must be removed or generalized: ZIP codes to three digits (and 000 where fewer
than 20,000 people live), dates to the year, ages above 89 to one group.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from .hierarchies import as_text

SHARE = 0.5  # of the values that must match before a column is taken to hold them
# ZIP3 areas with fewer than 20,000 people in the 2000 census, from HHS's guidance.
SMALL_ZIP3 = frozenset(
    [
        "036",
        "059",
        "063",
        "102",
        "203",
        "556",
        "692",
        "790",
        "821",
        "823",
        "830",
        "831",
        "878",
        "879",
        "884",
        "890",
        "893",
    ]
)


@dataclass(frozen=True)
class Finding:
    """`rule`: the identifier's letter in the regulation; `rows`: rows that hold it."""

    column: str
    rule: str
    what: str
    rows: int


_WHOSE = (
    "first|last|full|middle|sur|fore|given|family|maiden|birth|nick|user|patient|"
    "subject|participant|person|member|client|customer|applicant|student|pupil|"
    "teacher|employee|employer|worker|staff|doctor|physician|nurse|provider|contact|"
    "relative|guardian|parent|mother|father|spouse|partner|child"
)
_NAMES: tuple[tuple[str, str, str], ...] = (
    ("A", "name", rf"^names?$|\b({_WHOSE})s?'?s?[ -]?names?$"),
    ("B", "place smaller than a state", r"\b(street|address|city|county|precinct)\b"),
    ("D", "telephone or fax number", r"(phone|mobile|telephone|fax)"),
    ("F", "e-mail address", r"e[-_]?mail"),
    ("G", "social security number", r"\b(ssn|social[ _-]?security)"),
    ("H", "medical record number", r"\b(mrn|medical[ _-]?record)"),
    ("I", "health plan number", r"(beneficiary|member[ _-]?(id|number)|insurance)"),
    ("J", "account number", r"(account[ _-]?(id|no|number)|iban)"),
    ("K", "licence number", r"licen[cs]e"),
    ("L", "vehicle identifier", r"\b(vin|plate)\b"),
    ("M", "device identifier", r"(device[ _-]?(id|serial)|serial[ _-]?n)"),
    ("N", "web address", r"\b(url|website)\b"),
    ("O", "internet address", r"\b(ip|ip[ _-]?address)\b"),
    ("P", "biometric identifier", r"(finger|voice|iris)[ _-]?print|biometric"),
    ("Q", "photograph", r"(photo|portrait|face[ _-]?image)"),
)
_VALUES: tuple[tuple[str, str, str], ...] = (
    (
        "C",
        "date more exact than the year",
        r"^\d{4}-\d{2}(-\d{2}.*)?$"
        r"|^\d{4}/\d{1,2}/\d{1,2}\b"
        r"|^\d{1,2}([/.-])\d{1,2}[/.-](\d{4}|\d{2})(\s.*)?$",
    ),
    ("F", "e-mail address", r"^[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$"),
    ("G", "social security number", r"^\d{3}-\d{2}-\d{4}$"),
    ("D", "telephone number", r"^\+?1?[ .-]?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}$"),
    ("N", "web address", r"^(https?://|www\.)\S+$"),
    ("O", "internet address", r"^\d{1,3}(\.\d{1,3}){3}$"),
)
_ZIP = re.compile(r"zip|postal", re.IGNORECASE)
_AGE = re.compile(r"\bage\b", re.IGNORECASE)
# The age, or the lower end of a range of ages.
_LEAST_AGE = r"^(?:>=?|≥|\[)?\s*(\d+(?:\.\d+)?)(?:$|[^\d.])"
_ONE_GROUP = r"^(?:90\s*\+|(?:>=|≥)\s*90|>\s*89)$"  # all ages that must be one
_NUMBER = re.compile(r"\b(id|ids|no|nr|num|number|code|key|record|case)\b|#", re.I)
_SOME = 0.1  # distinct values over rows of what is named a number
_NEARLY_ALL = 0.95  # the same of what has no such name
_FEW_ROWS = 20  # so few may differ by chance


def check_safe_harbor(
    frame: pl.DataFrame, *, identifiers: Collection[str] = ()
) -> list[Finding]:
    """What of the eighteen identifiers the table seems to hold, by column.

    `identifiers`: columns that are known to name people.
    """
    findings = []
    for name in frame.columns:
        if frame[name].dtype.is_nested():
            continue
        text = as_text(frame[name])
        text = text.filter((text != "") & (text != "*"))
        if len(text):
            found = _column(name, text)
            if not found and (
                name in identifiers
                or _is_number_of_its_own(name, text, kind=frame[name].dtype)
            ):
                what = "other unique identifying number, characteristic or code"
                found = [Finding(name, "R", what, len(text))]
            findings += found
    return findings


def _is_number_of_its_own(name: str, text: pl.Series, *, kind: pl.DataType) -> bool:
    """Whether values tell rows apart as a record number does; measures do too."""
    if kind.is_float() or kind.is_temporal() or kind == pl.Boolean:
        return False
    distinct = text.n_unique()
    is_named = bool(_NUMBER.search(_words(name)))
    if len(text) < _FEW_ROWS:
        return is_named and distinct == len(text)
    if is_named and distinct > _SOME * len(text):
        return True
    if distinct < _NEARLY_ALL * len(text):
        return False
    numbers = text.cast(pl.Float64, strict=False).drop_nulls()
    if len(numbers) < SHARE * len(text):
        return True
    # Whole numbers without gaps count the rows; others are measured.
    span = float(numbers.max()) - float(numbers.min())  # type: ignore[arg-type]
    return bool((numbers == numbers.round()).all()) and span < 2 * len(text)


def _words(name: str) -> str:
    """`patientId` and `patient_id` become "patient Id" and "patient id"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ")


def _column(name: str, text: pl.Series) -> list[Finding]:
    words = _words(name)
    found: dict[str, Finding] = {}
    for rule, what, pattern in _NAMES:
        if re.search(pattern, words, re.IGNORECASE):
            found[rule] = Finding(name, rule, what, len(text))
    for rule, what, pattern in _VALUES:
        rows = int(text.str.contains(pattern).sum())
        if rows > SHARE * len(text):
            found.setdefault(rule, Finding(name, rule, what, rows))
    if _ZIP.search(words):
        exact = text.str.contains(r"^\d{4,5}") | text.str.contains(r"^\d{3}\d")
        small = text.str.slice(0, 3).is_in(list(SMALL_ZIP3))
        rows = int((exact | small).sum())
        if rows:
            what = "ZIP code of more than three digits, or of a small area"
            found["B"] = Finding(name, "B", what, rows)
    if _AGE.search(words):
        others = text.filter(~text.str.contains(_ONE_GROUP))
        years = others.str.extract(_LEAST_AGE).cast(pl.Float64)
        rows = int((years > 89).sum() or 0)
        if rows:
            found["C"] = Finding(name, "C", "age above 89", rows)
    return list(found.values())
