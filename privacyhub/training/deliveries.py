"""Who gets what a model's runs were charged for: it counts under their own caps.

A right on a model is one on all its versions, their metrics and those to come. So who
gets a right is counted for every run and assessment that came to something or still
may; an order for a model that is shared reserves under the caps of all who hold a right
on it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.db.models import Q

from jobs.models import Job
from jobs.states import OPEN, State
from privacyhub.accounts.models import User
from privacyhub.governance import entries, ledger
from privacyhub.governance.models import Grant, Ledger
from privacyhub.training.models import Model


def grantees(model: Model) -> list[str]:
    """Who holds a right on the model, each once: users and groups by name."""
    live = Grant.objects.live().filter(model=model).select_related("user", "group")
    return sorted({one.user.username if one.user else str(one.group) for one in live})


def audience_of(model: Model | None) -> list[str]:
    """The users who hold a right on the model, by themselves or in a group.

    Nobody has one on a model that is still to be made, which is None.
    """
    if model is None:
        return []
    live = Grant.objects.live().filter(model=model)
    users = User.objects.filter(
        Q(pk__in=live.values("user")) | Q(groups__in=live.values("group"))
    )
    return sorted(set(users.values_list("username", flat=True)))


def fixed_audience(model: Model, *, accounts: Collection[Ledger]) -> list[str]:
    """The model's audience, which stays so until this transaction ends.

    `accounts` are locked for it: who shares the model meanwhile waits, and then sees
    what was ordered.
    """
    entries.locked(accounts)
    return audience_of(model)


def deliver(*, model: Model, user: Any, by: Any) -> None:
    """Count the model's runs under the user's caps. Raises RecipientCapRefused.

    The dataset's ledgers must be locked.
    """
    runs = [str(pk) for pk in model.runs.values_list("pk", flat=True)]
    found = Job.objects.filter(spec__run__in=runs)
    came = found.filter(state__in=[*OPEN, State.SUCCEEDED])  # to something, or may
    ledger.deliver(
        run_ids=list(came.values_list("pk", flat=True)),
        recipient=user.username,
        by=by,
    )
