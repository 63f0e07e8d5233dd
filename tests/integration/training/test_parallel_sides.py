"""When the two sides of the coin may compose in parallel, and when not."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from privacyhub.datasets import intake
from privacyhub.datasets import services as datasets
from privacyhub.datasets.errors import Conflict
from privacyhub.datasets.models import Version, VersionKind
from privacyhub.engines.tables import patient_register
from privacyhub.governance import keys
from privacyhub.governance.models import Ledger, Part, Unit
from privacyhub.training import plans, recipes
from privacyhub.training.rows import _key_text, read_side


def parts(version: Any, **asked: Any) -> set[str]:
    recipe = recipes.build(
        version=version, request={"epsilon": "1"} | asked, by=version.created_by
    )
    plan = plans.plan_for(recipe=recipe, accounts=list(version.ledgers.all()))
    return {price.part for price in plan.prices}


def test_default_split_prices_each_side_alone(register_version: Any) -> None:
    assert parts(register_version) == {Part.TRAIN, Part.HELDOUT}


def test_another_share_is_charged_to_all_units(register_version: Any) -> None:
    assert parts(register_version, holdout=0.4) == {Part.ALL}


def test_why_both_sides_add_up_is_in_the_plan(register_version: Any) -> None:
    for share, why in ((0.2, ""), (0.4, "the held-out share")):
        recipe = recipes.build(
            version=register_version,
            request={"epsilon": "1", "holdout": share},
            by=register_version.created_by,
        )
        accounts = list(register_version.ledgers.all())
        plan = plans.plan_for(recipe=recipe, accounts=accounts)
        assert plan.why_all[:18] == why
        assert plans.Plan.from_dict(plan.to_dict()) == plan


def test_refreshed_records_are_charged_to_all_units(
    register_version: Any,
    steward: Any,
    upload_file: Callable[..., Any],
    run_jobs: Callable[[], None],
) -> None:
    buffer = io.BytesIO()
    edited = patient_register(rows=600).with_columns(pl.col("sodium") + 1)
    edited.write_csv(buffer)
    job = intake.submit(
        upload=intake.receive(file=upload_file(buffer.getvalue()), by=steward),
        by=steward,
        name="",
        dataset=register_version.dataset,
    )
    run_jobs()
    job.refresh_from_db()
    assert job.state == "succeeded", job.trace or job.message
    refreshed = Version.objects.get(pk=job.result["version"])
    assert refreshed.ledgers.get() == datasets.the_ledger(register_version)
    assert parts(refreshed) == {Part.ALL}
    assert parts(register_version) == {Part.ALL}


@pytest.fixture
def visits(visits_of: Callable[..., Any]) -> Any:
    """A version whose unit is a person; every other row names none."""
    people = [f"p{k % 40}" if k % 2 else "" for k in range(400)]
    rows = [f"{p},{k % 7},{'ab'[k % 3 % 2]}" for k, p in enumerate(people)]
    return visits_of(rows, people=220, most_rows=10)


def test_side_of_a_unit_is_the_coin_of_its_key(visits: Any) -> None:
    key = keys.unwrap(datasets.the_ledger(visits).split_key)
    side = read_side(visits, columns=["person"], holdout=0.3, held_out=True)
    held_out = set(side.frame["person"])
    for k in range(1, 40, 2):
        text = f"unit:p{k}".encode()
        digest = hashlib.blake2b(text, key=key, digest_size=8).digest()
        tossed = int.from_bytes(digest, "big") < int(0.3 * 2**64)
        assert (f"p{k}" in held_out) == tossed
    codes = dict(zip(side.frame["person"], side.units, strict=True))
    assert len(set(codes.values())) == len(held_out) > 1
    assert [codes[person] for person in side.frame["person"]] == side.units.tolist()


def test_rows_without_a_key_are_never_held_out(visits: Any) -> None:
    sides = {
        held_out: read_side(
            visits, columns=["x", "person"], holdout=0.3, held_out=held_out
        )
        for held_out in (False, True)
    }
    assert parts(visits, target="y") == {Part.TRAIN, Part.HELDOUT}
    assert sides[True].frame["person"].null_count() == 0
    assert sides[False].frame["person"].null_count() == 200
    people = [set(side.frame["person"].drop_nulls()) for side in sides.values()]
    assert all(people)
    assert people[0].isdisjoint(people[1])
    units = sides[False].units
    assert units is not None
    assert ((units == -1) == sides[False].frame["person"].is_null().to_numpy()).all()


@pytest.mark.parametrize(
    "keys", [[5, None, 12], [5.0, None, 12.0], ["5", None, " 12"]], ids=str
)
def test_unit_key_reads_alike_whatever_its_type(keys: list[Any]) -> None:
    frame = pl.DataFrame({"patient": keys})
    assert frame.select(_key_text(frame, "patient"))["patient"].to_list() == [
        "5",
        None,
        "12",
    ]


def test_version_without_its_unit_key_is_not_trained_on(register_version: Any) -> None:
    recipe = recipes.build(
        version=register_version,
        request={"epsilon": "1"},
        by=register_version.created_by,
    )
    Ledger.objects.update(unit=Unit.KEY, unit_key="zip")
    recipes.fit_to(recipe=recipe, version=register_version)
    register_version.kind = VersionKind.ANONYMIZED
    with pytest.raises(Conflict, match="unit key"):
        recipes.fit_to(recipe=recipe, version=register_version)


def test_profiled_classes_sent_back_are_not_declared(register_version: Any) -> None:
    request = {"classes": ["no", "yes"]}
    assert not recipes.build(
        version=register_version, request=request, by=register_version.created_by
    ).classes_declared
