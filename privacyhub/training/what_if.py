"""What could still run on a ledger: of a recipe that ran, or of a run by its numbers.

See `governance.what_if` for the search. A recipe's statistics take a fixed share of its
budget, so their noise follows the epsilon: there the answer is checked by the plan
that such a run would have, and lowered until that plan fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from privacyhub.engines.dp.events import PoissonGaussianEvent
from privacyhub.governance import ledger as ledgers
from privacyhub.governance import what_if
from privacyhub.governance.models import Ledger, Part
from privacyhub.governance.what_if import Answer, Shape
from privacyhub.training import plans, services
from privacyhub.training.models import TrainingRun

MOST_RECIPES = 12
DEFAULT_EPOCHS = 20.0
_LOWERED = Decimal("0.98")
_TRIES = 4
_THREE_DIGITS = Context(prec=3, rounding=ROUND_DOWN)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A run: `like` an earlier one, or by `units`, `batch`, `epochs` and `delta`.

    runs: how often it must fit. epsilon: of which to count the runs that fit.
    recipient: under whose cap, besides the ledger's own. None: by rule.
    """

    like: TrainingRun | None = None
    units: int | None = None
    batch: int | None = None
    epochs: float | None = None
    delta: str | None = None
    runs: int = 1
    epsilon: Decimal | None = None
    recipient: str = ""


@dataclass(frozen=True, kw_only=True)
class Told:
    """The shape that was asked about; the largest run that fits; the one asked for."""

    shape: Shape
    units: int
    largest: Answer | None
    asked: Answer | None


def recipes(*, ledger: Ledger, user: Any) -> list[TrainingRun]:
    """The last run of each recipe on this ledger that the user may see, newest first.

    Those that one noise multiplier describes: no tuned and no bare runs.
    """
    versions: Any = ledger.versions  # type: ignore[attr-defined]
    found: dict[Any, TrainingRun] = {}
    runs = TrainingRun.objects.visible_to(user).filter(
        version__in=versions.values("pk"), privacy="dp"
    )
    for run in runs.select_related("model").order_by("-created_at")[:100]:
        if run.recipe_id not in found and _steps_of(run) is not None:
            found[run.recipe_id] = run
    return list(found.values())[:MOST_RECIPES]


def _steps_of(run: TrainingRun) -> PoissonGaussianEvent | None:
    event = services.plan_of(run).training
    return event if isinstance(event, PoissonGaussianEvent) else None


def ask(*, ledger: Ledger, question: Question) -> Told:
    """Answer from the ledger alone. Raises LedgerError for what cannot be asked."""
    if not ledger.is_declared:
        raise ledgers.LedgerError(f"Declare the caps of “{ledger.name}” first.")
    if question.like is not None:
        return _like(ledger, question.like, question)
    units = question.units or max(1, int(int(ledger.declared_units or 1) * 0.8))
    shape = what_if.shape_of(
        units=units,
        batch=question.batch or max(1, min(8192, units // 12)),
        epochs=question.epochs or DEFAULT_EPOCHS,
        delta=question.delta or plans.default_delta([ledger]),
    )
    return _told(ledger, shape, units, question)


def _told(ledger: Ledger, shape: Shape, units: int, question: Question) -> Told:
    largest = what_if.largest(
        ledger=ledger, shape=shape, runs=question.runs, recipient=question.recipient
    )
    asked = None
    if question.epsilon is not None:
        asked = what_if.of_epsilon(
            ledger=ledger,
            shape=shape,
            epsilon=question.epsilon,
            recipient=question.recipient,
        )
    return Told(shape=shape, units=units, largest=largest, asked=asked)


def _like(ledger: Ledger, run: TrainingRun, question: Question) -> Told:
    plan, event = services.plan_of(run), _steps_of(run)
    if event is None:
        raise ledgers.LedgerError("Ask about this run on its own page.")
    shape = Shape(
        sampling_probability=event.sampling_probability,
        steps=event.steps,
        delta=plan.delta,
        part=Part(plan.part_train),
        also=(plan.statistics,) if plan.statistics else (),
        beside=(plan.metrics_price,),
    )
    told = _told(ledger, shape, plan.spec.units, question)
    if told.largest is None or plan.statistics is None:
        return told
    return replace(told, largest=_checked(ledger, run, told.largest, question))


def _checked(
    ledger: Ledger, run: TrainingRun, answer: Answer, question: Question
) -> Answer | None:
    """The answer, lowered until the plan that it would have fits."""
    recipe, epsilon = services.recipe_of(run), answer.epsilon
    for _ in range(_TRIES):
        prices = _prices(replace(recipe, epsilon=format(epsilon, "f")), ledger)
        fitting = ledgers.runs_that_fit(ledger, prices, recipient=question.recipient)
        if fitting is not None and fitting >= question.runs:
            uses = ledgers.cost_in_cap(ledger, prices)
            return replace(answer, epsilon=epsilon, uses=uses, runs=fitting)
        epsilon = _THREE_DIGITS.create_decimal(epsilon * _LOWERED)
    return None


def _prices(recipe: Any, ledger: Ledger) -> Sequence[ledgers.Price]:
    return plans.plan_for(recipe=recipe, accounts=[ledger]).prices
