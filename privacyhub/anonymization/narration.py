"""The figures of a run as sentences: why this solution, what would change it.

Read from the JSON that `outcomes.describe` keeps; no data is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Outcome = Mapping[str, Any]


def one_in(risk: float | None) -> str:
    """A risk as people say it.

    >>> one_in(0.2), one_in(1.0), one_in(0.0)
    ('1 in 5', '1 in 1', 'none')
    """
    if not risk:
        return "none"
    times = 1 / risk
    return f"1 in {times:,.0f}" if times >= 9.95 else f"1 in {times:.3g}"


def rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def explain(outcome: Outcome) -> list[str]:
    """Why this solution: how it was found, what costs most, what holds it back."""
    told = outcome["explanation"]
    return [
        *_how_found(outcome),
        _suppression(outcome),
        *_most_costly(outcome),
        *(_finer(column, outcome) for column in told["columns"] if column["level"]),
        *(_what_if(answer, outcome) for answer in outcome["what_if"]),
    ]


def _how_found(outcome: Outcome) -> list[str]:
    size, checked = outcome["lattice_size"], outcome["checked"]
    space = (
        f"Of {size:,} possible transformations, {checked:,} were computed and the "
        "others ruled out by bounds."
    )
    best = outcome["optimum"]
    if outcome["levels"] != best["levels"]:
        return [
            space,
            f"This one was picked by hand: it loses {outcome['score']:.1%}, the best "
            f"that was found loses {best['score']:.1%}.",
        ]
    if outcome["optimal"]:
        return [space, "This is the one of least loss that meets the models: proved."]
    return [
        f"Of {size:,} possible transformations, {checked:,} were computed before the "
        "time was up.",
        "This is the best so far; a better one could lose at most "
        f"{outcome['gap']:.1%} less.",
    ]


def _suppression(outcome: Outcome) -> str:
    if not outcome["suppressed"]:
        return "No row had to be suppressed."
    return (
        f"{rows(outcome['suppressed'])} of {outcome['rows']:,} "
        f"({outcome['suppressed'] / outcome['rows']:.2%}) would stand out and show "
        f"nothing; the limit is {outcome['limit']:,}."
    )


def _most_costly(outcome: Outcome) -> list[str]:
    losses, name = outcome["column_loss"], outcome["explanation"]["most_costly"]
    if not losses or name is None or not losses[name]:
        return []
    return [
        f"Column “{name}” costs the most: it loses {losses[name]:.1%} of its detail."
    ]


def _finer(column: Mapping[str, Any], outcome: Outcome) -> str:
    start = f"With “{column['column']}” one level finer, "
    if not column["finer_allowed"]:
        return (
            f"{start}{rows(column['finer_suppressed'])} would have to be suppressed: "
            "too many."
        )
    return (
        f"{start}{rows(column['finer_suppressed'])} would be suppressed and the loss "
        f"would be {_loss(column['finer_score'])} instead of {outcome['score']:.1%}."
    )


def _what_if(answer: Mapping[str, Any], outcome: Outcome) -> str:
    change = answer["change"]
    if "k" in change:
        start = f"With k = {change['k']}"
    else:
        start = f"With a suppression limit of {change['suppression_limit']:.1%}"
    score, now = answer["score"], outcome["score"]
    if answer["levels"] == outcome["levels"] and abs(score - now) < 5e-4:
        return f"{start}, the solution would be the same."
    return (
        f"{start}, the loss would be {_loss(score)} instead of {now:.1%}, with "
        f"{rows(answer['suppressed'])} suppressed."
    )


def _loss(score: float | None) -> str:
    return "not known" if score is None else f"{score:.1%}"


def attackers(outcome: Outcome) -> list[dict[str, str]]:
    """The risk of re-identification before and after, by what the attacker knows."""
    before, after = outcome["risk"]["before"], outcome["risk"]["after"]
    table = [
        (
            "Prosecutor",
            "knows that a certain person is in the table; the worst case of all rows",
            one_in(before["prosecutor"]["highest"]),
            one_in(after["prosecutor"]["highest"]),
        ),
        (
            "Journalist",
            "looks for anybody; the population is taken to be the table itself, which "
            "overstates the risk",
            one_in(before["journalist"]["highest"]),
            one_in(after["journalist"]["highest"]),
        ),
        (
            "Marketer",
            "links as many rows as possible; the share of right links",
            one_in(before["marketer"]),
            one_in(after["marketer"]),
        ),
    ]
    return [
        {"name": name, "knows": knows, "before": old, "after": new}
        for name, knows, old, new in table
    ]


def joint(outcome: Outcome) -> list[str]:
    """What all releases of the family give away together; empty for the only one."""
    told = outcome["joint"]
    if told is None:
        return []
    lines = []
    if told["releases"]:
        least = told["smallest"]
        lines.append(
            f"Whoever has all {len(told['k'])} releases and can match their rows sees "
            f"groups of {least:,} at the least: a joint k of {least:,}."
        )
        planned, below = told["k"][-1], told["rows_below"][-1]
        if below:
            lines.append(
                f"Alone, this release has k = {planned:,}. Together with the others "
                f"{rows(below)} would be in a smaller group than that."
            )
        else:
            lines.append("No row is in a smaller group than in this release alone.")
    if told["unreadable"]:
        lines.append(
            f"{told['unreadable']} earlier release"
            f"{' was' if told['unreadable'] == 1 else 's were'} erased and cannot be "
            "counted in. Copies of it that left the hub are still out there."
        )
    return lines
