"""Sums of amounts: closed forms, compositions, and no drift."""

from __future__ import annotations

import math
import uuid
from fractions import Fraction
from typing import Any

import dp_accounting
import pytest

from privacyhub.engines.dp import accountants
from privacyhub.engines.dp.events import (
    Event,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    event_from_dict,
)
from privacyhub.engines.dp.orders import ORDERS, UNITS_PER_ONE
from privacyhub.engines.dp.rdp import UNBOUNDED, add_vectors, rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import EntryKind, Ledger, Part
from privacyhub.governance.sums import load, store

from .conftest import gaussian, reserve


def test_gaussian_price_is_the_closed_form() -> None:
    """RDP of a Gaussian mechanism at order a is a / (2 sigma^2), rounded up."""
    for order, units in zip(ORDERS, rdp_vector(gaussian(1, noise=4.0)), strict=True):
        exact = order / (2 * 4.0**2) * UNITS_PER_ONE
        assert exact <= units <= exact * (1 + 1e-9) + 1


def test_a_million_tiny_charges_do_not_drift() -> None:
    """Each is added as `charge` adds it, and goes through text every thousandth time.

    The truth is a fraction: alpha / (2 sigma^2) an order, a million times.
    """
    one, charges, noise = rdp_vector(gaussian(1, noise=1000.0)), 1_000_000, 1000
    total: tuple[int, ...] = (0,) * len(one)
    for number in range(charges):
        total = add_vectors(total, one)
        if number % 1000 == 0:
            total = load(store(total))
    assert total == tuple(units * charges for units in one)
    assert total == rdp_vector(gaussian(charges, noise=1000.0))
    for order, units in zip(ORDERS, total, strict=True):
        true = Fraction(order) / (2 * noise**2) * charges * UNITS_PER_ONE
        assert true <= units <= true * (1 + Fraction(2, 10**12)) + charges


def test_many_charges_through_the_database_do_not_drift(
    account: Ledger, steward: Any
) -> None:
    times = 300
    run, tiny = uuid.uuid4(), gaussian(1, noise=5000.0)
    whole = ledger.Price(
        purpose="training",
        event=gaussian(times, noise=5000.0),
        part=Part.ALL,
        epsilon="0.1",
        delta="1e-5",
    )
    reserve(account, steward, run, whole)
    for _ in range(times):
        ledger.charge(run_id=run, purpose="training", event=tiny)
    account.refresh_from_db()
    exact = tuple(units * times for units in rdp_vector(tiny))
    assert load(account.spent_train) == load(account.spent_heldout) == exact
    assert not any(load(account.reserved_train))
    lines = account.entries.filter(kind=EntryKind.CHARGE).values_list("vector")
    replayed = [
        sum(column) for column in zip(*(load(v) for (v,) in lines), strict=True)
    ]
    assert replayed == list(exact)
    with pytest.raises(ledger.LedgerError, match="does not cover"):
        ledger.charge(run_id=run, purpose="training", event=tiny)


def test_the_sum_is_the_composition_of_the_stored_events(
    open_ledger: Any, steward: Any
) -> None:
    """Against one `dp_accounting` accountant over every event: never lower."""
    account, run = open_ledger(cap="200"), uuid.uuid4()
    events: list[Event] = [
        PoissonGaussianEvent(sampling_probability=q, noise_multiplier=noise, steps=k)
        for q, noise, k in ((0.01, 1.1, 500), (0.2, 3.0, 40), (1.0, 20.0, 3))
    ]
    events += [
        gaussian(7, noise=9.0),
        LaplaceEvent(noise_multiplier=4.0, count=2),
        SelectionEvent(event=gaussian(1, noise=30.0), mean_trials=5.0),
    ]
    for number, event in enumerate(events):
        paid = ledger.Price(
            purpose=f"part {number}",
            event=event,
            part=Part.ALL,
            epsilon="1",
            delta="1e-5",
        )
        reserve(account, steward, run, paid)
        ledger.charge(run_id=run, purpose=paid.purpose, event=event)
    account.refresh_from_db()
    stored = account.entries.filter(kind=EntryKind.CHARGE).order_by("number")
    accountant = dp_accounting.rdp.RdpAccountant(list(ORDERS))
    for entry in stored:
        accountant.compose(accountants.dp_event(event_from_dict(entry.event)))
    for units, composed in zip(load(account.spent_train), accountant._rdp, strict=True):
        if math.isfinite(composed) and units < UNBOUNDED:
            told = Fraction(units, UNITS_PER_ONE)
            assert (
                Fraction(composed)
                <= told
                <= Fraction(composed) * (1 + Fraction(1, 10**9))
            )
        else:
            assert units >= UNBOUNDED
