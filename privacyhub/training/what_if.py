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
from privacyhub.training.plans import Plan
from privacyhub.training.recipe_spec import RecipeSpec

MOST_RECIPES = 12
DEFAULT_EPOCHS = 20.0
_LOWERED = Decimal("0.98")
_TRIES = 4
_THREE_DIGITS = Context(prec=3, rounding=ROUND_DOWN)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A run: `like` an earlier one, or by `units`, `batch`, `epochs` and `delta`.

    runs: how often it must fit. epsilon: of which to count the runs that fit.
    recipient: under whose cap, besides the ledger's own; empty: nobody's. None: by
    rule.
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
        if run.recipe_id not in found and _shape(services.plan_of(run)) is not None:
            found[run.recipe_id] = run
    return list(found.values())[:MOST_RECIPES]


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
    plan = services.plan_of(run)
    shape = _shape(plan)
    if shape is None:
        raise ledgers.LedgerError("Ask about this run on its own page.")
    told = _told(ledger, shape, plan.spec.units, question)
    if told.largest is None or plan.statistics is None:
        return told
    checked = _checked(
        services.recipe_of(run), told.largest, [ledger], question=question
    )
    return replace(told, largest=checked)


def largest_like(
    *,
    plan: Plan,
    recipe: RecipeSpec,
    accounts: Sequence[Ledger],
    recipient: str = "",
) -> Answer | None:
    """The largest run of this recipe that every cap still holds: what is left for it.

    None where none fits, and for a tuned or a bare recipe, which no single noise
    multiplier describes.
    """
    shape = _shape(plan)
    most_delta = min(Decimal(account.delta_cap) for account in accounts)
    if shape is None or Decimal(plan.delta) > most_delta:
        return None
    found = [
        what_if.largest(ledger=account, shape=shape, recipient=recipient)
        for account in accounts
    ]
    fitting = [answer for answer in found if answer is not None]
    if len(fitting) < len(found):
        return None
    least = min(fitting, key=lambda answer: answer.epsilon)
    if plan.statistics is None:
        return least
    return _checked(recipe, least, accounts, question=Question(recipient=recipient))


def _shape(plan: Plan) -> Shape | None:
    event = plan.training
    if plan.selection is not None or not isinstance(event, PoissonGaussianEvent):
        return None
    return Shape(
        sampling_probability=event.sampling_probability,
        steps=event.steps,
        delta=plan.delta,
        part=Part(plan.part_train),
        also=(plan.statistics,) if plan.statistics else (),
        beside=(plan.metrics_price,),
    )


def _checked(
    recipe: RecipeSpec,
    answer: Answer,
    accounts: Sequence[Ledger],
    *,
    question: Question,
) -> Answer | None:
    """The answer, lowered until the plan that it would have fits."""
    epsilon = answer.epsilon
    for _ in range(_TRIES):
        asked = replace(recipe, epsilon=format(epsilon, "f"))
        prices = plans.plan_for(recipe=asked, accounts=accounts).prices
        fitting = min(
            ledgers.runs_that_fit(account, prices, recipient=question.recipient) or 0
            for account in accounts
        )
        if fitting >= question.runs:
            uses = max(ledgers.cost_in_cap(account, prices) for account in accounts)
            return replace(answer, epsilon=epsilon, uses=uses, runs=fitting)
        epsilon = _THREE_DIGITS.create_decimal(epsilon * _LOWERED)
    return None
