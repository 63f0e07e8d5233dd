"""Reports hold every field, never an exact metric, and do not change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from jobs import services as jobs
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.assessment import report_version, reports
from privacyhub.assessment.models import GroupAssessment, Report
from privacyhub.assessment.report_fields import SOURCES
from privacyhub.datasets.errors import Conflict
from privacyhub.governance import grants, ledger
from privacyhub.governance.models import AuditEvent, Right
from privacyhub.training import plans
from tests.integration.published_model import EXACT_AUC, publish_model

SECTIONS = {
    "basic": (
        "name curators intended_use product_type region sector description "
        "publication_date"
    ),
    "variant": "neighbouring_relation data_domain unprotected_quantities",
    "privacy_loss": (
        "unit_of_privacy adjacency most_rows epsilon epsilon_training epsilon_metrics "
        "delta odds rdp_curve"
    ),
    "deployment": "model actors release_type access_type access_control",
    "accounting": (
        "post_processing composition accountant sampler_assumed sampler_used this_run "
        "lifetime remaining per_recipient covers_every_release uncovered_releases"
    ),
    "implementation": (
        "preprocessing_cost tuning_cost mechanism clip_norm noise_multiplier "
        "expected_batch steps library_versions floating_point timing random_generator"
    ),
    "data": (
        "legal_basis purpose categories recipients retention dataset_hash lineage "
        "identifiers anonymity_asked anonymity_reached reidentification_risk joint_k "
        "safe_harbor"
    ),
    "attacks": "membership_inference audited_epsilon audited_confidence",
    "utility": "metrics group_errors",
    "attestation": (
        "limits attestation approver expiry report_hash ledger_head audit_head"
    ),
}


def _fields(report: Report) -> dict[str, Any]:
    return {
        field["key"]: field
        for section in report.content["sections"]
        for field in section["fields"]
    }


def test_report_of_a_model_has_every_field(model_version: Any, steward: Any) -> None:
    report = reports.create(by=steward, model_version=model_version)
    told = {
        section["key"]: {field["key"] for field in section["fields"]}
        for section in report.content["sections"]
    }
    assert list(told) == list(SECTIONS)
    for section, keys in SECTIONS.items():
        assert set(keys.split()) <= told[section], section
    for field in _fields(report).values():
        assert field["source"] in SOURCES
        assert field["value"]
        assert (field["value"] == "not known") == (field["source"] == "not known")


def test_what_is_not_measured_says_so(model_version: Any, steward: Any) -> None:
    fields = _fields(reports.create(by=steward, model_version=model_version))
    for key in ("membership_inference", "audited_epsilon", "group_errors", "region"):
        assert fields[key]["value"] == "not known"
    for key in ("accountant", "sampler_used", "expected_batch", "floating_point"):
        assert fields[key]["value"] != "not known", key


def test_adaptive_clip_norm_is_reported_with_its_mechanism(
    model_version: Any, steward: Any
) -> None:
    fixed = _fields(reports.create(by=steward, model_version=model_version))
    assert fixed["clip_norm"]["value"] == "1"
    assert "count" not in fixed["mechanism"]["value"]
    words = "adaptive, quantile 0.5, from 1"
    model_version.guarantee |= {"clip_quantile": 0.5, "clipping": words}
    model_version.save(update_fields=["guarantee"])
    told = _fields(reports.create(by=steward, model_version=model_version))
    assert told["clip_norm"]["value"] == words
    assert "count of the gradients within the clip norm" in told["mechanism"]["value"]


def test_search_over_settings_is_reported_as_paid_whole(
    model_version: Any, steward: Any
) -> None:
    alone = _fields(reports.create(by=steward, model_version=model_version))
    assert "No search over settings was run" in alone["tuning_cost"]["value"][0]
    model_version.guarantee |= {
        "search": {
            "space": {"learning_rate": [0.01, 0.3], "hidden": [[], [8]]},
            "trials": "geometric",
            "mean_trials": 5.0,
            "score_noise_multiplier": 28.25,
        }
    }
    model_version.save(update_fields=["guarantee"])
    report = reports.create(by=steward, model_version=model_version)
    told = "\n".join(_fields(report)["tuning_cost"]["value"])
    assert "No search" not in told
    assert "paid as a whole" in told
    assert "learning_rate: 0.01, 0.3" in told
    assert "hidden: [], [8]" in told
    assert "geometric, 5 on average" in told
    assert "noise multiplier 28.25" in told


def test_epsilon_is_the_larger_side_of_the_coin(
    model_version: Any, steward: Any
) -> None:
    figures = reports.create(by=steward, model_version=model_version).content["figures"]
    assert figures["epsilon_training"] == "1"
    assert figures["epsilon_metrics"] == "0.5"
    assert figures["epsilon"] == "1"
    assert figures["delta"] == "0.00001"
    assert figures["odds_of_100"] == "73.1"
    assert 0.5 < float(figures["auc_released"]) < 1


def test_errors_by_group_are_reported_and_paid_by_the_held_out_units(
    model_version: Any, steward: Any
) -> None:
    figure = {"value": 0.25, "low": 0.1234567, "high": 0.5}
    rows = 771234567890  # so long that no hash holds it by chance
    exact = [{"group": "a", "rows": rows, "metrics": {"error": figure}}]
    for epsilon, released in (("3", [{**exact[0], "rows": 312}]), ("", [])):
        job = jobs.submit(kind="assess_groups", title="", owner=steward, spec={})
        GroupAssessment.objects.create(
            model_version=model_version,
            job=job,
            column="sex",
            epsilon=epsilon,
            released=released,
            exact=exact,
        )
    paid = model_version.group_assessments.get(epsilon="3").job_id
    price = plans.metrics_price(
        event=plans.metrics_event(epsilon="3"), epsilon="3", part="heldout", unit=""
    )
    ledger.reserve(
        ledgers=model_version.run.version.ledgers.all(),
        run_id=paid,
        prices=[price],
        recipient=steward.username,
        by=steward,
    )
    report = reports.create(by=steward, model_version=model_version)
    fields, figures = _fields(report), report.content["figures"]
    assert figures["epsilon_metrics"] == "3.5"
    assert figures["epsilon"] == "3.5"
    assert fields["group_errors"]["value"]["rows"] == [
        ["sex", "a", "312", "Share of errors", "0.2500", "0.1235", "0.5000"]
    ]
    assert str(rows) not in reports.canonical(report.content).decode()
    assert len(fields["rdp_curve"]["value"]["columns"]) == 1 + 3


@pytest.mark.parametrize(
    ("why", "told"),
    [
        ("the data was refreshed", "all units, because the data was refreshed."),
        ("", "charged to all units."),
    ],
)
def test_sum_of_both_sides_is_told_by_its_cause(
    model_version: Any, steward: Any, why: str, told: str
) -> None:
    run = model_version.run
    run.plan = {**run.plan, "part_train": "all", "part_heldout": "all", "why_all": why}
    run.save()
    fields = _fields(reports.create(by=steward, model_version=model_version))
    assert fields["epsilon_explained"]["value"].endswith(told)
    assert "several roots" not in fields["epsilon_explained"]["value"]


def test_epsilons_of_several_roots_add_up(model_version: Any, steward: Any) -> None:
    run = model_version.run
    run.plan = {**run.plan, "part_train": "all", "part_heldout": "all"}
    run.save()
    figures = reports.create(by=steward, model_version=model_version).content["figures"]
    assert figures["epsilon"] == "1.5"


def test_report_holds_no_exact_metric(model_version: Any, steward: Any) -> None:
    report = reports.create(by=steward, model_version=model_version)
    text = reports.canonical(report.content).decode()
    assert model_version.assessments.get().exact["metrics"]["auc"]["value"] == EXACT_AUC
    assert "0.8765" not in text
    assert str(EXACT_AUC)[2:] not in text


def test_report_holds_no_count_of_private_rows(
    model_version: Any, steward: Any, register_version: Any
) -> None:
    rows = 771234567890  # so long that no hash holds it by chance
    register_version.rows = rows
    register_version.save()
    for subject in ({"model_version": model_version}, {"version": register_version}):
        report = reports.create(by=steward, **subject)
        text = reports.canonical(report.content).decode()
        assert str(rows) not in text
        assert f"{rows:,}" not in text


def test_hash_is_of_the_canonical_json(model_version: Any, steward: Any) -> None:
    made = reports.create(by=steward, model_version=model_version)
    report = Report.objects.get(pk=made.pk)
    canonical = json.dumps(
        report.content, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    assert report.sha256 == hashlib.sha256(canonical.encode()).hexdigest()
    assert reports.is_intact(report)
    event = AuditEvent.objects.get(action="report.create")
    assert event.detail["sha256"] == report.sha256


def test_heads_are_those_before_the_report(model_version: Any, steward: Any) -> None:
    last = AuditEvent.objects.order_by("-sequence").first()
    report = reports.create(by=steward, model_version=model_version)
    assert report.content["audit_head"] == {
        "sequence": str(last.sequence),
        "hash": last.hash,
    }
    (head,) = report.content["ledger_heads"]
    account = model_version.run.version.ledgers.get()
    assert head["last_line"] == str(account.entries.first().pk)
    again = reports.create(by=steward, model_version=model_version)
    assert again.content["ledger_heads"] == [head]
    ledger.note_steward_read(ledgers=[account], by=steward, purpose="profile")
    changed = reports.create(by=steward, model_version=model_version)
    assert changed.content["ledger_heads"] != [head]


def test_an_uncovered_release_is_told(
    model_version: Any, steward: Any, register_version: Any
) -> None:
    before = _fields(reports.create(by=steward, model_version=model_version))
    assert before["covers_every_release"]["value"].startswith("Yes")
    ledger.note_uncovered_release(
        ledgers=register_version.ledgers.all(),
        by=steward,
        recipient="partner clinic",
        purpose="share version",
        note="a table was shared",
    )
    after = _fields(reports.create(by=steward, model_version=model_version))
    assert after["covers_every_release"]["value"].startswith("No")
    assert "partner clinic" in after["uncovered_releases"]["value"][0]


def test_identifiers_are_named_and_dropped(model_version: Any, steward: Any) -> None:
    fields = _fields(reports.create(by=steward, model_version=model_version))
    told = " ".join(fields["identifiers"]["value"])
    assert "email (looks like: email): dropped" in told
    assert "KEPT" not in told
    assert any("F e-mail" in line for line in fields["safe_harbor"]["value"])


def test_model_without_privacy_has_no_epsilon(
    register_version: Any, steward: Any
) -> None:
    bare = publish_model(version=register_version, by=steward, privacy="none")
    report = reports.create(by=steward, model_version=bare)
    figures, fields = report.content["figures"], _fields(report)
    assert figures["epsilon"] is None
    assert figures["epsilon_training"] is None
    assert "without differential privacy" in fields["epsilon"]["value"]


def test_noise_of_metrics_covers_no_training_unit_of_a_bare_model(
    model_version: Any, register_version: Any, steward: Any
) -> None:
    private = _fields(reports.create(by=steward, model_version=model_version))
    told = private["metrics_covered"]["value"]
    assert told.startswith("Covered by the guarantee")
    bare = publish_model(version=register_version, by=steward, privacy="none")
    fields = _fields(reports.create(by=steward, model_version=bare))
    told = fields["metrics_covered"]["value"]
    assert "Covered by the guarantee" not in told
    assert told.startswith("For the held-out units alone")


def test_report_of_a_version(register_version: Any, steward: Any) -> None:
    report = reports.create(by=steward, version=register_version)
    told = [section["key"] for section in report.content["sections"]]
    assert told == list(SECTIONS)
    assert report.content["figures"]["ledger_cap"] == "8"


def test_nothing_is_called_anonymous(model_version: Any, steward: Any) -> None:
    for of in (
        {"model_version": model_version},
        {"version": model_version.run.version},
    ):
        text = reports.canonical(reports.create(by=steward, **of).content).decode()
        assert "anonymous" not in text.lower()


def test_only_stewards_of_the_data_make_reports(
    model_version: Any, analyst: Any, other_steward: Any, auditor: Any, steward: Any
) -> None:
    grants.give(target=model_version.model, right=Right.USE, by=steward, user=analyst)
    for user in (analyst, other_steward, auditor):
        with pytest.raises(NotAllowed):
            reports.create(by=user, model_version=model_version)


def test_auditor_signs_once(model_version: Any, steward: Any, auditor: Any) -> None:
    report = reports.create(by=steward, model_version=model_version)
    with pytest.raises(NotAllowed):
        reports.sign(report=report, by=steward)
    signed = reports.sign(report=report, by=auditor)
    assert signed.signed_by == auditor
    assert AuditEvent.objects.filter(action="report.sign").count() == 1
    with pytest.raises(Conflict):
        reports.sign(report=report, by=auditor)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Another"},
        {"content": {"sections": []}},
        {"sha256": "0" * 64},
        {"signed_at": None, "signed_by": None},
    ],
)
def test_signed_report_cannot_be_changed(
    model_version: Any, steward: Any, auditor: Any, change: dict[str, Any]
) -> None:
    report = reports.create(by=steward, model_version=model_version)
    reports.sign(report=report, by=auditor)
    with pytest.raises(DatabaseError), transaction.atomic():
        Report.objects.filter(pk=report.pk).update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        Report.objects.filter(pk=report.pk)._raw_delete("default")


def test_unsigned_report_cannot_be_rewritten(model_version: Any, steward: Any) -> None:
    report = reports.create(by=steward, model_version=model_version)
    with pytest.raises(DatabaseError), transaction.atomic():
        Report.objects.filter(pk=report.pk).update(content={"sections": []})


@pytest.mark.parametrize("key", ["id", "rowid"])
def test_no_report_takes_the_place_of_another(
    model_version: Any, steward: Any, key: str
) -> None:
    if connection.vendor != "sqlite":
        return  # only SQLite replaces
    reports.create(by=steward, model_version=model_version)
    columns = [field.column for field in Report._meta.local_fields]
    values = ["hex(randomblob(16))" if name == "id" else name for name in columns]
    if key == "id":
        values = columns
    else:
        columns, values = [*columns, key], [*values, key]
    with (
        pytest.raises(DatabaseError, match="never changed"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            f"INSERT OR REPLACE INTO assessment_report ({', '.join(columns)}) "  # noqa: S608
            f"SELECT {', '.join(values)} FROM assessment_report"
        )


def test_sharing_gives_the_report_alone(
    model_version: Any, steward: Any, analyst: Any
) -> None:
    report = reports.create(by=steward, model_version=model_version)
    assert not Report.objects.visible_to(analyst).exists()
    grant = reports.share(report=report, user=analyst, by=steward)
    assert list(Report.objects.visible_to(analyst)) == [report]
    assert not type(model_version).objects.visible_to(analyst).exists()
    reports.unshare(report=report, grant=grant, by=steward)
    assert not Report.objects.visible_to(analyst).exists()


@pytest.mark.parametrize(
    ("method", "optimal", "says"),
    [
        ("full_domain", True, "One level for each column"),
        ("local_recoding", False, "Local recoding"),
        ("cell_suppression", True, "Single cells suppressed"),
    ],
)
def test_report_of_a_release_names_its_own_mechanism(
    method: str, optimal: bool, says: str
) -> None:
    run = AnonymizationRun(policy={"method": method}, result={"optimal": optimal})
    told = report_version.recoding(run)
    assert told is not None
    assert told.startswith(says)
    assert ("not proved" in told) != optimal
