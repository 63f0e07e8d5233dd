"""Users: made, changed, closed and signed in, each on the audit trail."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from privacyhub.accounts import throttle
from privacyhub.accounts.errors import AccountError
from privacyhub.accounts.models import ApiToken, User
from privacyhub.accounts.roles import NotAllowed, Permission, Role
from privacyhub.governance import audit


@transaction.atomic
def create_user(
    *,
    username: str,
    email: str,
    role: str,
    by: User | str,
    full_name: str = "",
    password: str | None = None,
) -> User:
    """A user. Without a password, `reset_link` lets them choose one."""
    _require_manager(by)
    username = username.strip()
    _validate(username=username, email=email, role=role)
    if User.objects.filter(username__iexact=username).exists():
        raise AccountError("A user of this name exists already.", field="username")
    first, _, last = full_name.strip().partition(" ")
    user = User(
        username=username, email=email, role=role, first_name=first, last_name=last
    )
    if password is not None:
        _validate_password(password, user)
    user.set_password(password)  # None: one that no password matches
    user.save()
    audit.record(actor=by, action="user.create", target=user, role=role)
    return user


def _validate(*, username: str, email: str, role: str) -> None:
    try:
        UnicodeUsernameValidator()(username)
    except ValidationError as error:
        raise AccountError(str(error.message), field="username") from error
    if not username or len(username) > 150:
        raise AccountError("A user name has 1 to 150 characters.", field="username")
    if email:
        try:
            validate_email(email)
        except ValidationError as error:
            raise AccountError(str(error.message), field="email") from error
    _require_role(role)


def _validate_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise AccountError(" ".join(error.messages), field="password") from error


def _require_role(role: str) -> None:
    if role not in Role.values:
        raise AccountError(f"A role is one of {', '.join(Role.values)}.", field="role")


@transaction.atomic
def set_role(*, user: User, role: str, by: User) -> User:
    """Give another role. It counts from the next request, and for queued jobs."""
    _require_manager(by)
    _require_role(role)
    row = User.objects.select_for_update().get(pk=user.pk)
    if row == by:
        raise AccountError("Nobody changes their own role.", field="role")
    before, row.role = row.role, role
    row.save(update_fields=["role"])
    audit.record(actor=by, action="user.role", target=row, before=before, after=role)
    return row


@transaction.atomic
def deactivate(*, user: User, by: User) -> User:
    """Close the account: its sessions and tokens die at once."""
    _require_manager(by)
    row = User.objects.select_for_update().get(pk=user.pk)
    if row == by:
        raise AccountError("Nobody closes their own account.")
    row.is_active = False
    row.save(update_fields=["is_active"])
    now = timezone.now()
    revoked = ApiToken.objects.filter(user=row, revoked_at=None).update(revoked_at=now)
    ended = end_sessions(user=row)
    audit.record(
        actor=by, action="user.deactivate", target=row, sessions=ended, tokens=revoked
    )
    return row


@transaction.atomic
def activate(*, user: User, by: User) -> User:
    """Open a closed account again. Its old sessions and tokens stay dead."""
    _require_manager(by)
    row = User.objects.select_for_update().get(pk=user.pk)
    row.is_active = True
    row.save(update_fields=["is_active"])
    audit.record(actor=by, action="user.activate", target=row)
    return row


def end_sessions(*, user: User) -> int:
    """Sign the user out everywhere; how many sessions ended."""
    ended = 0
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()
            ended += 1
    return ended


@transaction.atomic
def reset_link(*, user: User, by: User) -> tuple[str, str]:
    """The two parts (user id, token) of a link that sets a password, once, for 24 h."""
    _require_manager(by)
    if not user.is_active:
        raise AccountError("The account is closed.")
    audit.record(actor=by, action="user.reset_link", target=user)
    parts = urlsafe_base64_encode(force_bytes(user.pk))
    return parts, default_token_generator.make_token(user)


@transaction.atomic
def set_profile(
    *, user: User, first_name: str, last_name: str, email: str, notify_by_mail: bool
) -> None:
    """What a user says of themselves. Mail needs an address."""
    if notify_by_mail and not email:
        raise AccountError("Give an address for the mail.", field="email")
    user.first_name, user.last_name, user.email = first_name, last_name, email
    user.notify_by_mail = notify_by_mail
    user.save(update_fields=["first_name", "last_name", "email", "notify_by_mail"])
    audit.record(actor=user, action="user.profile", target=user)


@transaction.atomic
def signed_in(*, user: User, address: str | None) -> None:
    throttle.forget(username=user.username, address=address)
    audit.record(actor=user, action="login", target=user, address=address)


@transaction.atomic
def sign_in_failed(*, username: str, address: str | None, closed: bool) -> None:
    """A refused login. The name that was tried is on record as it was typed."""
    if not closed:
        throttle.note_failure(username=username, address=address)
    audit.record(
        actor=username[:150] or "nobody",
        action="login.refused",
        object_type="user",
        address=address,
        closed=closed,
    )


@transaction.atomic
def signed_out(*, user: User) -> None:
    audit.record(actor=user, action="logout", target=user)


@transaction.atomic
def password_changed(*, user: User, how: str) -> None:
    """`how` is "changed" (with the old one) or "reset" (by a link)."""
    audit.record(actor=user, action=f"password.{how}", target=user)


@transaction.atomic
def access_refused(
    *, user: Any, status: int, method: str, name: str, object_id: Any
) -> None:
    """Somebody named an object that is not theirs, or not there."""
    audit.record(
        actor=user,
        action="access.refused",
        object_type=name[:40],
        object_id=object_id,
        status=status,
        method=method,
    )


def _require_manager(by: User | str) -> None:
    """An administrator, or the machine's own operator at its console."""
    if isinstance(by, User) and not by.may(Permission.MANAGE_USERS):
        raise NotAllowed
