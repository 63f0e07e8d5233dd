"""A quote says what a submission would meet: the asker's own cap too."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from privacyhub.datasets.services import the_ledger
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger
from privacyhub.training import recipes, services, sweeps, what_if

BODY = {"classes": ["no", "yes"], "metrics_epsilon": "0.1", "epsilon": "2"}


@pytest.fixture
def recipe(register_version: Any) -> recipes.RecipeSpec:
    return recipes.build(
        version=register_version, request=BODY, by=register_version.created_by
    )


@pytest.fixture
def capped(register_version: Any, steward: Any) -> Ledger:
    """The ledger's cap of 8 holds the run; the steward's own of 1 does not."""
    account = the_ledger(register_version)
    ledger.set_recipient_cap(
        ledger=account, recipient=steward.username, epsilon_cap="1", by=steward
    )
    return account


def test_a_quote_knows_the_recipients_cap_as_the_reservation_does(
    register_version: Any, recipe: recipes.RecipeSpec, capped: Ledger, steward: Any
) -> None:
    whole = services.price(version=register_version, recipe=recipe)
    assert (whole.fits, whole.cap_of) == (True, "")
    own = services.price(version=register_version, recipe=recipe, recipient="steward")
    assert (own.fits, own.runs_that_fit, own.cap_of) == (False, 0, "steward")
    assert own.balance.cap == Decimal(1)
    with pytest.raises(ledger.BudgetRefused, match="The cap for steward"):
        services.submit(
            version=register_version, recipe=recipe, by=steward, name="Refused"
        )


def test_a_sweep_knows_the_recipients_cap(
    register_version: Any, recipe: recipes.RecipeSpec, capped: Ledger
) -> None:
    runs = sweeps.recipes_of(recipe=recipe, epsilons=["0.2", "2"], with_bare=False)
    assert sweeps.price(version=register_version, recipes=runs).fits
    own = sweeps.price(version=register_version, recipes=runs, recipient="steward")
    assert (own.fits, own.cap_of, own.balance.cap) == (False, "steward", Decimal(1))
    assert own.uses > own.balance.left


def test_rest_quotes_for_the_one_who_asks(
    register_version: Any,
    capped: Ledger,
    steward: Any,
    api_for: Callable[[Any], Any],
) -> None:
    asked = BODY | {"version": str(register_version.pk)}
    told = api_for(steward).post("/api/v1/trainings/price/", asked, format="json")
    assert (told.json()["fits"], told.json()["cap_of"]) == (False, "steward")


def test_what_is_left_for_a_recipe_is_the_largest_epsilon_that_is_accepted(
    register_version: Any, recipe: recipes.RecipeSpec, capped: Ledger, steward: Any
) -> None:
    def most(recipient: str) -> Decimal:
        plan = services.price(version=register_version, recipe=recipe).plan
        told = what_if.largest_like(
            plan=plan, recipe=recipe, accounts=[capped], recipient=recipient
        )
        assert told is not None
        return told.epsilon

    assert most("steward") < 1 < most("")
    for epsilon, fits in ((most("steward"), True), (most("steward") * 2, False)):
        built = recipes.build(
            version=register_version,
            request=BODY | {"epsilon": f"{epsilon:f}"},
            by=register_version.created_by,
        )
        quote = services.price(
            version=register_version, recipe=built, recipient="steward"
        )
        assert quote.fits is fits


def test_the_price_card_says_what_is_left_for_the_recipe(
    register_version: Any, capped: Ledger, steward: Any, client_for: Callable[..., Any]
) -> None:
    base = f"/versions/{register_version.pk}/train/"
    client = client_for(steward)
    client.post(f"{base}?step=1", {"features": ["sex", "creatinine"]})
    target = {"target": "readmitted", "classes": "no\nyes", "name": "Readmission"}
    client.post(f"{base}?step=2", target)
    asked = {"privacy": "dp", "epsilon": "0.3", "metrics_epsilon": "0.1"}
    page = client.post(f"{base}price/", asked)
    assert b"Left for this recipe" in page.content
    assert b"the cap for steward" in page.content
