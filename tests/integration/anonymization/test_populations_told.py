"""What the page says of the population that the journalist's risk was measured in."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from privacyhub.anonymization import narration, outcomes
from privacyhub.anonymization.vocabulary_treatments import choices_for, kind_after
from privacyhub.datasets.models import Role
from privacyhub.engines import anonymize as an
from privacyhub.engines.tables import Kind

ITSELF = "taken to be the table itself"
FRAME = pl.DataFrame({"q": ["a"] * 4 + ["b"] * 4})


def journalist(model: an.Model) -> tuple[str, dict[str, Any]]:
    found = an.anonymize(
        FRAME,
        quasi_identifiers={"q": an.Hierarchy.suppress(FRAME["q"])},
        models=[model],
    )
    told = outcomes.describe(best=found, chosen=found, answers=[])
    (knows,) = [
        one["knows"] for one in narration.attackers(told) if one["name"] == "Journalist"
    ]
    return knows, told


@pytest.mark.parametrize("model", [an.KAnonymity(2), an.KMap(2, 1_000)])
def test_without_a_list_the_table_is_its_own_population(model: an.Model) -> None:
    knows, _ = journalist(model)
    assert ITSELF in knows
    assert "overstates" in knows


def test_a_population_that_was_listed_is_not_the_table() -> None:
    knows, _ = journalist(an.KMap(2, pl.concat([FRAME, FRAME])))
    assert ITSELF not in knows
    assert "the listed one" in knows


def test_rows_of_a_subset_were_taken_from_all() -> None:
    knows, _ = journalist(an.Inclusion([True, False] * 4))
    assert ITSELF not in knows
    assert "were taken from" in knows


def test_a_run_of_before_does_not_know() -> None:
    _, told = journalist(an.KAnonymity(2))
    del told["population"]
    knows = narration.attackers(told)[1]["knows"]
    assert "where no population was named" in knows


def test_numbers_that_are_whole_can_be_masked_and_become_text() -> None:
    def offered(kind: Kind) -> list[str]:
        return [one.name for one in choices_for(role=Role.INSENSITIVE, kind=kind)]

    assert "mask" in offered(Kind.INTEGER)
    assert "mask" in offered(Kind.TEXT)
    assert "mask" not in offered(Kind.NUMBER)
    assert kind_after({"name": "mask"}) == Kind.TEXT
    assert an.mask(
        pl.Series([5550171, None]), side="right", characters=4
    ).to_list() == [
        "555****",
        None,
    ]
