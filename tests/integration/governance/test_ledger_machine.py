"""Any order of reserve, run, crash, settle, raise: never over a cap, never unsaid."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from privacyhub.engines.dp.rdp import fits, rdp_vector
from privacyhub.governance import ledger
from privacyhub.governance.models import (
    EntryKind,
    Ledger,
    Part,
    RecipientCap,
    Reservation,
    ReservationState,
)
from privacyhub.governance.sums import BOTH, SIDES, Holder, committed, load
from privacyhub.governance.verification import verify

from .conftest import gaussian, price

RECIPIENTS = ("steward", "analyst")


@dataclass
class Run:
    """What a run holds, has charged and has executed, in mechanisms."""

    part: Part
    recipient: str
    held: int
    charged: int = 0
    executed: int = 0


class _Crash(Exception):
    """The process ends inside a transaction."""


class Machine(RuleBasedStateMachine):
    """Runs hold and spend counts of one Gaussian mechanism; the model counts them."""

    steward: Any
    auditor: Any

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
        self.open: dict[uuid.UUID, Run] = {}
        self.ended: list[Run] = []

    @rule(
        count=st.integers(1, 20),
        part=st.sampled_from(list(Part)),
        recipient=st.sampled_from(RECIPIENTS),
    )
    def reserve(self, count: int, part: Part, recipient: str) -> None:
        run, prices = uuid.uuid4(), [price(count, part=part)]
        expected = ledger.would_fit(self._row(), prices, recipient=recipient)
        try:
            for _ in range(2):  # the same delivery twice
                ledger.reserve(
                    ledgers=[self.row],
                    run_id=run,
                    prices=prices,
                    recipient=recipient,
                    by=self.steward,
                )
        except ledger.BudgetRefused:
            assert not expected
            return
        assert expected
        self.open[run] = Run(part, recipient, count)
        for holder in self._holders():
            if isinstance(holder, Ledger) or holder.recipient == recipient:
                for side in SIDES[part]:
                    assert fits(committed(holder, side), load(holder.cap_vector))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), count=st.integers(1, 9), crash=st.booleans())
    def charge(self, data: st.DataObject, count: int, crash: bool) -> None:
        """Pay for a block, then run it, unless the worker is lost in between."""
        key = data.draw(st.sampled_from(sorted(self.open)))
        run = self.open[key]
        covered = run.charged + count <= run.held
        own = self._cap(run.recipient)
        after = {
            side: self._counted(side, run.recipient)[0] + count
            for side in SIDES[run.part]
        }
        allowed = own is None or all(
            fits(_of(spent), load(own.cap_vector)) for spent in after.values()
        )
        try:
            ledger.charge(run_id=key, purpose="training", event=gaussian(count))
        except ledger.LedgerError:
            assert not (covered and allowed)
            return
        assert covered
        assert allowed
        run.charged += count
        if not crash:
            run.executed += count

    @precondition(lambda self: self.open)
    @rule(data=st.data(), count=st.integers(1, 9), settling=st.booleans())
    def crash_before_the_commit(
        self, data: st.DataObject, count: int, settling: bool
    ) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        try:
            with transaction.atomic():
                if settling:
                    ledger.settle(run_id=key)
                else:
                    ledger.charge(run_id=key, purpose="training", event=gaussian(count))
                raise _Crash
        except (_Crash, ledger.LedgerError):
            pass

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        for _ in range(2):
            ledger.settle(run_id=key)
        run = self.open.pop(key)
        self.ended.append(run)
        states = {r.state for r in Reservation.objects.filter(run_id=key)}
        started = run.charged > 0
        assert states == {
            ReservationState.SETTLED if started else ReservationState.RELEASED
        }

    @rule(tenths=st.integers(1, 9), recipient=st.sampled_from(RECIPIENTS))
    def cap_a_recipient(self, tenths: int, recipient: str) -> None:
        wanted, known = f"0.{tenths}", self._cap(recipient)
        higher = known is not None and float(wanted) > float(known.epsilon_cap)
        try:
            ledger.set_recipient_cap(
                ledger=self.row,
                recipient=recipient,
                epsilon_cap=wanted,
                by=self.steward,
            )
        except ledger.LedgerError:
            assert higher
        else:
            assert not higher

    @rule(percent=st.integers(101, 130), recipient=st.sampled_from(("", *RECIPIENTS)))
    def raise_a_cap(self, percent: int, recipient: str) -> None:
        """By two people; a recipient's stays beneath the ledger's."""
        row = self._row()
        holder: Holder | None = self._cap(recipient) if recipient else row
        if holder is None:
            return
        wanted = float(holder.epsilon_cap) * percent / 100
        if wanted > 4 or (recipient and wanted > float(row.epsilon_cap)):
            return
        wish = ledger.request_raise(
            ledger=row,
            recipient=recipient,
            epsilon_cap=f"{wanted:.4f}",
            reason="more",
            by=self.steward,
        )
        ledger.decide_raise(request=wish, approve=True, by=self.auditor)

    @invariant()
    def never_over_the_cap(self) -> None:
        row = self._row()
        for side in BOTH:
            assert fits(committed(row, side), load(row.cap_vector))

    @invariant()
    def charged_at_least_what_was_executed(self) -> None:
        for run in (*self.open.values(), *self.ended):
            assert run.executed <= run.charged <= run.held

    @invariant()
    def totals_are_the_replayed_history(self) -> None:
        for holder in self._holders():
            whose = None if isinstance(holder, Ledger) else holder.recipient
            for side in BOTH:
                spent, held = self._counted(side, whose)
                assert load(getattr(holder, f"spent_{side}")) == _of(spent)
                assert load(getattr(holder, f"reserved_{side}")) == _of(held)
        lines = self._row().entries.filter(kind=EntryKind.CHARGE)
        for side in BOTH:
            vectors = [load(x.vector) for x in lines if side in SIDES[x.part]]
            replayed = tuple(map(sum, zip(*vectors, strict=True))) or _of(0)
            assert replayed == load(getattr(self._row(), f"spent_{side}"))

    def teardown(self) -> None:
        assert verify().holds

    def _counted(self, side: str, whose: str | None) -> tuple[int, int]:
        """(charged, still held) of the side, by the model."""

        def of(runs: Any) -> Iterator[Run]:
            return (
                run
                for run in runs
                if side in SIDES[run.part] and whose in (None, run.recipient)
            )

        spent = sum(run.charged for run in of((*self.open.values(), *self.ended)))
        held = sum(run.held - run.charged for run in of(self.open.values()))
        return spent, held

    def _cap(self, recipient: str) -> RecipientCap | None:
        return RecipientCap.objects.filter(ledger=self.row, recipient=recipient).first()

    def _holders(self) -> list[Holder]:
        return [self._row(), *RecipientCap.objects.filter(ledger=self.row)]

    def _row(self) -> Ledger:
        return Ledger.objects.get(pk=self.row.pk)


def _of(count: int) -> tuple[int, ...]:
    return rdp_vector(gaussian(count))


@pytest.mark.django_db
def test_ledger_under_any_history(steward: Any, auditor: Any, analyst: Any) -> None:
    Machine.steward, Machine.auditor = steward, auditor
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Reservation.objects.exists()
