"""What would change a solution: the same search with k = 3, and with 1% more rows.

An answer is {"change": {"k": 3}, "levels", "score", "suppressed", "optimal"}; where
there is none, {"change", "reason"} says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from privacyhub.engines import anonymize as an

LESSER_K = 3
MORE_SUPPRESSION = 0.01


@dataclass(frozen=True)
class Question:
    """`changed`: the part of the request that is another; `moot`: why not to ask."""

    change: dict[str, float]
    changed: dict[str, Any]
    moot: str = ""


def answered(
    result: an.Result, *, cancelled: Callable[[], bool], time_limit: float
) -> list[dict[str, Any]]:
    """Each question asked, for so many seconds at most."""
    return [
        _unanswered(question, question.moot)
        if question.moot
        else _answer(question, result, cancelled=cancelled, time_limit=time_limit)
        for question in _questions(result)
    ]


def unanswered(result: an.Result, *, reason: str) -> list[dict[str, Any]]:
    """The questions with the reason for which they were not asked."""
    return [_unanswered(one, one.moot or reason) for one in _questions(result)]


def because(answers: list[dict[str, Any]], *, reason: str) -> list[dict[str, Any]]:
    """Answers that do not hold for another solution, with the reason in their place."""
    return [
        {"change": one["change"], "reason": one.get("reason", reason)}
        for one in answers
    ]


def _unanswered(question: Question, reason: str) -> dict[str, Any]:
    return {"change": question.change, "reason": reason}


def _questions(result: an.Result) -> list[Question]:
    return [_lesser_k(result.request.models), _more_suppression(result)]


def _lesser_k(models: tuple[an.Model, ...]) -> Question:
    asked = [model.k for model in models if isinstance(model, an.KAnonymity)]
    moot = ""
    if not asked:
        moot = "no k-anonymity is asked for"
    elif max(asked) <= LESSER_K:
        moot = f"k is {max(asked)} already"
    lesser = [
        an.KAnonymity(min(m.k, LESSER_K)) if isinstance(m, an.KAnonymity) else m
        for m in models
    ]
    return Question(change={"k": LESSER_K}, changed={"models": lesser}, moot=moot)


def _more_suppression(result: an.Result) -> Question:
    limit = result.request.suppression_limit
    more = min(limit + MORE_SUPPRESSION, 1.0)
    return Question(
        change={"suppression_limit": more},
        changed={"suppression_limit": more},
        moot="all rows may be suppressed already" if limit >= 1 else "",
    )


def _answer(
    question: Question,
    result: an.Result,
    *,
    cancelled: Callable[[], bool],
    time_limit: float,
) -> dict[str, Any]:
    try:
        found = an.what_if(
            result, cancelled=cancelled, time_limit=time_limit, **question.changed
        )
    except an.AnonymizeTimeout:
        reason = f"no solution was found within {time_limit:g} seconds"
        return _unanswered(question, reason)
    except an.AnonymizeError:
        return _unanswered(question, "there is no solution")
    return {
        "change": question.change,
        "levels": dict(found.levels),
        "score": found.score,
        "suppressed": found.suppressed,
        "optimal": found.optimal,
    }


def told(answers: list[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By reason, the changes that have no answer, in words."""
    out: dict[str, list[str]] = {}
    for one in answers:
        if "reason" in one:
            out.setdefault(one["reason"], []).append(in_words(one["change"]))
    return out


def in_words(change: Mapping[str, Any]) -> str:
    """The change as a condition: “k = 3”."""
    if "k" in change:
        return f"k = {change['k']}"
    return f"a suppression limit of {change['suppression_limit']:.1%}"
