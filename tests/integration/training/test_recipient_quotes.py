"""A quote says what a submission would meet: the asker's own cap too."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from privacyhub.datasets.models import Dataset
from privacyhub.datasets.services import the_ledger
from privacyhub.governance import ledger
from privacyhub.governance.models import Ledger
from privacyhub.training import recipes, services, sweeps, what_if
from privacyhub.training.models import Model

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


@pytest.fixture
def shared(register_version: Any, steward: Any, analyst: Any) -> Model:
    """A model that has no version yet, on which the analyst has a right."""
    model = Model.objects.create(
        name="Shared",
        dataset=register_version.dataset,
        target="readmitted",
        task="binary",
    )
    services.share(model=model, user=analyst, right="use", by=steward)
    return model


@pytest.fixture
def cap_analyst(register_version: Any, steward: Any) -> Callable[[str], None]:
    """The ledger's cap of 8 holds the runs; this one of the analyst may not."""

    def make(epsilon: str) -> None:
        ledger.set_recipient_cap(
            ledger=the_ledger(register_version),
            recipient="analyst",
            epsilon_cap=epsilon,
            by=steward,
        )

    return make


def test_a_new_version_is_priced_under_the_caps_of_all_who_have_the_model(
    register_version: Any,
    recipe: recipes.RecipeSpec,
    shared: Model,
    steward: Any,
    cap_analyst: Callable[[str], None],
) -> None:
    asked = {"version": register_version, "recipe": recipe}
    before = services.price(**asked, recipient="steward", model=shared)
    assert (before.fits, before.refused_for) == (True, "")
    cap_analyst("1")
    told = services.price(**asked, recipient="steward", model=shared)
    assert (told.fits, told.refused_for) == (False, "analyst")
    assert (told.cap_of, told.balance) == ("", before.balance)
    with pytest.raises(ledger.BudgetRefused, match="The cap for analyst"):
        services.submit(**asked, by=steward, name="", model=shared)
    own = services.price(**asked, recipient="steward")
    assert (own.fits, own.refused_for) == (True, "")
    assert services.submit(**asked, by=steward, name="Of its own")


@pytest.fixture
def with_bare(register_version: Any) -> dict[str, Any]:
    """A sweep of one private run, and one without privacy, whose metrics cost as much.

    The private one alone takes about 1 of a cap.
    """
    body = BODY | {"metrics_epsilon": "1"}
    by = register_version.created_by
    recipe = recipes.build(version=register_version, request=body, by=by)
    runs = sweeps.recipes_of(recipe=recipe, epsilons=["0.5"], with_bare=True)
    return {"version": register_version, "recipes": runs}


ORDER = {"name": "", "reason": "to show what privacy costs"}


def test_a_sweep_reaches_who_has_the_model_with_its_private_runs_alone(
    with_bare: dict[str, Any],
    steward: Any,
    shared: Model,
    cap_analyst: Callable[[str], None],
) -> None:
    cap_analyst("1.2")
    assert not sweeps.price(**with_bare, recipient="analyst").fits
    told = sweeps.price(**with_bare, recipient="steward", model=shared)
    assert (told.fits, told.refused_for) == (True, "")
    assert sweeps.submit(**with_bare, **ORDER, by=steward, model=shared)


def test_a_sweep_knows_the_caps_of_all_who_have_the_model(
    with_bare: dict[str, Any],
    steward: Any,
    shared: Model,
    cap_analyst: Callable[[str], None],
) -> None:
    cap_analyst("0.9")
    told = sweeps.price(**with_bare, recipient="steward", model=shared)
    assert (told.fits, told.refused_for) == (False, "analyst")
    assert (told.cap_of, told.balance.cap) == ("", Decimal(8))
    with pytest.raises(ledger.BudgetRefused, match="The cap for analyst"):
        sweeps.submit(**with_bare, **ORDER, by=steward, model=shared)
    own = sweeps.price(**with_bare, recipient="steward")
    assert (own.fits, own.refused_for) == (True, "")


def test_a_sweep_that_the_asker_may_not_order_is_refused_for_nobody_else(
    register_version: Any,
    recipe: recipes.RecipeSpec,
    shared: Model,
    capped: Ledger,
    cap_analyst: Callable[[str], None],
) -> None:
    cap_analyst("0.2")
    runs = sweeps.recipes_of(recipe=recipe, epsilons=["1", "2"], with_bare=False)
    told = sweeps.price(
        version=register_version, recipes=runs, recipient="steward", model=shared
    )
    assert (told.fits, told.refused_for, told.cap_of) == (False, "", "steward")


@pytest.mark.parametrize(
    ("path", "more"),
    [("trainings", {}), ("sweeps", {"epsilons": ["1", "2"]})],
)
def test_rest_quotes_for_all_who_have_the_model(
    path: str,
    more: dict[str, Any],
    register_version: Any,
    shared: Model,
    steward: Any,
    other_steward: Any,
    cap_analyst: Callable[[str], None],
    api_for: Callable[[Any], Any],
) -> None:
    cap_analyst("1")
    api, where = api_for(steward), f"/api/v1/{path}/price/"
    asked = BODY | more | {"version": str(register_version.pk)}
    told = api.post(where, asked).json()
    assert (told["fits"], told["refused_for"]) == (True, "")
    asked["model"] = str(shared.pk)
    told = api.post(where, asked).json()
    assert (told["fits"], told["refused_for"]) == (False, "analyst")
    assert (told["cap_of"], Decimal(told["cap"])) == ("", 8)
    theirs = Dataset.objects.create(name="Theirs", owner=other_steward)
    foreign = Model.objects.create(name="Foreign", dataset=theirs, target="y")
    asked["model"] = str(foreign.pk)
    assert api.post(where, asked).status_code == 404


def _chosen(client: Any, version: Any, *, model: Model) -> str:
    """The wizard's address, its first steps answered for a version of the model."""
    base = f"/versions/{version.pk}/train/"
    client.post(f"{base}?step=1", {"features": ["sex", "creatinine"]})
    target = {"target": "readmitted", "classes": "no\nyes", "model": str(model.pk)}
    client.post(f"{base}?step=2", target)
    return base


@pytest.mark.parametrize("epsilon", ["1", "1 2"])
def test_the_wizard_prices_for_all_who_have_the_chosen_model(
    epsilon: str,
    register_version: Any,
    shared: Model,
    steward: Any,
    cap_analyst: Callable[[str], None],
    client_for: Callable[..., Any],
) -> None:
    cap_analyst("0.77")
    client = client_for(steward)
    base = _chosen(client, register_version, model=shared)
    asked = {"privacy": "dp", "epsilon": epsilon, "metrics_epsilon": "0.1"}
    page = client.post(f"{base}price/", asked).content
    assert b"The cap for analyst would be passed" in page
    assert b"Left for this recipe" not in page
    assert b"0.77" not in page
    client.post(f"{base}?step=3", asked)
    review = client.get(f"{base}?step=4").content
    assert b"The cap for analyst would be passed" in review
    assert b"disabled" in review


def test_the_wizard_does_not_say_how_much_of_anothers_cap_is_left(
    register_version: Any,
    shared: Model,
    steward: Any,
    cap_analyst: Callable[[str], None],
    client_for: Callable[..., Any],
) -> None:
    cap_analyst("6.25")
    client = client_for(steward)
    base = _chosen(client, register_version, model=shared)
    asked = {"privacy": "dp", "epsilon": "0.3", "metrics_epsilon": "0.1"}
    page = client.post(f"{base}price/", asked).content
    assert b"Uses of the cap" in page
    assert b"would be passed" not in page
    assert b"Left for this recipe" not in page
    assert b"6.25" not in page
