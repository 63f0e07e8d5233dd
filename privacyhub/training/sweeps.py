"""A sweep: one recipe at several epsilons, priced and reserved together.

The runs read the same units, so they compose: all of them together cost more than the
largest. All are reserved in one transaction, or none is. A run without privacy may
stand beside them, as a model of its own, to show what privacy costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction

from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import DataError
from privacyhub.datasets.models import Version
from privacyhub.engines.dp import accounting
from privacyhub.engines.dp.events import Event, compose
from privacyhub.governance import audit, ledger
from privacyhub.governance.ledger import Balance, BudgetRefused
from privacyhub.governance.models import Ledger
from privacyhub.training import deliveries, orders, plans
from privacyhub.training.models import Model, Privacy, Sweep
from privacyhub.training.orders import NAME_LIMIT, Order
from privacyhub.training.plans import Plan
from privacyhub.training.recipe_settings import comma_hint, positive
from privacyhub.training.recipes import RecipeSpec, fit_to

FEWEST_RUNS, MOST_RUNS = 2, 8
BARE_SUFFIX = ", without privacy"


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One run of a sweep. `uses`: what it would take of the cap if it ran alone."""

    recipe: RecipeSpec
    plan: Plan
    uses: Decimal


@dataclass(frozen=True, kw_only=True)
class SweepQuote:
    """All runs beside the ledger on which they weigh most.

    together: epsilon of the training units when all runs compose, at `delta`.
    metrics_together: epsilon of the held-out units, who pay for every histogram.
    cap_of: the recipient whose cap this is; empty for the ledger's own. refused_for:
    who would get the private runs' results too and whose cap does not hold them.
    """

    runs: tuple[SweepRun, ...]
    delta: str
    together: str
    metrics_together: str
    ledger: Ledger
    cap_of: str
    balance: Balance
    uses: Decimal
    fits: bool
    refused_for: str = ""

    @property
    def left_after(self) -> Decimal:
        return max(Decimal(0), self.balance.left - self.uses)

    @property
    def epsilon_in_all(self) -> str:
        """What one unit pays at most for all models and their metrics."""
        return max(self.together, self.metrics_together, key=Decimal)

    @property
    def unit_in_words(self) -> str:
        return plans.unit_in_words(self.ledger)

    @property
    def plans(self) -> tuple[Plan, ...]:
        return tuple(run.plan for run in self.runs)


def epsilons_of(written: str) -> tuple[str, ...]:
    """The epsilons of a text such as “0.5 1 2” or “0.5, 1, 2”, each once, ascending.

    Raises DataError (code `epsilon`), with a hint where a comma stands for a point.
    """
    parts = written.replace(";", " ").replace(", ", " ").split()
    for part in parts:
        if comma_hint(part):
            raise DataError(
                f"Epsilon must be a number.{comma_hint(part)} Several epsilons are "
                "separated by blanks.",
                code="epsilon",
            )
    return ascending([part.strip(",") for part in parts])


def ascending(given: Sequence[Any]) -> tuple[str, ...]:
    """Epsilons of a request, checked, each once, the smallest first."""
    known = {
        Decimal(text): text
        for text in (positive(one, name="Epsilon", code="epsilon") for one in given)
    }
    return tuple(known[value] for value in sorted(known))


def recipes_of(
    *, recipe: RecipeSpec, epsilons: Sequence[str], with_bare: bool
) -> list[RecipeSpec]:
    """The recipe at each epsilon, and once without privacy. Raises DataError."""
    if not recipe.is_private:
        raise DataError(
            "A sweep is over epsilons: it needs runs with privacy. The one without "
            "is added to them.",
            code="privacy",
        )
    wanted = [replace(recipe, epsilon=epsilon) for epsilon in ascending(epsilons)]
    if with_bare:
        # Neither a search, the reference loop nor an adaptive clip norm is offered
        # without privacy.
        settings = dict(recipe.settings)
        settings.pop("implementation", None)
        settings.pop("clip_quantile", None)
        bare = replace(recipe, privacy=Privacy.NONE, settings=settings, tuning=None)
        wanted.append(bare)
    if not FEWEST_RUNS <= len(wanted) <= MOST_RUNS:
        raise DataError(
            f"A sweep has {FEWEST_RUNS} to {MOST_RUNS} runs; this one has "
            f"{len(wanted)}.",
            code="epsilon",
        )
    return wanted


def price(
    *,
    version: Version,
    recipes: Sequence[RecipeSpec],
    recipient: str = "",
    model: Model | None = None,
) -> SweepQuote:
    """What the runs would cost together. Reads declarations and the ledger alone.

    recipient: for whom they would be, whose own caps bind them too. model: an existing
    one that would get the private versions, so that the caps of all who have it bind
    those runs.
    """
    return _quote(
        recipes,
        list(version.ledgers.all()),
        recipient=recipient,
        audience=deliveries.audience_of(model),
    )


def _quote(
    recipes: Sequence[RecipeSpec],
    accounts: Sequence[Ledger],
    *,
    recipient: str,
    audience: Sequence[str] = (),
) -> SweepQuote:
    made = [plans.plan_for(recipe=recipe, accounts=accounts) for recipe in recipes]
    prices = [price for plan in made for price in plan.prices]
    tightest = ledger.tightest(accounts, prices, recipient=recipient)
    private = [plan for plan in made if plan.training_price is not None]
    delta = private[0].delta
    additive = sum(plan.additive_delta for plan in private)
    trained = tuple(
        plan.training_price.event for plan in private if plan.training_price
    )
    metrics = tuple(plan.metrics for plan in made)
    if private[0].part_train != private[0].part_heldout:
        together = _composed(trained, float(delta) - additive)
        metrics_together = _composed(metrics, float(delta))
    else:
        together = _composed((*trained, *metrics), float(delta) - additive)
        metrics_together = together
    fits = _fit(made, accounts, recipient=recipient)
    refused_for = _refused_for(private, accounts, audience=audience) if fits else ""
    return SweepQuote(
        runs=tuple(
            SweepRun(
                recipe=recipe,
                plan=plan,
                uses=ledger.cost_in_cap(tightest.ledger, plan.prices, of=tightest.own),
            )
            for recipe, plan in zip(recipes, made, strict=True)
        ),
        delta=delta,
        together=together,
        metrics_together=metrics_together,
        ledger=tightest.ledger,
        cap_of=tightest.cap_of,
        balance=tightest.balance,
        uses=tightest.uses,
        fits=fits and not refused_for,
        refused_for=refused_for,
    )


def _fit(made: Sequence[Plan], accounts: Sequence[Ledger], *, recipient: str) -> bool:
    prices = [price for plan in made for price in plan.prices]
    return all(
        ledger.would_fit(account, prices, recipient=recipient) for account in accounts
    )


def _refused_for(
    private: Sequence[Plan], accounts: Sequence[Ledger], *, audience: Sequence[str]
) -> str:
    """The first of them whose cap does not hold the private runs; empty where none is.

    The run without privacy goes into a model of its own, which they do not have.
    """
    names = plans.capped(audience, accounts=accounts)
    refused = (name for name in names if not _fit(private, accounts, recipient=name))
    return next(refused, "")


@lru_cache(maxsize=64)
def _composed(events: tuple[Event, ...], delta: float) -> str:
    """Epsilon of the events together, rounded up to four digits."""
    found = accounting.epsilon(compose(list(events)), delta=delta)
    return f"{math.ceil(found * 10_000) / 10_000:.4f}"


def submit(
    *,
    version: Version,
    recipes: Sequence[RecipeSpec],
    by: Any,
    name: str,
    reason: str = "",
    model: Model | None = None,
    sweep_id: UUID | None = None,
) -> Sweep:
    """Reserve the budget of all runs and queue them; all or nothing.

    recipes: from `recipes_of`. model: an existing one that gets the private versions.
    sweep_id: a sweep of this id is made once, however often it is asked for.
    Raises DataError, Conflict, LedgerError, TooManyJobs, or BudgetRefused with the
    refusal on record.
    """
    datasets.require_manager(dataset=version.dataset, by=by)
    fit_to(recipe=recipes[0], version=version)
    wanted = sweep_id or uuid4()
    known = Sweep.objects.filter(pk=wanted, owner=by).first()
    if known is not None:
        return known
    accounts = list(version.ledgers.all())
    try:
        return _write(
            quote=_quote(recipes, accounts, recipient=by.username),
            accounts=accounts,
            version=version,
            by=by,
            name=name.strip()[:NAME_LIMIT],
            reason=reason.strip(),
            model=model,
            sweep_id=wanted,
        )
    except BudgetRefused as refused:
        ledger.record_refusal(refused=refused, by=by)
        raise
    except IntegrityError:
        known = Sweep.objects.filter(pk=wanted, owner=by).first()
        if known is None:
            raise
        return known


@transaction.atomic
def _write(
    *,
    quote: SweepQuote,
    accounts: Sequence[Ledger],
    version: Version,
    by: Any,
    name: str,
    reason: str,
    model: Model | None,
    sweep_id: UUID,
) -> Sweep:
    for run in quote.runs:
        orders.require_reason(recipe=run.recipe, reason=reason)
    placed = [
        Order(
            recipe=run.recipe,
            plan=run.plan,
            dataset=version.dataset,
            accounts=accounts,
            version=version,
            name=name,
            reason=reason,
            model=model,
        )
        for run in quote.runs
    ]
    private = model or orders.new_model(placed[0])
    sweep = Sweep.objects.create(
        id=sweep_id,
        model=private,
        version=version,
        owner=by,
        together=quote.together,
        metrics_together=quote.metrics_together,
        delta=quote.delta,
    )
    for order in placed:
        bare = not order.recipe.is_private
        title = f"{private.name[: NAME_LIMIT - len(BARE_SUFFIX)]}{BARE_SUFFIX}"
        orders.write(
            replace(
                order,
                # Sharing the private model must not share the one without privacy.
                model=None if bare else private,
                name=title if bare else private.name,
                sweep=sweep,
            ),
            by=by,
        )
    audit.record(
        actor=by,
        action="sweep.submit",
        target=sweep,
        model=str(private.pk),
        version=str(version.pk),
        epsilons=" ".join(p.epsilon for p in quote.plans if p.training),
        runs=len(quote.runs),
    )
    return sweep
