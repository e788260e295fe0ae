"""The rules by which every `auto` of the section `train` gets a value."""

from collections.abc import Iterable
from typing import Any

from keras_tabular.config.sections import ResolvedTrain, Train
from keras_tabular.tasks.task import Task

MAX_ROWS_OF_SMALL_TABLE = 2_500  # of training


def resolve_auto(
    train: Train,
    rows: int,
    task: Task,
    columns: int,
    possible_folds: Iterable[int] = range(2, 11),
) -> ResolvedTrain:
    """Return the section with a value in place of every `auto`.

    The rules were chosen on the tables of
    benchmarks/RESULTS.md.

    Args:
        train: The section as it is in params.yaml.
        rows: Number of training rows.
        task: What the model predicts.
        columns: Number of columns that the model reads.
        possible_folds: The numbers of folds for which no fold would be empty.
    """
    is_small = rows <= MAX_ROWS_OF_SMALL_TABLE
    is_wide = columns > 100
    names = [*train.networks]
    networks_of_each = 1
    if not is_small:
        names = names[:1]
        networks_of_each = 2
    max_folds = choose_max_folds(rows)
    folds = [n for n in possible_folds if n <= max_folds]
    content = train.model_dump()
    fill_auto(
        content,
        loss=task.losses[0],
        folds=max(folds, default=1),
        members=[{"network": name, "count": networks_of_each} for name in names],
    )
    embedding = None
    if not is_wide:
        embedding = {"bins": 48, "units": 8 if columns <= 20 else 4}
    learning_rate = task.learning_rate
    if is_small:
        learning_rate /= 2
    max_steps = 2_000 if is_wide or rows > 50_000 else 4_000  # six or seven cycles
    for network in content["networks"].values():
        fill_auto(
            network,
            embedding=embedding,
            dropout=0.3 if is_small else 0.1,
            learning_rate=learning_rate,
            batch_size=choose_batch_size(rows),
        )
        rows_per_step = min(network["batch_size"], rows)
        fill_auto(network, epochs=max(max_steps * rows_per_step // rows, 16))
    return ResolvedTrain.model_validate(content)


def choose_max_folds(rows: int) -> int:
    """Return the largest number of folds for a number of training rows."""
    if rows <= 10_000:
        return 10
    return 5 if rows <= 100_000 else 3


def choose_batch_size(rows: int) -> int:
    """Return the number of rows of a batch for a number of training rows."""
    if rows <= MAX_ROWS_OF_SMALL_TABLE:
        return 128
    if rows <= 10_000:
        return 64
    return 256 if rows <= 50_000 else 1024


def fill_auto(section: dict[str, Any], **values: Any) -> None:
    """Set the values of those keys of a section that are `auto`."""
    for key, value in values.items():
        if section.get(key) == "auto":
            section[key] = value
