"""Recipes and plans: what is refused before anything is read or charged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from privacyhub.datasets import services as datasets
from privacyhub.datasets import tables
from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp.accounting import epsilon
from privacyhub.engines.prepare.encoding import MAX_ONE_HOT, ColumnSpec, Encoder
from privacyhub.engines.prepare.statistics import MOST_KNOTS, MOST_NAMES
from privacyhub.governance.ledger import LedgerError
from privacyhub.governance.models import Reservation
from privacyhub.training import encoders, fitting, plans, recipes, services
from privacyhub.training.recipe_settings import SettingError

IDENTIFIERS = {"name", "email", "phone", "record_number"}


def priced(version: Any, asked: dict[str, Any]) -> Any:
    recipe = recipes.build(version=version, request=asked, by=version.created_by)
    return services.price(version=version, recipe=recipe)


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"epsilon": "0"}, "epsilon"),
        ({"epsilon": "-1"}, "epsilon"),
        ({"epsilon": "NaN"}, "epsilon"),
        ({"epsilon": "inf"}, "epsilon"),
        ({"epsilon": "one"}, "epsilon"),
        ({"metrics_epsilon": "0"}, "metrics_epsilon"),
        ({"delta": "0.0017"}, "delta"),
        ({"delta": "-1e-6"}, "delta"),
        ({"target": "gone"}, "no_column"),
        ({"target": "email"}, "target_is_identifier"),
        ({"target": "birth_date"}, "target_is_date"),
        ({"features": ["gone"]}, "no_column"),
        ({"features": ["email"]}, "identifier"),
        ({"features": ["readmitted"]}, "target_is_input"),
        ({"features": []}, "no_features"),
        ({"classes": ["yes"]}, "classes"),
        ({"task": "regression"}, "task"),
        ({"task": "poetry"}, "task"),
        ({"holdout": 0.9}, "holdout"),
        ({"settings": {"expected_batch": 100_000}}, "settings"),
        ({"settings": {"hidden": [{"type": "batch_normalization"}]}}, "settings"),
        ({"settings": {"clip_norm": -1}}, "settings"),
        ({"settings": {"clip_quantile": 1}}, "settings"),
        ({"settings": {"clip_quantile": "half"}}, "settings"),
        ({"settings": {"clip_quantile": 0.5, "clip_norm": 1e9}}, "settings"),
        ({"settings": {"clip_quantile": 0.5}, "privacy": "none"}, "settings"),
        (
            {"settings": {"implementation": "dpkeras"}, "privacy": "none"},
            "implementation",
        ),
        ({"settings": {"implementation": []}}, "settings"),
        ({"settings": {"learning_rate": 1001}}, "settings"),
        ({"settings": {"learning_rate": 10**400}}, "settings"),
        ({"settings": {"epochs": 10**400}}, "settings"),
        ({"settings": {"clip_norm": 10**400}}, "settings"),
        ({"settings": {"class_weights": [1, 10**400]}}, "settings"),
        ({"holdout": 10**400}, "holdout"),
        ({"settings": {"seed": 1}}, "unknown_setting"),
    ],
)
def test_bad_request_is_refused_and_nothing_is_held(
    register_version: Any, asked: dict[str, Any], code: str
) -> None:
    with pytest.raises(DataError) as refused:
        priced(register_version, asked)
    assert refused.value.code == code
    assert refused.value.status in {400, 409}
    assert not Reservation.objects.exists()


@pytest.mark.parametrize(
    ("asked", "setting"),
    [
        # Found names may be 10,000 of a column: each takes a row of weights.
        ({"settings": {"embedding_width": 256, "hidden": [4096] * 2}}, "hidden"),
        ({"settings": {"hidden": [4096] * 3}}, "hidden"),
        ({"tuning": {"space": {"hidden": [[8], [4096] * 3]}}}, "hidden"),
        (
            {
                "settings": {"hidden": [4096, 2048]},
                "tuning": {"space": {"embedding_width": [8, 256]}},
            },
            "hidden",
        ),
        ({"settings": {"implementation": "dpsequential"}}, "implementation"),
        (
            {"settings": {"implementation": "dpsequential", "ema": 0.9}},
            "ema",
        ),
        (
            {"settings": {"implementation": "dpsequential", "schedule": "linear"}},
            "schedule",
        ),
        (
            {"settings": {"implementation": "dpsequential", "class_weights": [1, 2]}},
            "class_weights",
        ),
        (
            {"settings": {"implementation": "dpsequential", "clip_quantile": 0.5}},
            "clip_quantile",
        ),
        ({"settings": {"implementation": "dpkeras", "ema": 0.9}}, "ema"),
        # One row's gradient has four million numbers.
        (
            {
                "features": ["creatinine", "sodium"],
                "settings": {"implementation": "dpkeras", "hidden": [2048, 2048]},
            },
            "expected_batch",
        ),
        (
            {"settings": {"implementation": "dpkeras", "clip_quantile": 0.5}},
            "clip_quantile",
        ),
        ({"settings": {"clip_quantile": 0.5}, "privacy": "none"}, "clip_quantile"),
    ],
)
def test_network_that_statistics_could_make_too_large_is_refused(
    register_version: Any, asked: dict[str, Any], setting: str
) -> None:
    with pytest.raises(SettingError) as refused:
        priced(register_version, asked)
    assert refused.value.setting == setting
    assert not Reservation.objects.exists()


@pytest.mark.parametrize(
    ("people", "most_rows", "batch", "fits"),
    [
        (1_000, 100, 80, True),
        (1_000, 3_000, 80, False),  # pairs of rows: 80 * 3,000 * 3,000
        (1_000, 3_000, 1, True),
        (90_000, 6_000, 1, False),  # places of rows: 432 million
        (1_000, 2_000_000_000, 1, False),
    ],
)
def test_more_rows_of_a_unit_than_fit_the_memory_are_refused(
    people: int, most_rows: int, batch: int, fits: bool, visits_of: Any
) -> None:
    rows = [f"p{k % 60},{k % 7},{'ab'[k % 2]}" for k in range(300)]
    version = visits_of(rows, people=people, most_rows=most_rows)
    asked = {"target": "y", "settings": {"expected_batch": batch, "epochs": 0.1}}
    if fits:
        assert priced(version, asked).plan.spec.max_rows_per_unit == most_rows
        return
    with pytest.raises(DataError, match="rows of one unit"):
        priced(version, asked)
    assert not Reservation.objects.exists()


@pytest.mark.parametrize("implementation", ["dpsequential", "dpkeras"])
@pytest.mark.parametrize(("values", "fits"), [(64, True), (65, False)])
def test_reference_is_for_declared_domains_that_need_no_embedding(
    register_version: Any, steward: Any, values: int, fits: bool, implementation: str
) -> None:
    names = [f"job {k}" for k in range(values)]
    datasets.set_columns(
        version=register_version,
        changes={"occupation": {"categories": names}},
        by=steward,
    )
    asked = {
        "features": ["occupation", "creatinine"],
        "settings": {"implementation": implementation},
    }
    if fits:
        assert priced(register_version, asked).plan.spec.implementation
        return
    with pytest.raises(SettingError, match="occupation"):
        priced(register_version, asked)


@pytest.mark.parametrize(("delta", "fits"), [("1e-13", True), ("9e-14", False)])
def test_delta_that_names_of_categories_cannot_share_is_refused(
    register_version: Any, delta: str, fits: bool
) -> None:
    asked = {"features": ["occupation"], "delta": delta}
    if fits:
        plan = priced(register_version, asked).plan
        assert plan.delta_units >= 2
        assert encoders.delta_units_of_reading(plan) == 1
        assert encoders.delta_of_reading(plan) <= plan.additive_delta / 2
        return
    with pytest.raises(DataError, match=r"1e-13.*declare the values") as refused:
        priced(register_version, asked)
    assert refused.value.code == "delta"
    assert not Reservation.objects.exists()
    numbers = {"features": ["creatinine"], "delta": delta}
    assert priced(register_version, numbers).plan.additive_delta == 0
    bare = asked | {"privacy": "none"}
    assert priced(register_version, bare).plan.additive_delta == 0


def test_widest_network_is_what_the_encoder_would_make(register_version: Any) -> None:
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    spec = services.price(version=register_version, recipe=recipe).plan.spec
    for names in (MAX_ONE_HOT, MOST_NAMES):
        columns = [_at_its_widest(column, names=names) for column in recipe.columns]
        encoder = Encoder(columns)
        table = (len(encoder.feature_names), encoder.category_sizes)
        largest = fitting.widest(
            recipe=recipe, spec=spec, many_names=names == MOST_NAMES
        )
        sizes = tuple(embedding.size for embedding in largest.embeddings)
        assert (largest.features, sizes) == table


def _at_its_widest(column: Any, *, names: int) -> ColumnSpec:
    if column.kind == "category":
        domain = column.categories or tuple(str(k) for k in range(names))
        return ColumnSpec(name=column.name, kind="category", categories=domain)
    if column.kind == "boolean":
        return ColumnSpec(name=column.name, kind="boolean")
    knots = tuple(float(k) for k in range(MOST_KNOTS))
    return ColumnSpec(
        name=column.name, kind=column.kind, lower=0, upper=knots[-1], knots=knots
    )


def test_unset_target_is_refused(register_version: Any) -> None:
    register_version.columns.update(is_target=False)
    with pytest.raises(DataError) as refused:
        recipes.build(
            version=register_version, request={}, by=register_version.created_by
        )
    assert refused.value.code == "no_target"


def test_undeclared_ledger_is_refused(register_version: Any) -> None:
    register_version.ledgers.update(epsilon_cap="")
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    with pytest.raises(LedgerError, match="Declare"):
        services.price(version=register_version, recipe=recipe)


def test_column_that_vanished_is_refused(register_version: Any, steward: Any) -> None:
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    register_version.columns.filter(name="sodium").delete()
    with pytest.raises(DataError) as refused:
        services.submit(
            version=register_version, recipe=recipe, by=steward, name="Model"
        )
    assert (refused.value.code, refused.value.column) == ("column_vanished", "sodium")


def test_target_of_another_kind_is_refused(register_version: Any, steward: Any) -> None:
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    assert recipe.target_kind == "category"
    register_version.columns.filter(name="readmitted").update(kind="boolean")
    for fitted in (recipe, replace(recipe, target_kind="number")):
        with pytest.raises(DataError) as refused:
            services.submit(
                version=register_version, recipe=fitted, by=steward, name="Model"
            )
        assert (refused.value.code, refused.value.column) == (
            "column_kind",
            "readmitted",
        )
    older = replace(recipe, target_kind="")  # of a recipe that does not say it
    recipes.fit_to(recipe=older, version=register_version)
    to_regress = replace(older, task="regression")
    with pytest.raises(DataError, match="another kind"):
        recipes.fit_to(recipe=to_regress, version=register_version)


def test_identifiers_and_target_are_no_inputs(register_version: Any) -> None:
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    names = {column.name for column in recipe.columns}
    assert names
    assert names.isdisjoint(IDENTIFIERS | {"readmitted"})


def test_declared_domains_are_not_searched(register_version: Any, steward: Any) -> None:
    datasets.set_columns(
        version=register_version,
        changes={
            "sex": {"categories": ["female", "male"]},
            "hba1c": {"lower": 4, "upper": 14},
        },
        by=steward,
    )
    recipe = recipes.build(
        version=register_version, request={}, by=register_version.created_by
    )
    assert {"sex", "hba1c"}.isdisjoint(recipe.searched)
    assert "sodium" in recipe.searched


def test_recipe_and_plan_survive_storage(register_version: Any) -> None:
    recipe = recipes.build(
        version=register_version,
        request={"settings": {"hidden": [8]}},
        by=register_version.created_by,
    )
    assert recipes.RecipeSpec.from_dict(recipe.to_dict()).to_dict() == recipe.to_dict()
    plan = services.price(version=register_version, recipe=recipe).plan
    assert plans.Plan.from_dict(plan.to_dict()) == plan


def test_price_reads_no_row_and_keeps_to_the_target(
    register_version: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_reading(*_: Any, **__: Any) -> None:
        raise AssertionError("a file was opened")

    for name in ("load", "batches"):
        monkeypatch.setattr(tables, name, no_reading)
    recipe = recipes.build(
        version=register_version,
        request={"epsilon": "2"},
        by=register_version.created_by,
    )
    quote = services.price(version=register_version, recipe=recipe)
    plan = quote.plan
    price = plan.training_price
    assert price is not None
    spent = epsilon(price.event, delta=float(plan.delta) - plan.additive_delta)
    assert 1.95 < spent <= 2
    assert float(plan.delta) == 1e-5  # 1/(10 N) is above the ledger's cap
    assert plan.spec.units == 480
    assert [p.part for p in plan.prices] == ["train", "heldout"]
    assert quote.fits
    assert 0 < quote.uses < quote.balance.cap
    assert not Reservation.objects.exists()
