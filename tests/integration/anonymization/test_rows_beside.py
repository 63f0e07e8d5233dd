"""Rows before and after, side by side: paged, marked, on the record; and cancelling."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from privacyhub.anonymization import hierarchies, reading, services
from privacyhub.api import anonymizations
from privacyhub.datasets import tables
from privacyhub.engines.tables import ROW_ID
from privacyhub.governance.models import AuditEvent, EntryKind, LedgerEntry
from privacyhub.web import anonymization_runs

pytestmark = pytest.mark.django_db
RUNS = "/api/v1/anonymizations/"


def test_rows_are_paged_and_changed_cells_are_marked(
    released: Any, steward: Any, client_for: Any
) -> None:
    client = client_for(steward)
    where = reverse("web:anonymization_rows", args=[released.pk])
    first = client.post(where).content.decode()
    assert f"1 to 25 of {released.release.rows}" in first
    assert "Rows before" not in first
    assert "<mark>" in first
    then = client.post(f"{where}?offset=25").content.decode()
    assert f"26 to 50 of {released.release.rows}" in then
    assert "Rows before" in then
    last = client.post(f"{where}?offset=99999").content.decode()
    assert f"576 to 600 of {released.release.rows}" in last
    assert "Rows after" not in last


def test_the_quasi_identifiers_come_first_and_rows_are_numbered(
    released: Any, steward: Any, client_for: Any
) -> None:
    where = reverse("web:anonymization_rows", args=[released.pk])
    page = client_for(steward).post(f"{where}?offset=50")
    found = page.context["rows"]
    quasi = list(released.policy["quasi_identifiers"])
    assert found.columns[: len(quasi)] == quasi
    names = released.release.columns.values_list("name", flat=True)
    assert sorted(found.columns) == sorted(names)
    text = page.content.decode()
    assert '<th scope="row">51</th>' in text
    assert '<th scope="row">50</th>' not in text
    assert f'hx-post="{where}?offset=25"' in text
    assert f'hx-post="{where}?offset=75"' in text
    changed = sum(map(sum, found.changed))
    assert 0 < changed < len(found.after) * len(found.columns)
    assert text.count("<mark>") == 2 * changed
    released.policy["quasi_identifiers"] = {"sodium": {}, "gone": {}}
    columns = reading.compare_rows(run=released, by=steward).columns
    assert columns[0] == "sodium"
    assert sorted(columns) == sorted(names)


def test_a_missing_cell_is_a_dash(released: Any, steward: Any) -> None:
    rows = reading.Comparison(
        columns=["a", "b"],
        before=[(None, "x")],
        after=[("*", None)],
        offset=0,
        total=1,
    )
    tables = anonymization_runs._side_by_side(rows)
    context = {"run": released, **tables}
    text = render_to_string("anonymization/rows.html", context)
    assert "None" not in text
    assert text.count("<mark>–</mark>") == 2


def test_rows_of_an_erased_release_are_not_read(
    released: Any, steward: Any, client_for: Any
) -> None:
    released.release.erased_at = timezone.now()
    released.release.save(update_fields=["erased_at"])
    where = reverse("web:anonymization_rows", args=[released.pk])
    assert "Row" not in client_for(steward).post(where).content.decode()
    assert not AuditEvent.objects.filter(action="anonymization.compare").exists()


def test_rows_before_stand_in_the_order_of_the_release(released: Any) -> None:
    source = tables.load(released.version)
    ids = source[ROW_ID][[40, 3, 599]]
    found = reading._with_ids(released.version, ["zip"], ids=ids)
    assert found["zip"].to_list() == source["zip"][[40, 3, 599]].to_list()


def test_numbers_that_json_lacks_are_null() -> None:
    cells = [float("nan"), float("inf"), 1.5, 2, True, None, "x", date(2024, 1, 2)]
    told = [anonymizations._cell(cell) for cell in cells]
    assert told == [None, None, 1.5, 2, True, None, "x", "2024-01-02"]


def test_script_reads_rows_before_and_after(
    released: Any, steward: Any, auditor: Any, analyst: Any, api_for: Any
) -> None:
    where = f"{RUNS}{released.pk}/rows/"
    told = api_for(steward).get(where, {"offset": 30}).data
    columns = told["columns"]
    assert (told["offset"], told["total"]) == (30, 600)
    assert [row["row"] for row in told["rows"]] == list(range(31, 56))
    before, after = tables.load(released.version), tables.load(released.release)
    for row in told["rows"]:
        for cells, frame in (("before", before), ("after", after)):
            for name, cell in zip(columns, row[cells], strict=True):
                original = frame[name][row["row"] - 1]
                if isinstance(original, int | float) or original is None:
                    assert cell == original
                else:
                    assert cell == str(original)
    assert AuditEvent.objects.filter(action="anonymization.compare").count() == 1
    reads = LedgerEntry.objects.filter(
        kind=EntryKind.STEWARD_READ, purpose="compare rows"
    )
    assert reads.count() == 1
    assert api_for(auditor).get(where).status_code == 403
    assert api_for(analyst).get(where).status_code == 404
    assert api_for(steward).get(where, {"offset": -1}).status_code == 400
    assert reads.count() == 1


def test_the_comparison_reads_across_batches(
    released: Any, steward: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = reading.compare_rows(run=released, by=steward, offset=50)
    read = tables.batches

    def small(*args: Any, **kwargs: Any) -> Any:
        for batch in read(*args, **kwargs):
            for start in range(0, batch.num_rows, 7):
                yield batch.slice(start, 7)

    monkeypatch.setattr(reading.tables, "batches", small)
    parts = reading.compare_rows(run=released, by=steward, offset=50)
    assert (parts.before, parts.after) == (whole.before, whole.after)
    assert any(any(row) for row in parts.changed)


def test_a_run_at_work_can_be_cancelled_from_its_page(
    register_version: Any, policy: Any, steward: Any, auditor: Any, client_for: Any
) -> None:
    run = services.submit(version=register_version, policy=policy, by=steward)
    where = reverse("web:anonymization", args=[run.pk])
    cancel = reverse("web:job_cancel", args=[run.job_id])
    assert cancel in client_for(steward).get(where).content.decode()
    assert cancel not in client_for(auditor).get(where).content.decode()
    client_for(steward).post(cancel)
    run.job.refresh_from_db()
    assert run.job.state == "cancelled" or run.job.cancel_requested_at


def test_runs_are_listed_under_a_heading_of_their_own(
    released: Any, steward: Any, analyst: Any, client_for: Any
) -> None:
    client = client_for(steward)
    page = client.get(reverse("web:anonymizations")).content.decode()
    for where in (
        reverse("web:anonymization", args=[released.pk]),
        reverse("web:policy_templates"),
        reverse("web:hierarchies"),
    ):
        assert f'href="{where}"' in page
    assert f'href="{reverse("web:anonymizations")}" aria-current="page"' in page
    run = client.get(reverse("web:anonymization", args=[released.pk])).content.decode()
    assert f'href="{reverse("web:anonymizations")}" aria-current="page"' in run
    later = services.apply(run=released, by=steward)
    listed = client.get(reverse("web:anonymizations")).context["page_obj"]
    assert list(listed) == [later, released]
    foreign = client_for(analyst).get(reverse("web:anonymizations")).content.decode()
    assert str(released.pk) not in foreign
    for name in ("hierarchies", "policy_templates"):
        page = client_for(steward).get(reverse(f"web:{name}")).content.decode()
        assert f'href="{reverse("web:anonymizations")}" aria-current="page"' in page


def test_cells_without_a_value_are_called_missing(
    register_version: Any, policy: Any, steward: Any, client_for: Any
) -> None:
    kept = hierarchies.upload(name="One", content=b"0;*\n", by=steward)
    column = register_version.columns.get(name="sodium")
    missing = tables.load(register_version)["sodium"].null_count()
    assert missing > 1
    page = client_for(steward).post(
        reverse("web:anonymize_hierarchy", args=[register_version.pk]),
        {"preview": column.pk, f"hierarchy-{column.pk}": str(kept.pk)},
    )
    assert f"missing cells: {missing} rows" in page.content.decode()


def test_each_missing_value_is_named_with_its_rows(
    register_version: Any,
    policy: Any,
    steward: Any,
    client_for: Any,
    api_for: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = hierarchies.upload(name="One", content=b"none of these;*\n", by=steward)
    column = register_version.columns.get(name="zip")
    values = tables.load(register_version)["zip"].cast(str).to_list()
    page = client_for(steward).post(
        reverse("web:anonymize_hierarchy", args=[register_version.pk]),
        {"preview": column.pk, f"hierarchy-{column.pk}": str(kept.pk)},
    )
    text = page.content.decode()
    assert len(set(values)) > 10
    assert text.count("first row") == len(set(values))
    where = "/api/v1/hierarchies/preview/"
    body = {"version": str(register_version.pk), "column": "zip"}
    api = api_for(steward)
    told = api.post(where, body | {"hierarchy": str(kept.pk)}).data
    assert told["missing_values"] == len(set(values)) == len(told["missing"])
    for one in told["missing"]:
        assert one["rows"] == values.count(one["value"] or None)
        assert one["first_row"] == values.index(one["value"] or None) + 1
    assert [one["rows"] for one in told["missing"]] == sorted(
        (one["rows"] for one in told["missing"]), reverse=True
    )
    assert told["missing_rows"] == len(values)
    assert "The 3 most frequent of" not in text
    monkeypatch.setattr(hierarchies, "MISSING_SHOWN", 3)
    few = client_for(steward).post(
        reverse("web:anonymize_hierarchy", args=[register_version.pk]),
        {"preview": column.pk, f"hierarchy-{column.pk}": str(kept.pk)},
    )
    text = few.content.decode()
    assert text.count("first row") == 3
    assert f"The 3 most frequent of {len(set(values))}." in text
    built = api.post(where, body | {"builder": "automatic"}).data
    assert (built["missing"], built["missing_rows"]) == ([], 0)
    assert api.post(where, body).status_code == 400
