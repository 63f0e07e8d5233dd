"""Anonymization runs: accepted, taken up by a worker, released.

A run searches and then releases its best solution as a new version, unless the family
has releases already: then it is held, its page shows what all of them would give away
together, and `apply` with `confirm_joint` releases it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import uuid4

from django.db import transaction

from jobs import services as jobs
from jobs.models import Job
from jobs.states import JobFailed, State
from privacyhub.accounts.roles import NotAllowed
from privacyhub.anonymization import (
    family,
    hierarchies,
    inputs,
    policies,
    policy_seals,
    pseudonyms,
    solution_space,
)
from privacyhub.anonymization.models import AnonymizationRun
from privacyhub.datasets import intake
from privacyhub.datasets.errors import Conflict, DataError
from privacyhub.datasets.models import Role, Version, VersionKind
from privacyhub.datasets.services import require_open
from privacyhub.datasets.tables import Written
from privacyhub.engines.tables import TableProfile
from privacyhub.governance import audit, entries, ledger

MOST_RECIPIENT = 150


class Release(StrEnum):
    """What a run does with the solution that it finds."""

    IF_ALONE = "if_alone"  # release it as the family's first, hold it otherwise
    CONFIRMED = "confirmed"  # release it beside the others
    NEVER = "never"  # show what it would be


@dataclass(frozen=True)
class Plan:
    """What a worker needs of a run. `columns`: those that a release shows."""

    run: AnonymizationRun
    version: Version
    policy: dict[str, Any]
    roles: dict[str, str]
    release: Release
    recipient: str

    @property
    def columns(self) -> list[str]:
        """The columns that the release shows."""
        return policies.shown_columns(roles=self.roles, policy=self.policy)

    @property
    def loaded(self) -> list[str]:
        """The columns that are read: those that are shown or looked at."""
        shown = set(self.columns)
        return [
            name
            for name, role in self.roles.items()
            if name in shown or role != Role.IDENTIFIER
        ]

    @property
    def compared(self) -> list[str]:
        """The columns of the release that may differ from the table."""
        treated = self.policy.get("treatments", {})
        changed = {*self.quasi_identifiers, *treated}
        return [name for name in self.columns if name in changed]

    @property
    def features(self) -> list[str]:
        """The columns of the release that are no disguised identifiers."""
        return [n for n in self.columns if self.roles[n] != Role.IDENTIFIER]

    @property
    def method(self) -> str:
        return str(self.policy.get("method", policies.FULL_DOMAIN))

    @property
    def quasi_identifiers(self) -> list[str]:
        return list(self.policy["quasi_identifiers"])

    @property
    def levels(self) -> dict[str, int] | None:
        """The node to apply, where the run is to apply one."""
        applied = self.policy.get("apply")
        return None if applied is None else dict(applied["levels"])


def require_manager(*, version: Version, by: Any) -> None:
    """Only those who manage the data anonymize it; a refusal is on the trail."""
    if not Version.objects.managed_by(by).filter(pk=version.pk).exists():
        audit.record(actor=by, action="version.refuse_anonymize", target=version)
        raise NotAllowed("Only a steward of the dataset can anonymize it.")


def submit(
    *,
    version: Version,
    policy: Any,
    by: Any,
    confirm_joint: bool = False,
    recipient: str = "",
    only_plan: bool = False,
) -> AnonymizationRun:
    """Queue a run, or raise DataError and leave nothing behind.

    `only_plan` searches and tells the joint risk, and releases nothing.
    """
    require_manager(version=version, by=by)
    require_open(version)
    checked = policies.frozen(version=version, policy=policy, by=by)
    hierarchies.check_uploaded(version=version, policy=checked, by=by)
    release = Release.CONFIRMED if confirm_joint else Release.IF_ALONE
    return _accept(
        version=version,
        policy=checked,
        release=Release.NEVER if only_plan else release,
        recipient=recipient,
        by=by,
    )


def apply(
    *,
    run: AnonymizationRun,
    by: Any,
    levels: Any = None,
    confirm_joint: bool = False,
    recipient: str = "",
) -> AnonymizationRun:
    """Queue a run that releases another node of a run's solution space.

    Without `levels` it is the node that the run itself found.
    """
    version = run.version
    require_manager(version=version, by=by)
    require_open(version)
    if run.job.state != State.SUCCEEDED:
        raise Conflict("This run found no solution.", code="no_solution")
    chosen = run.result["levels"] if levels is None else levels
    _check_levels(chosen, result=run.result)
    _check_method(run, levels=chosen)
    policies.recheck(version=version, policy=run.policy)
    _check_hierarchies(run)
    policy = {key: value for key, value in run.policy.items() if key != "apply"}
    applied = {"run": str(run.pk), "levels": dict(chosen)}
    return _accept(
        version=version,
        policy={**policy, "apply": applied},
        release=Release.CONFIRMED if confirm_joint else Release.IF_ALONE,
        recipient=recipient,
        by=by,
    )


def _check_hierarchies(run: AnonymizationRun) -> None:
    """What the search found holds of the hierarchies as they were then."""
    then = run.result.get("hierarchies")
    if then is not None and then != hierarchies.marks(run.policy):
        raise Conflict(
            "A hierarchy of this run was edited or deleted since. Run it again.",
            code="hierarchy_changed",
        )


def _check_method(run: AnonymizationRun, *, levels: Mapping[str, int]) -> None:
    """Only a search for one level a column has other solutions to choose from."""
    if dict(levels) == run.result["levels"]:
        return
    if policies.is_dp(run.policy):
        raise Conflict(
            "Under differential privacy the data must not choose the levels. Set "
            "another degree of generalization in the policy.",
            code="fixed_levels",
        )
    if run.policy.get("method", policies.FULL_DOMAIN) != policies.FULL_DOMAIN:
        raise Conflict(
            "Local recoding has a solution for each round; there is no other to apply.",
            code="local_recoding",
        )


def applied_from(run: AnonymizationRun) -> AnonymizationRun | None:
    """The run that released the very node that this one found, if there is one."""
    if run.release_id is not None or not run.result:
        return None
    later = AnonymizationRun.objects.filter(
        policy__apply__run=str(run.pk), release__isnull=False
    )
    wanted = run.result["levels"]
    return next((r for r in later if r.policy["apply"]["levels"] == wanted), None)


def searched_by(plan: Plan) -> dict[str, Any] | None:
    """The figures of the run whose solution space the plan's node is taken from."""
    applied = plan.policy.get("apply")
    if applied is None:
        return None
    run = AnonymizationRun.objects.filter(pk=applied["run"]).first()
    return dict(run.result) if run is not None and run.result else None


def _check_levels(levels: Any, *, result: Mapping[str, Any]) -> None:
    if not isinstance(levels, Mapping) or set(levels) != set(result["columns"]):
        raise DataError("Name a level for each quasi-identifier.", code="levels")
    for name in result["columns"]:
        level, height = levels[name], result["heights"][name]
        whole = isinstance(level, int) and not isinstance(level, bool)
        if not whole or not 0 <= level <= height:
            raise DataError(
                f"Column “{name}”: the level must be a whole number from 0 to "
                f"{height}.",
                code="levels",
                column=name,
            )
    wanted = [levels[name] for name in result["columns"]]
    node = solution_space.node_at(result, wanted)
    if node is not None and not node["anonymous"]:
        raise Conflict(
            f"This solution would suppress {node['suppressed']:,} rows to meet the "
            f"models; the limit is {result['limit']:,}.",
            code="over_limit",
        )


@transaction.atomic
def _accept(
    *,
    version: Version,
    policy: dict[str, Any],
    release: Release,
    recipient: str,
    by: Any,
) -> AnonymizationRun:
    pk = uuid4()
    pseudonyms.ensure(names=pseudonyms.domains_of(policy).values(), by=by)
    job = jobs.submit(
        kind="anonymize",
        title=f"Anonymize {version}",
        owner=by,
        spec={
            "schema": 1,
            "dataset": str(version.dataset_id),
            "version": str(version.pk),
            "run": str(pk),
            "release": release.value,
            "recipient": recipient.strip()[:MOST_RECIPIENT] or by.username,
        },
    )
    run = AnonymizationRun.objects.create(
        id=pk, version=version, owner=by, job=job, policy=policy
    )
    audit.record(
        actor=by,
        action="anonymization.submit",
        target=run,
        version=str(version.pk),
        release=release.value,
    )
    return run


def again(*, job: Job, by: Any) -> Job:
    """A new run of the policy of one whose job failed or was cancelled."""
    run = AnonymizationRun.objects.select_related("version__dataset").get(job=job)
    require_manager(version=run.version, by=by)
    require_open(run.version)
    policies.recheck(version=run.version, policy=run.policy)
    fresh = _accept(
        version=run.version,
        policy=run.policy,
        release=Release(job.spec["release"]),
        recipient=job.spec["recipient"],
        by=by,
    )
    return fresh.job


def begin(*, job: Job) -> Plan:
    """Note the read that a job is about to make; raises JobFailed if it cannot run."""
    run = AnonymizationRun.objects.select_related("version__dataset", "owner").get(
        job=job
    )
    version = run.version
    try:
        require_open(version)
        policies.recheck(version=version, policy=run.policy)
        others = inputs.versions_of(run.policy)
    except DataError as error:
        raise JobFailed(error.message, code=error.code) from error
    read = {account.pk: account for account in version.ledgers.all()}
    # Earlier releases are read for the joint risk; a join is on other ledgers too.
    for other in [*others, *family.readable(version)]:
        read |= {account.pk: account for account in other.ledgers.all()}
    ledger.note_steward_read(
        ledgers=list(read.values()),
        by=job.owner,
        purpose="anonymize",
        run_id=job.pk,
    )
    models = policy_seals.opened(run.policy["models"], version=version)
    return Plan(
        run=run,
        version=version,
        policy={**run.policy, "models": models},
        roles=policies.roles_of(version),
        release=Release(job.spec["release"]),
        recipient=job.spec["recipient"],
    )


@transaction.atomic
def record(*, plan: Plan, outcome: dict[str, Any]) -> None:
    """Keep a run's figures; call it where its job publishes."""
    run = AnonymizationRun.objects.select_for_update().get(pk=plan.run.pk)
    run.result = outcome
    run.save(update_fields=["result"])


@transaction.atomic
def publish_release(
    *,
    plan: Plan,
    written: Written,
    profile: TableProfile,
    outcome: dict[str, Any],
    seen: list[Version],
    job: Job,
) -> Version:
    """The release as a version; call it where a job publishes.

    Raises JobFailed when roles changed or another release came in since `seen` was
    looked up: the joint risk would be another.
    """
    # Of two releases of a family the second waits here, and then sees the first.
    entries.locked(plan.version.ledgers.all())
    if policies.roles_of(plan.version) != plan.roles:
        raise JobFailed(
            "The roles of columns changed while the job ran. Run it again.",
            code="roles_changed",
        )
    if family.releases(plan.version) != seen:
        raise JobFailed(
            "Another release of this family was published while the job ran. Run it "
            "again.",
            code="family_changed",
        )
    ledgers = list(plan.version.ledgers.all())
    version = intake.publish_version(
        dataset=plan.version.dataset,
        kind=VersionKind.ANONYMIZED,
        written=written,
        profile=profile,
        by=job.owner,
        job=job,
        ledgers=ledgers,
        parents=[plan.version],
        origin={"run": str(plan.run.pk)},
    )
    kinds = {column.name: column.kind for column in profile.columns}
    intake.copy_columns(source=plan.version, to=version, kinds=kinds)
    for column in version.columns.all():
        if lost := policies.undeclared(plan.policy, column=column.name):
            version.columns.filter(pk=column.pk).update(**lost)
    record(plan=plan, outcome=outcome)
    AnonymizationRun.objects.filter(pk=plan.run.pk).update(release=version)
    ledger.note_uncovered_release(
        ledgers=ledgers,
        by=job.owner,
        recipient=plan.recipient,
        purpose="anonymized release",
        note=f"{version}: {', '.join(outcome['models'])}"[:300],
        run_id=job.pk,
    )
    audit.record(
        actor=job.owner,
        action="anonymization.release",
        target=plan.run,
        version=str(version.pk),
        recipient=plan.recipient,
        joint_k=(outcome["joint"] or {}).get("smallest"),
    )
    return version
