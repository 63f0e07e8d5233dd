"""Hierarchies built from a column, edited, and given to other columns."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from django.urls import reverse

from privacyhub.anonymization import hierarchies, hierarchy_builders, services
from privacyhub.anonymization import hierarchy_edits as edits
from privacyhub.anonymization.hierarchy_builders import BUILDERS
from privacyhub.anonymization.models import Hierarchy
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.engines import anonymize as an
from privacyhub.governance.models import AuditEvent

pytestmark = pytest.mark.django_db
HIERARCHIES = "/api/v1/hierarchies/"
ANIMALS = "cat;pet;land;*\ncow;farm;land;*\ncarp;fish;water;*\n"


@pytest.fixture
def animals(steward: Any) -> Hierarchy:
    return hierarchies.upload(name="Animals", content=ANIMALS.encode(), by=steward)


@pytest.mark.parametrize(
    ("builder", "values", "given", "row"),
    [
        (
            "intervals",
            ["1", "7", "12"],
            {"widths": [5, 10]},
            ("7", "5-9", "0-9", "*"),
        ),
        (
            "intervals",
            ["1", "7", "99"],
            {"widths": "5", "top": "50"},
            ("99", ">=50", "*"),
        ),
        ("dates", ["2024-02-03"], {"units": "year"}, ("2024-02-03", "2024", "*")),
        (
            "ordered",
            ["low", "mid", "top"],
            {"order": "low\nmid\ntop", "sizes": "2"},
            ("mid", "low - mid", "*"),
        ),
        ("masking", ["abc"], {"levels": "1"}, ("abc", "ab*", "*")),
        ("zip", ["2139", "94110"], {}, ("2139", "02139", "0213*", "021**")),
        ("priority", ["a", "a", "b"], {"levels": "1"}, ("a", "a", "*")),
        ("suppress", ["a", "b"], {}, ("a", "*")),
        (
            "tree",
            [],
            {"tree": "north\n  Oslo\n  Bergen\nsouth\n  Rome"},
            ("Rome", "south", "*"),
        ),
    ],
)
def test_every_builder_builds(
    builder: str, values: list[str], given: dict[str, Any], row: tuple[str, ...]
) -> None:
    series = pl.Series("c", values, dtype=pl.String)
    found = hierarchy_builders.build(
        builder=builder, values=series, column="c", given=given
    )
    placed = {one[0]: one for one in found.levels}
    assert placed[row[0]][: len(row)] == row


@pytest.mark.parametrize(
    ("builder", "given", "says"),
    [
        ("magic", {}, "one of automatic"),
        ("intervals", {"widths": "x"}, "not a number"),
        ("intervals", {"widths": "5, 7"}, "multiple"),
        ("intervals", {"surprise": "1"}, "surprise"),
        ("intervals", {"widths": "inf"}, "finite"),
        ("intervals", {"widths": "1e-308"}, "too large or too small"),
        ("intervals", {"widths": "5", "origin": "nan"}, "finite"),
        ("intervals", {"widths": "5", "top": "inf"}, "finite"),
        ("ordered", {"sizes": "nan"}, "finite"),
        ("ordered", {"sizes": "2.5"}, "whole number"),
        ("masking", {"levels": "1e300"}, "whole number from 1"),
        ("priority", {"levels": "inf"}, "finite"),
        ("dates", {"units": "year, month"}, "order"),
        ("masking", {"side": "middle"}, "right, left"),
        ("tree", {"tree": ""}, "Write the tree"),
        ("tree", {"tree": "  a\nb"}, "Line 2"),
    ],
)
def test_bad_parameters_are_told(builder: str, given: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        hierarchy_builders.build(
            builder=builder,
            values=pl.Series("c", ["1", "2"]),
            column="c",
            given=given,
        )


def test_builder_is_kept_and_used_over_rest(
    register_version: Any, policy: Any, steward: Any, api_for: Any, run_jobs: Any
) -> None:
    api = api_for(steward)
    asked = {
        "version": str(register_version.pk),
        "column": "birth_date",
        "builder": "dates",
        "parameters": {"units": ["year", "decade"]},
    }
    preview = api.post(f"{HIERARCHIES}preview/", asked)
    assert preview.status_code == 200, preview.content
    assert len(preview.data["labels"]) == 4
    assert not Hierarchy.objects.exists()
    kept = api.post(f"{HIERARCHIES}build/", asked | {"name": "Births"})
    assert kept.status_code == 201, kept.content
    policy["quasi_identifiers"]["birth_date"] = {"hierarchy": kept.data["id"]}
    run = services.submit(version=register_version, policy=policy, by=steward)
    hierarchy = Hierarchy.objects.get()
    with pytest.raises(Conflict, match="queued or running"):
        edits.edit(hierarchy=hierarchy, change="remove_level", level=1, by=steward)
    run_jobs()
    run.refresh_from_db()
    assert run.result["heights"]["birth_date"] == 3
    wrong = api.post(f"{HIERARCHIES}preview/", asked | {"builder": "intervals"})
    assert wrong.status_code == 400
    assert wrong["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("told", "row"),
    [
        (
            {"change": "rename_label", "level": 1, "old": "pet", "new": "house"},
            ("cat", "house", "land", "*"),
        ),
        (
            {
                "change": "set_cells",
                "cells": [{"value": "cat", "level": 1, "new": "fish"}],
            },
            ("cat", "fish", "water", "*"),
        ),
        ({"change": "remove_level", "level": 1}, ("cat", "land", "*")),
        (
            {"change": "insert_level", "level": 2, "labels": {"pet": "tame"}},
            ("cat", "pet", "tame", "land", "*"),
        ),
        ({"change": "remove_value", "value": "cow"}, ("cat", "pet", "land", "*")),
    ],
)
def test_edits_keep_the_hierarchy_sound(
    animals: Hierarchy, steward: Any, api_for: Any, told: Any, row: tuple[str, ...]
) -> None:
    api = api_for(steward)
    answer = api.post(f"{HIERARCHIES}{animals.pk}/edits/", told)
    assert answer.status_code == 200, answer.content
    animals.refresh_from_db()
    found = hierarchies.read(animals)
    assert row in found.levels
    assert animals.values_count == len(found.levels)
    assert AuditEvent.objects.filter(action="hierarchy.edit").count() == 1


@pytest.mark.parametrize(
    "told",
    [
        {"change": "rename_label", "level": 9, "old": "pet", "new": "x"},
        {"change": "set_cells", "cells": [{"value": "cow", "level": 3, "new": "x"}]},
        {"change": "set_cells", "cells": []},
        {"change": "remove_value", "value": "dog"},
        {"change": "place_missing"},
        {"change": "burn"},
    ],
)
def test_bad_edit_changes_nothing(
    animals: Hierarchy, steward: Any, api_for: Any, told: Any
) -> None:
    answer = api_for(steward).post(f"{HIERARCHIES}{animals.pk}/edits/", told)
    assert answer.status_code == 400, answer.content
    animals.refresh_from_db()
    assert hierarchies.read(animals).to_csv() == ANIMALS


def test_values_that_lack_a_place_are_named_and_taken_in(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    text = an.Hierarchy.from_rows([["female", "known", "*"]]).to_csv()
    sex = hierarchies.upload(name="Sex", content=text.encode(), by=steward)
    client = client_for(steward)
    column = register_version.columns.get(name="sex")
    page = client.post(
        reverse("web:anonymize_hierarchy", args=[register_version.pk]),
        {"preview": column.pk, f"hierarchy-{column.pk}": str(sex.pk)},
    ).content.decode()
    assert "No place, most frequent first" in page
    assert "<b>male</b>" in page
    where = reverse("web:hierarchy", args=[sex.pk])
    client.post(where, {"change": "place_missing", "column": column.pk})
    sex.refresh_from_db()
    assert "male" in hierarchies.read(sex).values


def test_a_solution_is_applied_with_the_hierarchies_that_it_was_found_with(
    register_version: Any, policy: Any, steward: Any, run_jobs: Any
) -> None:
    rows = [["female", "known", "*"], ["male", "known", "*"]]
    text = an.Hierarchy.from_rows(rows).to_csv()
    sex = hierarchies.upload(name="Sex", content=text.encode(), by=steward)
    columns = policy["quasi_identifiers"] | {"sex": {"hierarchy": str(sex.pk)}}
    asked = policy | {"quasi_identifiers": columns}
    run = services.submit(version=register_version, policy=asked, by=steward)
    assert hierarchies.is_waited_for(sex)
    run_jobs()
    run.refresh_from_db()
    assert not hierarchies.is_waited_for(sex)
    services.apply(run=run, by=steward, confirm_joint=True)
    run_jobs()
    renamed = {"level": 1, "old": "known", "new": "said"}
    edits.edit(hierarchy=sex, change="rename_label", by=steward, **renamed)
    with pytest.raises(Conflict, match="edited or deleted since"):
        services.apply(run=run, by=steward, confirm_joint=True)


def test_editor_page_saves_the_cells_that_were_typed_over(
    animals: Hierarchy, steward: Any, other_steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:hierarchy", args=[animals.pk])
    assert 'value="farm"' in client.get(where).content.decode()
    cells = {"cell-0-1": "pet", "cell-0-2": "land", "cell-1-1": "stable"}
    answer = client.post(where, {"change": "set_cells", **cells}, follow=True)
    assert "was changed" in answer.content.decode()
    animals.refresh_from_db()
    assert ("cow", "stable", "land", "*") in hierarchies.read(animals).levels
    same = client.post(where, {"change": "set_cells"}, follow=True)
    assert "No cell was changed" in same.content.decode()
    assert client_for(other_steward).get(where).status_code == 404


@pytest.mark.parametrize("builder", list(BUILDERS))
def test_builder_page_offers_every_builder(
    register_version: Any, policy: Any, steward: Any, client_for: Any, builder: str
) -> None:
    client = client_for(steward)
    where = reverse("web:hierarchy_builder", args=[register_version.pk])
    page = client.get(where, {"builder": builder})
    assert page.status_code == 200
    assert BUILDERS[builder].label in page.content.decode()


def test_builder_page_previews_and_keeps(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:hierarchy_builder", args=[register_version.pk])
    column = register_version.columns.get(name="zip")
    asked = {"column": column.pk, "builder": "masking", "masking-levels": "2"}
    page = client.post(where, asked)
    assert "Every value has a place" in page.content.decode()
    assert not Hierarchy.objects.exists()
    wrong = client.post(where, asked | {"masking-levels": "two"})
    assert wrong.status_code == 400
    assert "not a number" in wrong.content.decode()
    kept = client.post(where, asked | {"keep": "1", "name": "Masked"})
    hierarchy = Hierarchy.objects.get()
    assert kept["Location"] == reverse("web:hierarchy", args=[hierarchy.pk])
    assert hierarchy.levels == 3
