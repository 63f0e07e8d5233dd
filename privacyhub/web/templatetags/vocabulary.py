"""The words, tones and icons of states, column roles and guarantees."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True)
class Word:
    """How something is shown: its text, a tone (a CSS class), an icon, a hint."""

    text: str
    tone: str
    icon: str = ""
    hint: str = ""


_STATES = {
    "queued": ("neutral", "clock"),
    "waiting": ("neutral", "clock"),
    "running": ("info", "loader-2"),
    "active": ("info", "activity"),
    "reserved": ("info", "lock"),
    "succeeded": ("good", "circle-check"),
    "ready": ("good", "circle-check"),
    "settled": ("good", "circle-check"),
    "accepted": ("good", "circle-check"),
    "approved": ("good", "circle-check"),
    "signed": ("good", "signature"),
    "granted": ("good", "circle-check"),
    "failed": ("bad", "circle-x"),
    "refused": ("bad", "ban"),
    "declined": ("neutral", "circle-x"),
    "cancelled": ("neutral", "ban"),
    "released": ("neutral", "lock-open"),
    "revoked": ("neutral", "ban"),
    "expired": ("neutral", "hourglass"),
    "erased": ("neutral", "trash"),
    "draft": ("neutral", "edit"),
    "open": ("warn", "circle-dashed"),
    "new": ("warn", "circle-dashed"),
    "submitted": ("warn", "circle-dashed"),
    "pending": ("warn", "hourglass"),
}

_ROLES = {
    "identifier": Word(
        "Identifier", "identifier", "id", "Names a person by itself. Dropped."
    ),
    "quasi": Word(
        "Quasi-identifier",
        "quasi",
        "fingerprint",
        "Singles a person out together with others.",
    ),
    "sensitive": Word(
        "Sensitive", "sensitive", "eye-off", "What nobody may learn of a person."
    ),
    "insensitive": Word(
        "Insensitive", "insensitive", "point", "Harms nobody when it is known."
    ),
    "target": Word("Target", "target", "target", "What the model predicts."),
    "unit": Word("Unit key", "unit", "key", "Says which rows are of one person."),
}

_GUARANTEES = {
    "covered": Word(
        "Covered by the guarantee",
        "good",
        "shield-check",
        "Computed from a differentially private release: its cost is in the ledger.",
    ),
    "not_covered": Word(
        "Not covered by the guarantee",
        "warn",
        "shield-off",
        "Released without differential privacy: the epsilon says nothing about it.",
    ),
    "held_out_only": Word(
        "Noise for held-out units alone",
        "warn",
        "shield-half",
        "Figures of a model that was fitted without noise: they may reveal it, and "
        "with it its training units.",
    ),
    "steward_only": Word(
        "Steward only",
        "neutral",
        "lock",
        "Exact figures of private rows. They must not leave the stewards.",
    ),
}
_GUARANTEE_OF_READ = {
    "dp": "covered",
    "covered": "covered",
    "uncovered_release": "not_covered",
    "not_covered": "not_covered",
    "held_out_only": "held_out_only",
    "steward_only": "steward_only",
}


def state(value: str) -> Word:
    """A state's word; one that is not listed is shown plainly."""
    key = value.lower()
    tone, symbol = _STATES.get(key, ("neutral", "point"))
    return Word(key.replace("_", " ").capitalize(), tone, symbol)


def column_role(value: str) -> Word:
    """A column role's word; spellings with - or _ meet."""
    key = value.lower().replace("_", "-").split("-")[0]
    return _ROLES.get(key, Word(value.capitalize() or "No role", "none"))


def guarantee(value: str) -> Word:
    """The word of a class of read; ValueError for one that does not exist."""
    key = _GUARANTEE_OF_READ.get(value.lower().replace("-", "_").replace(" ", "_"))
    if key is None:
        raise ValueError(f"no class of read {value!r}")
    return _GUARANTEES[key]


def budget_level(*, left: Decimal | int, cap: Decimal | int) -> str:
    """good, warn (under a quarter left) or bad (under a twentieth)."""
    if cap <= 0 or left * 20 < cap:
        return "bad"
    return "warn" if left * 4 < cap else "good"
