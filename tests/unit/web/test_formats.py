from __future__ import annotations

from decimal import Decimal

import pytest

from privacyhub.web.templatetags import formats


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [
        ("0.1", "52.5 of 100"),
        (0.5, "62.2 of 100"),
        (1, "73.1 of 100"),
        (Decimal(2), "88.1 of 100"),
        (3, "95.3 of 100"),
        (6, "99.8 of 100"),
        (1000, "more than 99.9 of 100"),
        (None, "not known"),
    ],
)
def test_odds_text_of_known_epsilons(epsilon: object, text: str) -> None:
    assert formats.odds_text(epsilon=epsilon) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1", "1.00"),
        ("1.325", "1.32"),
        ("0.02", "0.02"),
        ("0.01234", "0.012"),
        ("0.00000004", "0.00000004"),
        (0, "0"),
        ("Infinity", "∞"),
        ("NaN", "not known"),
        (None, "not known"),
    ],
)
def test_epsilon_text_digits(value: object, text: str) -> None:
    assert formats.epsilon_text(value=value) == text


def test_epsilon_text_rounds_costs_up_and_rest_down() -> None:
    value = "1.3201"
    assert formats.epsilon_text(value=value, rounding=formats.ROUND_UP) == "1.33"
    assert formats.epsilon_text(value=value, rounding=formats.ROUND_DOWN) == "1.32"


def test_delta_text_as_power_of_ten() -> None:
    assert formats.delta_text(value="0.00001") == "10⁻⁵"
    assert formats.delta_text(value=2.5e-6) == "2.5 × 10⁻⁶"


def test_share_stays_between_zero_and_one() -> None:
    assert formats.share(part="5", whole="4") == 1.0
    assert formats.share(part=1, whole=0) == 0.0
    assert formats.share(part="1", whole="4") == 0.25
