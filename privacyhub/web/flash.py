"""Domain errors as messages on the page, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import BaseForm
from django.http import HttpRequest

from jobs.states import NotQueued, NotRepeatable, TooManyJobs
from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.roles import NotAllowed
from privacyhub.datasets.errors import DataError
from privacyhub.engines.tables import SealedError, StoreError
from privacyhub.governance.keys import KeyDestroyed
from privacyhub.governance.ledger import BudgetRefused, LedgerError

_REFUSALS = (
    AccountError,
    BudgetRefused,
    DataError,
    LedgerError,
    NotQueued,
    NotRepeatable,
    SealedError,
    StoreError,
    TooManyJobs,
)


@dataclass
class Outcome:
    """Whether the block went through."""

    ok: bool = True


@contextmanager
def explained(request: HttpRequest, form: BaseForm | None = None) -> Iterator[Outcome]:
    """Run a service call; what it refuses is told on the form, or as a message.

    A role that does not reach so far becomes a 403 page.
    """
    outcome = Outcome()
    try:
        yield outcome
    except NotAllowed as error:
        raise PermissionDenied(error.message) from error
    except _REFUSALS as error:
        outcome.ok = False
        _tell(request, form, str(error))
    except KeyDestroyed:
        outcome.ok = False
        _tell(request, form, "This was erased.")


def _tell(request: HttpRequest, form: BaseForm | None, text: str) -> None:
    if form is None:
        messages.error(request, text)
    else:
        form.add_error(None, text)
