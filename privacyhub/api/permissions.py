"""Who may call at all; which objects they see is `visible_to`'s matter."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from privacyhub.accounts.models import ApiToken, Scope


class ScopeAllows(BasePermission):
    """Signed in, and a read-only token only reads."""

    message = "This token may only read."

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            return False
        token = request.auth
        if isinstance(token, ApiToken) and token.scope == Scope.READ:
            return request.method in SAFE_METHODS
        return True
