"""What each role may do, as code: a grep shows who can do a thing."""

from __future__ import annotations

from enum import StrEnum

from django.db import models

from jobs.states import Refusal


class Role(models.TextChoices):
    STEWARD = "steward", "Data steward"
    ANALYST = "analyst", "Analyst"
    AUDITOR = "auditor", "Auditor"
    ADMIN = "admin", "Administrator"


class Permission(StrEnum):
    MANAGE_DATA = "manage_data"  # upload, set roles, anonymize, train, share, erase
    GIVE_FEEDBACK = "give_feedback"
    READ_ALL = "read_all"  # every object, without changing it
    READ_AUDIT = "read_audit"
    SIGN_REPORTS = "sign_reports"
    APPROVE_CAPS = "approve_caps"
    MANAGE_USERS = "manage_users"


PERMISSIONS: dict[str, frozenset[Permission]] = {
    Role.STEWARD: frozenset({Permission.MANAGE_DATA, Permission.GIVE_FEEDBACK}),
    Role.ANALYST: frozenset({Permission.GIVE_FEEDBACK}),
    Role.AUDITOR: frozenset(
        {
            Permission.READ_ALL,
            Permission.READ_AUDIT,
            Permission.SIGN_REPORTS,
            Permission.APPROVE_CAPS,
        }
    ),
    Role.ADMIN: frozenset({Permission.MANAGE_USERS, Permission.READ_AUDIT}),
}


class NotAllowed(Refusal):
    """The user's role or grants do not reach this far."""

    code = "not_allowed"

    def __init__(self, message: str = "Your role does not allow this.") -> None:
        super().__init__(message)
        self.message = message
