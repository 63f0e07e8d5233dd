"""What direct identifiers look like: patterns of values and of columns' names.

Patterns find shapes, not proofs: a card number must also pass Luhn's check, an IBAN its
check digits, because long numbers are common and cards are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import polars as pl

Role = str
IDENTIFIER, QUASI, SENSITIVE, INSENSITIVE = (
    "identifier",
    "quasi_identifier",
    "sensitive",
    "insensitive",
)


@dataclass(frozen=True, kw_only=True)
class NameRule:
    """A word in a column's name that says what the column holds."""

    role: Role
    kind: str
    pattern: re.Pattern[str]


def _rule(role: Role, kind: str, pattern: str) -> NameRule:
    return NameRule(
        role=role, kind=kind, pattern=re.compile(rf"(?:^|_)(?:{pattern})(?:_|$)")
    )


# The first rule that matches decides: special names stand before general ones.
NAME_RULES: tuple[NameRule, ...] = (
    _rule(IDENTIFIER, "email", r"e_?mails?|email_?address|mail"),
    _rule(
        IDENTIFIER,
        "phone",
        r"phones?|telephone|tel|mobile|cell_?phone|fax|phone_?(?:no|number)",
    ),
    _rule(
        IDENTIFIER,
        "social security number",
        r"ssn|social_security(?:_number)?|nino|nhs_(?:no|number)|national_id|tax_id"
        r"|personal_number|passport(?:_no|_number)?",
    ),
    _rule(IDENTIFIER, "IBAN", r"iban|account_(?:no|number)|bank_account"),
    _rule(
        IDENTIFIER, "credit card", r"credit_card|card_(?:no|number)|cc_(?:no|number)"
    ),
    _rule(IDENTIFIER, "IP address", r"ip|ip_?address|ipv4|ipv6"),
    _rule(
        IDENTIFIER,
        "street address",
        r"street|street_address|home_address|address|address_line_?\d?|addr",
    ),
    _rule(
        IDENTIFIER,
        "record number",
        r"mrn|record_?(?:no|number|id)|patient_?(?:no|number|id)|chart_(?:no|number)"
        r"|member_?id|customer_?(?:id|no|number)|employee_?(?:id|no|number)|user_?id"
        r"|case_?(?:id|number)|licen[cs]e_?(?:no|number|plate)|vin|device_?id|uuid|guid",
    ),
    _rule(IDENTIFIER, "user name", r"user_?name|login|screen_name|nick_?name"),
    _rule(
        IDENTIFIER,
        "person name",
        r"full_?name|first_?name|last_?name|given_?name|family_?name|surname|fore_?name"
        r"|middle_?name|maiden_?name|patient_?name|person_?name|customer_?name"
        r"|employee_?name",
    ),
    _rule(QUASI, "birth date", r"birth_?(?:date|day|year)?|dob|date_of_birth|yob|born"),
    _rule(
        QUASI,
        "ZIP code",
        r"zip|zip_?code|post_?code|postal_?code|postcode|plz|zcta",
    ),
    _rule(QUASI, "sex", r"sex|gender"),
    _rule(QUASI, "age", r"age|age_?(?:years|group|at_\w+)"),
    _rule(QUASI, "race", r"race|ethnic|ethnicity|ethnic_group"),
    _rule(
        QUASI,
        "nationality",
        r"nationality|native_country|country(?:_of_birth)?|citizenship|birth_?place",
    ),
    _rule(
        QUASI, "place", r"city|town|county|state|region|district|province|municipality"
    ),
    _rule(QUASI, "location", r"lat|latitude|lon|lng|longitude"),
    _rule(
        QUASI, "occupation", r"occupation|job|job_?title|profession|workclass|employer"
    ),
    _rule(QUASI, "education", r"education|education_num|degree|school|educ"),
    _rule(
        QUASI,
        "marital status",
        r"marital|marital_?status|married|relationship|civil_status|household_size",
    ),
    _rule(QUASI, "language", r"language|mother_tongue|religion"),
    _rule(
        SENSITIVE,
        "diagnosis",
        r"diagnos[ie]s|diagnosis_?(?:code|group)|icd|icd_?(?:9|10)|disease|condition"
        r"|symptoms?|disorder|comorbidity|procedure",
    ),
    _rule(
        SENSITIVE, "medication", r"medications?|drugs?|prescription|treatment|therapy"
    ),
    _rule(
        SENSITIVE,
        "income",
        r"income|salary|salary_class|wages?|earnings|net_worth|credit_score|debt|balance",
    ),
    _rule(
        SENSITIVE, "health status", r"hiv|hiv_status|pregnan(?:t|cy)|disability|smoker"
    ),
    _rule(SENSITIVE, "outcome", r"readmitted|readmission|death|died|mortality|outcome"),
    _rule(
        SENSITIVE,
        "belief or origin",
        r"political|party|union_member|sexual_orientation|orientation|conviction|offen[cs]e",
    ),
)

# A column called just "name" may name anything; its values decide.
PLAIN_NAME = re.compile(r"(?:^|_)names?$")
IDENTIFIER_WORD = re.compile(
    r"(?:^|_)(?:id|ids|no|nr|key|code|number|identifier)$|^id_"
)

# "phone_type" describes a phone and is none.
DESCRIBING_WORD = re.compile(
    r"_(?:types?|status|kind|count|flag|brand|verified|category|provider|length|class)$"
)

_VALUE_PATTERNS: tuple[tuple[str, str], ...] = (
    ("email", r"^[^@\s]{1,64}@[^@\s]+\.[A-Za-z]{2,}$"),
    ("URL", r"^(?i:https?|ftp)://\S+$"),
    (
        "IP address",
        r"^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)$"
        r"|^(?:[0-9A-Fa-f]{1,4}:){3,7}[0-9A-Fa-f:]{1,}$",
    ),
    ("social security number", r"^\d{3}-\d{2}-\d{4}$"),
    ("UUID", r"^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"),
    ("IBAN", r"^[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}$"),
    ("credit card", r"^\d(?:[ -]?\d){12,18}$"),
    (
        "phone",
        r"^(?:\+\d{1,3}[ .\-]?)?(?:\(\d{2,4}\)[ ]?|\d{2,4}[ .\-])\d{3,4}[ .\-]?\d{3,4}$"
        r"|^\+\d{8,15}$",
    ),
)
PERSON_NAME = (
    r"^\p{Lu}[\p{L}'’\-]+,?(?: \p{Lu}\.)?"
    r"(?: (?:de|van|von|der|da|di|la|bin))* \p{Lu}[\p{L}'’\-]+$"
)
ZIP_CODE = r"^\d{5}(?:-\d{4})?$"


def matching_kind(values: pl.Series) -> tuple[str, float] | None:
    """The kind whose pattern most of the text `values` fit, and the share that fits."""
    for kind, pattern in _VALUE_PATTERNS:
        hits = values.str.contains(pattern)
        share = _share(hits)
        if share >= _LEAST_SHARE and kind in _CHECKS:
            valid = values.filter(hits).map_elements(
                _CHECKS[kind], return_dtype=pl.Boolean
            )
            share *= _share(valid)
        if share >= _LEAST_SHARE:
            return kind, share
    return None


def share_matching(values: pl.Series, pattern: str) -> float:
    """The share of text `values` that a pattern fits."""
    return _share(values.str.contains(pattern))


def passes_luhn(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1), over the digits.

    >>> passes_luhn("4111 1111 1111 1111"), passes_luhn("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def passes_iban(text: str) -> bool:
    """The check digits of an IBAN (ISO 13616): the number is 1 modulo 97.

    >>> passes_iban("GB82 WEST 1234 5698 7654 32")
    True
    """
    plain = text.replace(" ", "")
    digits = "".join(str(int(char, 36)) for char in plain[4:] + plain[:4])
    return int(digits) % 97 == 1


_LEAST_SHARE = 0.6
_CHECKS = {"IBAN": passes_iban, "credit card": passes_luhn}


def _share(hits: pl.Series) -> float:
    mean = hits.mean()
    return float(mean) if isinstance(mean, int | float) else 0.0
