"""Any order of reserve, charge, crash and settle: never over the cap, never unsaid."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from privacyhub.engines.dp.rdp import fits, rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import EntryKind, Ledger, Part, Reservation
from privacyhub.governance.sums import SIDES, committed, load

from .conftest import gaussian, price


class Machine(RuleBasedStateMachine):
    """Runs hold and spend counts of one Gaussian mechanism; the model counts them."""

    steward: Any

    def __init__(self) -> None:
        super().__init__()
        row = ledger.open_ledger(name="machine", fingerprint=uuid.uuid4().hex)
        self.row = ledger.declare(
            ledger=row,
            by=self.steward,
            declared_units=600,
            epsilon_cap="1",
            delta_cap="1e-5",
        )
        self.open: dict[uuid.UUID, tuple[Part, int, int]] = {}
        self.spent = {"train": 0, "heldout": 0}

    @rule(count=st.integers(1, 20), part=st.sampled_from(list(Part)))
    def reserve(self, count: int, part: Part) -> None:
        run = uuid.uuid4()
        expected = ledger.would_fit(self._row(), [price(count, part=part)])
        try:
            ledger.reserve(
                ledgers=[self.row],
                run_id=run,
                prices=[price(count, part=part)],
                recipient="steward",
                by=self.steward,
            )
        except ledger.BudgetRefused:
            assert not expected
        else:
            assert expected
            self.open[run] = (part, count, 0)

    @rule(data=st.data(), count=st.integers(1, 9))
    def charge(self, data: st.DataObject, count: int) -> None:
        if not self.open:
            return
        run = data.draw(st.sampled_from(sorted(self.open)))
        part, held, used = self.open[run]
        try:
            ledger.charge(run_id=run, purpose="training", event=gaussian(count))
        except ledger.LedgerError:
            assert used + count > held
            return
        assert used + count <= held
        self.open[run] = (part, held, used + count)
        for side in SIDES[part]:
            self.spent[side] += count

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        """Also what happens after a crash: what was charged stays charged."""
        if not self.open:
            return
        run = data.draw(st.sampled_from(sorted(self.open)))
        ledger.settle(run_id=run)
        ledger.settle(run_id=run)
        del self.open[run]

    @invariant()
    def never_over_the_cap(self) -> None:
        row = self._row()
        for side in ("train", "heldout"):
            assert fits(committed(row, side), load(row.cap_vector))

    @invariant()
    def totals_are_the_replayed_history(self) -> None:
        row = self._row()
        for side in ("train", "heldout"):
            assert load(row.__dict__[f"spent_{side}"]) == rdp_vector(
                gaussian(self.spent[side])
            )
            lines = [
                load(line.vector)
                for line in row.entries.filter(kind=EntryKind.CHARGE)
                if side in SIDES[line.part]
            ]
            replayed = [sum(column) for column in zip(*lines, strict=True)]
            assert replayed == list(load(row.__dict__[f"spent_{side}"])) or not lines
            held = sum(
                count - used
                for part, count, used in self.open.values()
                if side in SIDES[part]
            )
            assert load(row.__dict__[f"reserved_{side}"]) == rdp_vector(gaussian(held))

    def _row(self) -> Ledger:
        return Ledger.objects.get(pk=self.row.pk)


@pytest.mark.django_db
def test_ledger_under_any_history(steward: Any) -> None:
    Machine.steward = steward
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Reservation.objects.exists()
