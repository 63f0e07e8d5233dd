"""A second release of a family: held, told its joint k, confirmed."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import polars as pl
import pytest

from jobs import execution
from privacyhub.anonymization import family, services
from privacyhub.datasets import tables
from privacyhub.datasets.models import Version
from privacyhub.engines import anonymize as an
from privacyhub.engines.tables import ROW_ID
from privacyhub.governance import ledger
from privacyhub.governance.models import LedgerEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def other_policy(policy: dict[str, Any]) -> dict[str, Any]:
    """Another look at the same people: weights that keep other columns exact."""
    return policy | {
        "models": [{"name": "k_anonymity", "k": 3}],
        "suppression_limit": 0.04,
        "metric": {"weights": {"zip": 100, "birth_date": 0.1}},
    }


def brute_force(releases: list[tuple[Version, list[str]]]) -> int:
    """The smallest group of rows that agree in every release, row by row."""
    classes: dict[int, list[Any]] = defaultdict(list)
    for release, names in releases:
        for row in tables.load(release, columns=[ROW_ID, *names]).iter_rows(named=True):
            values = tuple(row[name] for name in names)
            hidden = all(value == "*" for value in values)
            classes[row[ROW_ID]].append("hidden" if hidden else values)
    shown = [
        tuple(told) for told in classes.values() if any(one != "hidden" for one in told)
    ]
    return min(Counter(shown).values())


def test_second_release_is_held_then_confirmed(
    released: Any, other_policy: Any, steward: Any, run_jobs: Any
) -> None:
    held = services.submit(version=released.version, policy=other_policy, by=steward)
    run_jobs()
    held.refresh_from_db()
    assert held.job.state == "succeeded", held.job.trace or held.job.message
    assert held.result["held"]
    assert held.release is None
    assert held.job.result["version"] is None
    assert held.result["levels"] != released.result["levels"]

    done = services.apply(run=held, by=steward, confirm_joint=True)
    run_jobs()
    done.refresh_from_db()
    assert done.release is not None
    assert not done.result["held"]
    names = list(other_policy["quasi_identifiers"])
    expected = brute_force([(released.release, names), (done.release, names)])
    assert done.result["joint"]["smallest"] == expected
    assert held.result["joint"]["smallest"] == expected
    assert done.result["joint"]["k"][-1] >= 3
    assert expected < done.result["joint"]["k"][-1]  # that is why it must be confirmed


def test_joint_risk_counts_columns_that_another_release_treats(
    released: Any, steward: Any, run_jobs: Any
) -> None:
    """ZIP was a quasi-identifier once; released as it is, it still tells people."""
    from privacyhub.datasets.services import set_columns

    source = released.version
    set_columns(version=source, changes={"zip": {"role": "insensitive"}}, by=steward)
    quasi = {
        name: {"hierarchy": "automatic"} for name in ("birth_date", "sex", "occupation")
    }
    policy = {
        "quasi_identifiers": quasi,
        "models": [{"name": "k_anonymity", "k": 4}],
        "suppression_limit": 0.05,
    }
    run = services.submit(version=source, policy=policy, by=steward, confirm_joint=True)
    run_jobs()
    run.refresh_from_db()
    assert run.job.state == "succeeded", run.job.trace
    frame = tables.load(run.release, columns=[*quasi, "zip"])
    alone = frame.group_by([*quasi, "zip"]).len()["len"].min()
    assert run.result["joint"]["k"][-1] == alone
    assert run.result["joint"]["smallest"] <= alone < 4


def test_release_meanwhile_fails_the_job(
    register_version: Any, policy: Any, other_policy: Any, steward: Any, run_jobs: Any
) -> None:
    """Two runs search at once; the second must not publish an unseen pair."""
    first = services.submit(version=register_version, policy=policy, by=steward)
    second = services.submit(version=register_version, policy=other_policy, by=steward)
    from jobs.tasks import anonymize

    waiting: list[Any] = []
    real = anonymize.family.joint_risk

    def slow(**arguments: Any) -> Any:
        if not waiting:
            waiting.append(True)
            execution.execute(str(first.job_id))
        return real(**arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("privacyhub.anonymization.family.joint_risk", slow)
        execution.execute(str(second.job_id))
    second.refresh_from_db()
    first.refresh_from_db()
    assert first.release is not None
    assert (second.job.state, second.job.error_code) == ("failed", "family_changed")
    assert second.release is None


def test_erased_release_is_told(released: Any, policy: Any, steward: Any) -> None:
    from privacyhub.anonymization import family
    from privacyhub.anonymization.narration import joint

    release = released.release
    release.erased_at = release.created_at
    release.save()
    frame = pl.DataFrame({ROW_ID: [1, 2], "sex": ["a", "a"]})
    told = family.joint_risk(
        earlier=family.releases(released.version), planned=frame, columns=["sex"]
    )
    assert told is not None
    assert told["unreadable"] == 1
    assert told["smallest"] is None
    assert "erased" in joint({"joint": told})[0]


def test_a_search_is_noted_on_the_ledgers_of_earlier_releases_too(
    released: Any, other_policy: Any, steward: Any, run_jobs: Any
) -> None:
    """They are read for the joint risk; one of a join is on another ledger as well."""
    joined = ledger.open_ledger(name="joined", fingerprint="j" * 64)
    released.release.ledgers.add(joined)
    again = services.submit(version=released.version, policy=other_policy, by=steward)
    run_jobs()
    assert joined.entries.get(run_id=again.job_id).purpose == "anonymize"
    own = released.version.ledgers.get()
    assert LedgerEntry.objects.filter(ledger=own, run_id=again.job_id).count() == 1


def test_an_earlier_release_is_read_as_codes(
    released: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As plain strings a long release would not fit into a worker's memory."""
    seen: list[pl.DataFrame] = []
    measured = an.risk.joint_k

    def noted(frames: list[pl.DataFrame], *, row: str) -> Any:
        seen.extend(frames)
        return measured(frames, row=row)

    monkeypatch.setattr(an.risk, "joint_k", noted)
    names = family.quasi_identifiers(released.release)
    planned = tables.load(released.release)
    told = family.joint_risk(earlier=[released.release], planned=planned, columns=names)
    assert told is not None
    assert told["smallest"] == told["k"][0] >= 4
    kinds = [kind for name, kind in seen[0].schema.items() if name in names]
    assert kinds
    assert not any(kind == pl.String for kind in kinds)
