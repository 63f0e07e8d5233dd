"""What a run will do and cost, fixed before any private row is read.

A plan follows from a recipe and the ledger's declarations alone: sampling
probability, steps, noise multiplier, and the prices that the ledger is asked for.
Training units pay for DP statistics and training; held-out units for the metrics.
The two are disjoint by the family's coin, so they compose in parallel. A version with
several roots has several coins, and another held-out share or a refresh of records
moves units between the sides: then each price is charged to all units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import VersionKind
from privacyhub.engines.assess.histogram import metrics_noise_multiplier
from privacyhub.engines.dp.accounting import EpsilonAfter
from privacyhub.engines.dp.defaults import default_spec
from privacyhub.engines.dp.events import (
    Event,
    GaussianEvent,
    LaplaceEvent,
    PoissonGaussianEvent,
    SelectionEvent,
    compose,
    event_from_dict,
)
from privacyhub.engines.dp.orders import UNITS_PER_ONE
from privacyhub.engines.dp.spec import REFERENCES, TrainSpec
from privacyhub.governance import ledger as ledgers
from privacyhub.governance.balances import runs_that_fit
from privacyhub.governance.models import Ledger, Part, RecipientCap, Unit
from privacyhub.training.fitting import require_fits
from privacyhub.training.mechanisms import (
    additive_delta,
    search_price,
    statistics_event,
    training_event,
)
from privacyhub.training.recipe_settings import SettingError, spec_from
from privacyhub.training.recipe_spec import DEFAULT_HOLDOUT, RecipeSpec

TRAINING, METRICS = "training", "metrics"
MOST_RUNS_COUNTED = 20
_THREE_DIGITS = Context(prec=3, rounding=ROUND_DOWN)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run before its first private read.

    epsilon, delta: what the training units pay in all, DP statistics included; the
    accounted epsilon is at most this target. statistics, training: None where nothing
    is read that way (no column to search; without privacy). additive_delta: the part
    of delta that names of categories take. selection: of a search over settings, of
    which `training` is one trial; it is paid in the place of `training`. unit: of
    privacy; why_all: why both sides are charged to all units, empty where each pays
    for itself. Plans of older runs do not say these two.
    """

    spec: TrainSpec
    epsilon: str
    epsilon_accounted: float
    delta: str
    additive_delta: float
    statistics: GaussianEvent | None
    training: PoissonGaussianEvent | None
    metrics: LaplaceEvent
    metrics_epsilon: str
    declared_units: int
    part_train: str
    part_heldout: str
    epsilon_table: tuple[EpsilonAfter, ...]
    selection: SelectionEvent | None = None
    unit: str = ""
    why_all: str = ""

    @property
    def delta_units(self) -> int:
        return math.ceil(self.additive_delta * UNITS_PER_ONE)

    @property
    def training_price(self) -> ledgers.Price | None:
        if self.training is None:
            return None
        events: list[Event] = [self.selection or self.training]
        if self.statistics is not None:
            events.insert(0, self.statistics)
        return ledgers.Price(
            purpose=TRAINING,
            event=compose(events),
            part=Part(self.part_train),
            epsilon=self.epsilon,
            delta=self.delta,
            delta_units=self.delta_units,
            unit=self.unit,
        )

    @property
    def metrics_price(self) -> ledgers.Price:
        return metrics_price(
            event=self.metrics,
            epsilon=self.metrics_epsilon,
            part=self.part_heldout,
            unit=self.unit,
        )

    @property
    def prices(self) -> list[ledgers.Price]:
        training = self.training_price
        return [*([training] if training else []), self.metrics_price]

    @property
    def epsilon_in_all(self) -> str:
        """What one unit pays at most for the model and its metrics."""
        sides = Decimal(self.epsilon), Decimal(self.metrics_epsilon)
        return format(sum(sides) if self.why_all else max(sides), "f")

    def epsilon_after(self, step: int) -> str:
        """Epsilon spent when `step` steps were charged, never told too low."""
        spent = next(
            (row["epsilon"] for row in self.epsilon_table if row["step"] >= step),
            self.epsilon_accounted,
        )
        return f"{math.ceil(spent * 10_000) / 10_000:.4f}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "spec": self.spec.to_dict(),
            "epsilon": self.epsilon,
            "epsilon_accounted": self.epsilon_accounted,
            "delta": self.delta,
            "additive_delta": self.additive_delta,
            "statistics": self.statistics and self.statistics.to_dict(),
            "training": self.training and self.training.to_dict(),
            "metrics": self.metrics.to_dict(),
            "metrics_epsilon": self.metrics_epsilon,
            "declared_units": self.declared_units,
            "part_train": self.part_train,
            "part_heldout": self.part_heldout,
            "epsilon_table": [dict(row) for row in self.epsilon_table],
            "selection": self.selection and self.selection.to_dict(),
            "unit": self.unit,
            "why_all": self.why_all,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Plan:
        """Read a stored plan. Raises ValueError for another schema."""
        values = dict(stored)
        if values.pop("schema", None) != 1:
            raise ValueError("The plan is of an unknown schema.")
        values["spec"] = TrainSpec.from_dict(values["spec"])
        for name in ("statistics", "training", "metrics", "selection"):
            if values.get(name) is not None:
                values[name] = event_from_dict(values[name])
        values["epsilon_table"] = tuple(values["epsilon_table"])
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A plan beside a ledger: what it takes of the cap and what is left after.

    cap_of: the recipient whose cap this is; empty for the ledger's own. refused_for:
    who would get the results too and whose cap does not hold them. runs_that_fit: how
    many runs like this one every cap admits now, at most 20 counted.
    """

    plan: Plan
    ledger: Ledger
    cap_of: str
    balance: ledgers.Balance
    uses: Decimal
    fits: bool
    runs_that_fit: int
    refused_for: str = ""

    @property
    def left_after(self) -> Decimal:
        return max(Decimal(0), self.balance.left - self.uses)

    @property
    def unit_in_words(self) -> str:
        return unit_in_words(self.ledger)


def plan_for(*, recipe: RecipeSpec, accounts: Sequence[Ledger]) -> Plan:
    """The plan of a recipe under these ledgers. Reads no row; takes under a second.

    Raises LedgerError for an undeclared ledger, DataError for a setting or a delta
    that cannot be, Conflict for ledgers with different units of privacy.
    """
    _require_declared(accounts)
    fewest = min(int(account.declared_units or 0) for account in accounts)
    most = max(int(account.declared_units or 0) for account in accounts)
    delta = _delta(recipe, accounts, units=most)
    spec = _spec(
        recipe,
        units=max(1, int(fewest * (1 - recipe.holdout))),
        most_rows=max(account.most_rows_per_unit for account in accounts),
        keyed=any(account.unit == Unit.KEY for account in accounts),
    )
    require_fits(recipe=recipe, spec=spec)
    why_all = _why_all(accounts, holdout=recipe.holdout)
    additive = additive_delta(recipe, delta=float(delta))
    statistics, training, accounted = None, None, 0.0
    table: tuple[EpsilonAfter, ...] = ()
    selection = None
    if recipe.is_private:
        try:
            statistics = statistics_event(recipe, delta=float(delta) - additive)
            if recipe.tuning:
                search = search_price(
                    recipe, spec, delta=float(delta) - additive, statistics=statistics
                )
                training, selection = search.training, search.selection
                accounted = search.epsilon_accounted
            else:
                training, accounted, table = training_event(
                    epsilon=float(recipe.epsilon),
                    delta=float(delta) - additive,
                    sampling_probability=spec.sampling_probability,
                    steps=spec.steps,
                    statistics=statistics,
                )
        except ValueError as error:
            raise DataError(str(error), code="epsilon") from error
    return Plan(
        spec=spec,
        epsilon=recipe.epsilon,
        epsilon_accounted=accounted,
        delta=delta,
        additive_delta=additive,
        statistics=statistics,
        training=training,
        metrics=metrics_event(epsilon=recipe.metrics_epsilon),
        metrics_epsilon=recipe.metrics_epsilon,
        declared_units=fewest,
        part_train=Part.ALL if why_all else Part.TRAIN,
        part_heldout=Part.ALL if why_all else Part.HELDOUT,
        epsilon_table=table,
        selection=selection,
        unit=accounts[0].unit,
        why_all=why_all,
    )


def _why_all(accounts: Sequence[Ledger], *, holdout: float) -> str:
    """Why a unit may be on the other side elsewhere; empty where it never is.

    Only then do the two sides compose in parallel; otherwise each price is charged to
    all units. Another share moves the border between the sides. At record level the
    coin follows the row's content, so a refresh may toss an edited row's coin anew.
    With a key a row that has none is never held out (`rows.read_side`).
    """
    if len(accounts) > 1:
        return "the version has several roots, each with a coin of its own"
    if holdout != DEFAULT_HOLDOUT:
        return (
            f"the held-out share is not the usual {DEFAULT_HOLDOUT:.0%}, so a unit may "
            "be on the other side in another run"
        )
    if accounts[0].unit == Unit.KEY:
        return ""
    uploads = accounts[0].versions.filter(kind=VersionKind.UPLOADED)
    if uploads.values("fingerprint").distinct().count() <= 1:
        return ""
    return (
        "each record is a unit and the data was refreshed, so an edited record may "
        "have changed sides"
    )


def quote(
    *,
    plan: Plan,
    accounts: Sequence[Ledger],
    recipient: str = "",
    audience: Sequence[str] = (),
) -> Quote:
    """The plan beside the cap on which it weighs most.

    recipient: for whom the run would be, whose own caps bind it too. audience: who gets
    the results too; of their caps it is told only that one does not hold the run.
    """
    prices = plan.prices
    tightest = ledgers.tightest(accounts, prices, recipient=recipient)
    fitting = _runs(accounts, prices, recipient=recipient)
    names = capped(audience, accounts=accounts)
    reached = {name: _runs(accounts, prices, recipient=name) for name in names}
    return Quote(
        plan=plan,
        ledger=tightest.ledger,
        cap_of=tightest.cap_of,
        balance=tightest.balance,
        uses=tightest.uses,
        fits=all(
            ledgers.would_fit(account, prices, recipient=name)
            for account in accounts
            for name in (recipient, *names)
        ),
        runs_that_fit=min(MOST_RUNS_COUNTED, fitting, *reached.values()),
        refused_for=next(
            (name for name, runs in reached.items() if fitting and not runs), ""
        ),
    )


def capped(names: Sequence[str], *, accounts: Sequence[Ledger]) -> list[str]:
    """Those of the names who have a cap of their own on one of the ledgers."""
    found = RecipientCap.objects.filter(ledger__in=accounts, recipient__in=names)
    return sorted(set(found.values_list("recipient", flat=True)))


def _runs(
    accounts: Sequence[Ledger], prices: Sequence[ledgers.Price], *, recipient: str
) -> int:
    """How many runs of these prices every ledger, and this recipient's caps, admit."""
    return min(runs_that_fit(one, prices, recipient=recipient) or 0 for one in accounts)


def metrics_price(
    *, event: LaplaceEvent, epsilon: str, part: str, unit: str
) -> ledgers.Price:
    """What one DP histogram of held-out scores asks of the ledger. Its delta is 0."""
    return ledgers.Price(
        purpose=METRICS,
        event=event,
        part=Part(part),
        epsilon=epsilon,
        delta="0",
        unit=unit,
    )


def metrics_event(*, epsilon: str) -> LaplaceEvent:
    """The histogram of scores that costs `epsilon`, a positive decimal."""
    noise = metrics_noise_multiplier(epsilon=float(epsilon))
    return LaplaceEvent(noise_multiplier=noise)


def default_delta(accounts: Sequence[Ledger]) -> str:
    """1/(10 N) of the largest declared N, at most the least cap on delta."""
    units = max(int(account.declared_units or 1) for account in accounts)
    cap = min(Decimal(account.delta_cap) for account in accounts)
    wanted = _THREE_DIGITS.create_decimal(Decimal(1) / (10 * units))
    return format(min(wanted, cap), "f")


def _require_declared(accounts: Sequence[Ledger]) -> None:
    for account in accounts:
        if not account.is_declared:
            raise ledgers.LedgerError(
                "Declare the unit of privacy, the number of units and the caps of "
                f"“{account.name}” first."
            )
    if len({(account.unit, account.unit_key) for account in accounts}) > 1:
        raise Conflict(
            "The roots of this version have different units of privacy.",
            code="units_differ",
        )


def _delta(recipe: RecipeSpec, accounts: Sequence[Ledger], *, units: int) -> str:
    delta = recipe.delta or default_delta(accounts)
    if Decimal(delta) * units >= 1:
        raise DataError(
            f"Delta must be below 1/N of the {units} declared units: at 1/N a "
            "mechanism may publish one person's record whole.",
            code="delta",
        )
    return delta


def _spec(recipe: RecipeSpec, *, units: int, most_rows: int, keyed: bool) -> TrainSpec:
    by_rule = default_spec(
        task=recipe.task,
        units=units,
        classes=max(2, len(recipe.classes)),
        max_rows_per_unit=most_rows,
    )
    if "clip_quantile" in recipe.settings and not recipe.is_private:
        raise SettingError(
            "Without privacy nothing is clipped: leave the adaptive clip norm out.",
            setting="clip_quantile",
        )
    rule = by_rule.to_dict()
    reference = REFERENCES.get(str(recipe.settings.get("implementation")))
    if reference:
        if keyed or not recipe.is_private:
            raise DataError(
                f"{reference} is offered for training with privacy where the unit is "
                "one record.",
                code="implementation",
            )
        # It has neither a schedule nor averaged weights: a smaller, constant rate.
        rule |= {"schedule": "constant", "ema": 0, "learning_rate": 0.5}
    return spec_from(rule=rule, settings=recipe.settings)


def unit_in_words(account: Ledger) -> str:
    """What the guarantee protects, for a sentence."""
    if account.unit == Unit.KEY:
        return (
            f"all records of one “{account.unit_key}” "
            f"(at most {account.most_rows_per_unit} take part)"
        )
    return "one record"
