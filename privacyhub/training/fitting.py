"""What a recipe may ask of a network, checked before anything is charged.

DP statistics tell the width of a column only once they were paid for. So a network is
refused by the widest that they could make it: a category column is one mark a name or,
above `MAX_ONE_HOT` names, an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from privacyhub.datasets.errors import DataError
from privacyhub.engines.dp.architecture import Architecture
from privacyhub.engines.dp.spec import REFERENCES, TrainSpec
from privacyhub.engines.prepare.encoding import MAX_ONE_HOT, default_knots
from privacyhub.engines.prepare.statistics import MOST_KNOTS, MOST_NAMES
from privacyhub.training.recipe_settings import SettingError
from privacyhub.training.recipe_spec import InputColumn, RecipeSpec
from privacyhub.training.tuning import checked_space

_BOOLEAN_WIDTH = 3  # false, true, missing
# Numbers in the gradients of a batch's rows, which some loops hold at once; of 4 bytes.
_MOST_ROW_GRADIENTS = 10**8
# Where units have several rows: numbers of 8 bytes in a batch's inputs and pairs of
# rows, and places of 4 bytes for the rows of all units.
_MOST_PAIR_NUMBERS = 2 * 10**8
_MOST_PLACES = 4 * 10**8


def require_fits(*, recipe: RecipeSpec, spec: TrainSpec) -> None:
    """Refuse a network that cannot be built or that the chosen loop cannot train.

    Raises SettingError; DataError for a value of the search that cannot be, and for
    more rows of a unit than fit the memory.
    """
    for tried in _tried(recipe, spec):
        for many_names in (False, True):
            network = widest(recipe=recipe, spec=tried, many_names=many_names)
            if spec.max_rows_per_unit > 1:
                _require_room_for_units(spec, network)
    if spec.implementation in REFERENCES:
        _require_reference(recipe, spec, name=REFERENCES[spec.implementation])


def widest(*, recipe: RecipeSpec, spec: TrainSpec, many_names: bool) -> Architecture:
    """The largest network that the recipe's columns can make.

    many_names: of the category columns whose names are not declared, each has as many
    as statistics keep, rather than as many as still get a mark each. Raises
    SettingError where the network has too many weights.
    """
    found = MOST_NAMES if many_names else MAX_ONE_HOT
    names = [
        len(column.categories) or found
        for column in recipe.columns
        if column.kind == "category"
    ]
    others = sum(_width(c) for c in recipe.columns if c.kind != "category")
    try:
        return spec.architecture(
            features=others + sum(n + 2 for n in names if n <= MAX_ONE_HOT),
            category_sizes=tuple(n + 2 for n in names if n > MAX_ONE_HOT),
        )
    except ValueError as error:
        raise SettingError(
            f"{error} With these columns it could have more: choose narrower hidden "
            "layers or fewer columns, or declare the values of category columns.",
            setting="hidden",
        ) from error


def _require_room_for_units(spec: TrainSpec, network: Architecture) -> None:
    """Refuse what the most rows of a unit would take, whatever rows there are.

    How many there are in fact is the data's own: neither the memory nor the time that a
    run takes may follow the largest unit.
    """
    most, batch = spec.max_rows_per_unit, spec.expected_batch
    if spec.units * most > _MOST_PLACES:
        raise DataError(
            f"Up to {most:,} rows of one unit, of {spec.units:,} declared units for "
            f"training, are more than {_MOST_PLACES:,} rows. Declare fewer rows of a "
            "unit in the budget.",
            code="most_rows",
        )
    widths = sum(embedding.width for embedding in network.embeddings)
    width = max(network.features + widths, *network.hidden, network.outputs)
    if batch * most * (width + most) > _MOST_PAIR_NUMBERS:
        raise SettingError(
            f"Up to {most:,} rows of one unit are compared with each other: with an "
            f"expected batch of {batch:,} units and {width:,} numbers a row, that is "
            f"more than {_MOST_PAIR_NUMBERS:,} numbers at once. Choose a smaller "
            "batch, or declare fewer rows of a unit in the budget.",
            setting="expected_batch",
        )


def _tried(recipe: RecipeSpec, spec: TrainSpec) -> Iterator[TrainSpec]:
    """The spec, and the widest of each of the hidden layers that a search may try."""
    yield spec
    if recipe.tuning:
        choices = checked_space(recipe.tuning, spec=spec).choices
        width = max(choices.get("embedding_width", (spec.embedding_width,)))
        for hidden in choices.get("hidden", (spec.hidden,)):
            yield replace(spec, hidden=hidden, embedding_width=width)


def _width(column: InputColumn) -> int:
    """Features of a column that is no category: position, knots, missing."""
    if column.kind == "boolean":
        return _BOOLEAN_WIDTH
    if column.lower is None or column.upper is None:
        return MOST_KNOTS + 2
    return len(default_knots(column.lower, column.upper)) + 2


def _require_reference(recipe: RecipeSpec, spec: TrainSpec, *, name: str) -> None:
    if spec.class_weights is not None:
        raise SettingError(f"{name} takes no class weights.", setting="class_weights")
    if spec.schedule != "constant":
        raise SettingError(
            f"{name} trains at a constant learning rate.", setting="schedule"
        )
    if spec.ema:
        raise SettingError(f"{name} has no averaged weights.", setting="ema")
    if spec.clip_quantile is not None:
        raise SettingError(
            f"{name} clips to a fixed norm: an adaptive one is of the hub's own loop.",
            setting="clip_quantile",
        )
    for column in recipe.columns:
        names = len(column.categories)
        if column.kind == "category" and not 1 <= names <= MAX_ONE_HOT:
            raise SettingError(
                f"{name} is offered where each category column has at most "
                f"{MAX_ONE_HOT} declared values: “{column.name}” "
                + ("has more." if names else "has none declared."),
                setting="implementation",
            )
    if spec.implementation == "dpkeras":
        weights = widest(recipe=recipe, spec=spec, many_names=False).parameters
        if weights * spec.expected_batch > _MOST_ROW_GRADIENTS:
            raise SettingError(
                f"{name} holds the gradient of each row: {weights:,} weights times "
                f"an expected batch of {spec.expected_batch:,} are more than "
                f"{_MOST_ROW_GRADIENTS:,} numbers. Choose a smaller batch or network.",
                setting="expected_batch",
            )
