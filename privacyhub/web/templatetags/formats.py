"""Numbers as people read them: epsilon, delta, odds, sizes. No Django, no markup."""

from __future__ import annotations

import math
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_EVEN,
    Decimal,
    InvalidOperation,
)

Number = Decimal | float | int | str

NOT_KNOWN = "not known"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def decimal_of(value: object) -> Decimal | None:
    """The value as a finite or infinite Decimal; None where it is not a number."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return None if number.is_nan() else number


def epsilon_text(*, value: object, rounding: str = ROUND_HALF_EVEN) -> str:
    """Epsilon with two decimals, or two significant digits where it is below 0.1.

    What was spent is rounded up and what is left is rounded down by the caller's
    choice of `rounding`; a positive epsilon never prints as zero unless rounded down.
    """
    number = decimal_of(value)
    if number is None:
        return NOT_KNOWN
    if number.is_infinite():
        return "∞"
    if number == 0:
        return "0"
    given = -int(number.normalize().as_tuple().exponent)
    digits = max(2, min(given, 1 - number.adjusted(), 15))
    return f"{number.quantize(Decimal(1).scaleb(-digits), rounding):,f}"


def delta_text(*, value: object) -> str:
    """Delta as a power of ten: 1e-5 -> 10⁻⁵, 2.5e-6 -> 2.5 × 10⁻⁶."""
    number = decimal_of(value)
    if number is None:
        return NOT_KNOWN
    if number <= 0 or not number.is_finite():
        return f"{number}"
    exponent = number.adjusted()
    if exponent >= -2:
        return f"{number.normalize():f}"
    mantissa = round(number.scaleb(-exponent), 2).normalize()
    power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
    return power if mantissa == 1 else f"{mantissa:f} × {power}"


def odds_text(*, epsilon: object) -> str:
    """How often an attacker with a 50% prior can be right: e^eps / (1 + e^eps).

    1 -> '73.1 of 100'. Delta is left aside; the page says so beside it.
    """
    number = decimal_of(epsilon)
    if number is None:
        return NOT_KNOWN
    if number < 0:
        return NOT_KNOWN
    share = 100 / (1 + math.exp(-min(float(number), 700.0)))
    return f"{share:.1f} of 100" if share < 99.95 else "more than 99.9 of 100"


def bytes_text(*, value: object) -> str:
    """A size in units of 1000: 1234567 -> '1.2 MB'."""
    number = decimal_of(value)
    if number is None:
        return NOT_KNOWN
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(number) < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def thousands_text(*, value: object) -> str:
    """12345.5 -> '12,345.5'; trailing zeros are dropped."""
    number = decimal_of(value)
    if number is None:
        return NOT_KNOWN
    whole = number == number.to_integral_value()
    return f"{number:,.0f}" if whole else f"{number.normalize():,f}"


def percent_text(*, value: object, digits: int = 1) -> str:
    """A share between 0 and 1 as '81.3%'."""
    number = decimal_of(value)
    return NOT_KNOWN if number is None else f"{number * 100:.{digits}f}%"


def share(*, part: object, whole: object) -> float:
    """part / whole inside 0..1; 0 where there is no whole."""
    top, bottom = decimal_of(part), decimal_of(whole)
    if not top or not bottom or bottom <= 0:
        return 0.0
    return min(1.0, max(0.0, float(top / bottom)))


ROUND_UP, ROUND_DOWN = ROUND_CEILING, ROUND_FLOOR
