"""The figures of a run as sentences: why this solution, what would change it.

Read from the JSON that `outcomes.describe` keeps; no data is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privacyhub.anonymization import questions
from privacyhub.engines.anonymize.risk import Risk

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


def score_text(outcome: Outcome, score: float | None) -> str:
    """A figure of the metric with its unit: a share in percent, bits, rows."""
    if score is None:
        return "not known"
    unit = outcome.get("score_unit", "")
    return f"{score:,.6g} {unit}" if unit else f"{score:.1%}"


def explain(outcome: Outcome) -> list[str]:
    """Why this solution: how it was found, what costs most, what holds it back."""
    told = outcome["explanation"]
    if outcome.get("rounds"):
        return [
            *_rounds(outcome),
            _suppression(outcome),
            *_most_costly(outcome),
            *_aggregated(outcome),
            *_what_ifs(outcome),
        ]
    return [
        *_how_found(outcome),
        _suppression(outcome),
        *_most_costly(outcome),
        *_aggregated(outcome),
        *(_finer(column, outcome) for column in told["columns"] if column["level"]),
        *_what_ifs(outcome),
    ]


def _rounds(outcome: Outcome) -> list[str]:
    lines = [
        "What stood out after one round was generalized again on its own: "
        f"{len(outcome['rounds'])} round{'' if len(outcome['rounds']) == 1 else 's'}."
    ]
    for number, told in enumerate(outcome["rounds"], start=1):
        levels = ", ".join(
            f"{name} {level}" for name, level in told["levels"].items() if level
        )
        at = f"generalized to {levels}" if levels else "as exact as they came"
        proved = "" if told.get("proved", True) else _ROUND_STOPPED
        lines.append(f"Round {number} shows {rows(told['rows'])}, {at}{proved}.")
    if not outcome["optimal"]:
        lines.append(
            "The time was up before every round was searched to its end; more time "
            "could find a solution that loses less."
        )
    return lines


_ROUND_STOPPED = ", the best that was found until its time was up"


def _how_found(outcome: Outcome) -> list[str]:
    size, checked = outcome["lattice_size"], outcome["checked"]
    computed = f"{checked:,} {'was' if checked == 1 else 'were'} computed"
    space = (
        f"Of {size:,} possible transformations, {computed} and the others ruled out "
        "by bounds."
    )
    best = outcome["optimum"]
    if outcome["levels"] != best["levels"]:
        return [
            space,
            "This one was picked by hand: its figure is "
            f"{score_text(outcome, outcome['score'])}, that of the best that was found "
            f"{score_text(outcome, best['score'])}.",
        ]
    if outcome.get("fixed"):
        return [
            f"One of {size:,} possible transformations was fixed beforehand, so that "
            "the data could not choose it. Nothing was searched."
        ]
    if outcome["optimal"]:
        return [space, "This is the one of least loss that meets the models: proved."]
    if outcome["gap"] is None:
        return [space, "How far it is from the best was not kept."]
    return [
        f"Of {size:,} possible transformations, {computed} before the time was up.",
        "This is the best so far; a better one could lose at most "
        f"{outcome['gap']:.1%} less.",
    ]


def _suppression(outcome: Outcome) -> str:
    if not outcome["suppressed"]:
        return "No row had to be suppressed."
    return (
        f"{rows(outcome['suppressed'])} of {outcome['rows']:,} "
        f"({outcome['suppressed'] / outcome['rows']:.2%}) would stand out and show "
        f"nothing; {limit(outcome)}."
    )


def limit(outcome: Outcome) -> str:
    """How many rows may be suppressed."""
    if outcome.get("fixed"):
        return "the policy's limit does not hold under differential privacy"
    return f"the limit is {outcome['limit']:,}"


def _most_costly(outcome: Outcome) -> list[str]:
    losses, name = outcome["column_loss"], outcome["explanation"]["most_costly"]
    if not losses or name is None or not losses[name]:
        return []
    start = f"Column “{name}” costs the most"
    if in_bits(outcome):
        return [f"{start}: {losses[name]:,.6g} bits."]
    if outcome.get("column_loss_in") == "loss":
        start += ", measured as loss, since the metric does not cost columns"
    return [f"{start}: it loses {losses[name]:.1%} of its detail."]


_SHOWN_BY_GROUPS = {
    "mean": "the mean of its values",
    "geometric_mean": "the geometric mean of its values",
    "median": "the median of its values",
    "interval": "the least and the greatest of its values",
    "mode": "the most frequent of its values",
}


def shown_by_groups(outcome: Outcome) -> dict[str, str]:
    """By quasi-identifier that is not generalized: what is shown of its values."""
    return {
        told["column"]: _SHOWN_BY_GROUPS[told["function"]]
        for told in outcome.get("aggregated", [])
    }


def _aggregated(outcome: Outcome) -> list[str]:
    shown = shown_by_groups(outcome)
    lines = []
    for told in outcome.get("aggregated", []):
        name, lost = told["column"], told["spread_lost"]
        left = "" if lost is None else f", and {1 - lost:.1%} of its variance is left"
        lines.append(
            f"Column “{name}” was not generalized: every group shows "
            f"{shown[name]}{left}. The loss does not count it."
        )
    return lines


def in_bits(outcome: Outcome) -> bool:
    """Whether the costs of the columns are in bits, and no shares."""
    own = outcome.get("column_loss_in", "metric") == "metric"
    return own and outcome.get("score_unit") == "bits"


def _finer(column: Mapping[str, Any], outcome: Outcome) -> str:
    start = f"With “{column['column']}” one level finer, "
    if not column["finer_allowed"]:
        return (
            f"{start}{rows(column['finer_suppressed'])} would have to be suppressed: "
            "too many."
        )
    return (
        f"{start}{rows(column['finer_suppressed'])} would be suppressed and the loss "
        f"would be {score_text(outcome, column['finer_score'])} instead of "
        f"{score_text(outcome, outcome['score'])}."
    )


def _what_ifs(outcome: Outcome) -> list[str]:
    answers = outcome["what_if"]
    lines = [_what_if(one, outcome) for one in answers if "reason" not in one]
    return lines + [
        f"What {' and '.join(changes)} would give was not computed: {reason}."
        for reason, changes in questions.told(answers).items()
    ]


def _what_if(answer: Mapping[str, Any], outcome: Outcome) -> str:
    start = f"With {questions.in_words(answer['change'])}"
    score, now = answer["score"], outcome["score"]
    if (
        answer["optimal"]
        and answer["levels"] == outcome["levels"]
        and abs(score - now) < 5e-4 * max(1.0, abs(now))
    ):
        return f"{start}, the solution would be the same."
    return (
        f"{start}, the loss would be {'' if answer['optimal'] else 'at most '}"
        f"{score_text(outcome, score)} instead of {score_text(outcome, now)}, with "
        f"{rows(answer['suppressed'])} suppressed."
    )


def attackers(outcome: Outcome) -> list[dict[str, str]]:
    """The risk of re-identification before and after, by what the attacker knows."""
    before, after = outcome["risk"]["before"], outcome["risk"]["after"]
    return _attackers(
        before=_three(
            before["prosecutor"]["highest"],
            before["journalist"]["highest"],
            before["marketer"],
        ),
        after=_three(
            after["prosecutor"]["highest"],
            after["journalist"]["highest"],
            after["marketer"],
        ),
        population=outcome.get("population", "unknown"),
    )


def attackers_of(*, before: Risk | None, after: Risk) -> list[dict[str, str]]:
    """The same from risks as they were measured; `before` is None but for releases."""
    told = [("", "", "") if one is None else _risks(one) for one in (before, after)]
    return _attackers(before=told[0], after=told[1], population=None)


def _risks(risk: Risk) -> tuple[str, str, str]:
    return _three(risk.prosecutor.highest, risk.journalist.highest, risk.marketer)


def _three(
    prosecutor: float | None, journalist: float | None, marketer: float | None
) -> tuple[str, str, str]:
    return one_in(prosecutor), one_in(journalist), one_in(marketer)


_POPULATIONS = {
    None: "the population is taken to be the table itself, which overstates the risk",
    "listed": "the population is the listed one",
    "subset": "the population are all rows that the released ones were taken from",
    "unknown": "where no population was named, it is taken to be the table itself, "
    "which overstates the risk",
}


def _attackers(
    *,
    before: tuple[str, str, str],
    after: tuple[str, str, str],
    population: str | None,
) -> list[dict[str, str]]:
    known = (
        (
            "Prosecutor",
            "knows that a certain person is in the table; the worst case of all rows",
        ),
        ("Journalist", f"looks for anybody; {_POPULATIONS[population]}"),
        ("Marketer", "links as many rows as possible; the share of right links"),
    )
    return [
        {"name": name, "knows": knows, "before": old, "after": new}
        for (name, knows), old, new in zip(known, before, after, strict=True)
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
