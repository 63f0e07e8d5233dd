"""The Rényi orders of the ledger's filter, and its unit of account.

A ledger stores one integer an order. The orders are fixed for the ledger's life: the
filter chooses among them after the fact and pays for that by a union bound, which
holds only if the set was fixed in advance.

The best order of a Gaussian-like loss at (epsilon, delta) is about
1 + 2 ln(1 / delta) / epsilon: 4 at epsilon 10 and delta 1e-5, some 430 at epsilon 0.1
and delta 1e-8. The list covers that range with steps of a quarter to a half.
"""

from __future__ import annotations

ORDERS: tuple[float, ...] = (
    1.5,
    2.0,
    2.5,
    3.0,
    4.0,
    5.0,
    6.0,
    7.0,
    8.0,
    10.0,
    12.0,
    14.0,
    16.0,
    20.0,
    24.0,
    32.0,
    40.0,
    48.0,
    64.0,
    96.0,
    128.0,
    192.0,
    256.0,
    512.0,
)

# Ledger amounts are integers in units of 1e-15.
UNITS_PER_ONE = 10**15
