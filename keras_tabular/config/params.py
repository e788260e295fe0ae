"""Load `params.yaml`, and check that its sections fit each other and the schema."""

import os
import warnings
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from keras_tabular.config import sections
from keras_tabular.config.schema import SCHEMA, VALUE_TYPES, Kind, Schema, load_schema
from keras_tabular.config.sections import (
    KEYS_OF_RULES,
    CostsByClass,
    Evaluate,
    Gate,
    Range,
    Split,
    Train,
    rule_of_auto,
)
from keras_tabular.core.errors import UserError, format_list, suggestion
from keras_tabular.core.removed import REPLACEMENTS
from keras_tabular.core.typed_yaml import (
    Section,
    expected_one_of,
    parse_section,
    read_yaml,
)
from keras_tabular.tasks.metrics import COST, CUSTOM, ROW_SETS
from keras_tabular.tasks.task import Task

PARAMS = Path("params.yaml")
# The types of the ends of a `Range` of a column's values, by its kind.
RANGE_TYPES = {"real": float, "integer": float, "datetime": date}
# A model that always predicts one class can have the best value of these metrics.
WON_BY_A_CONSTANT = ("precision", "recall")


with warnings.catch_warnings(action="ignore"):

    class Params(Section):
        """Sections of `params.yaml`. Only the requested sections are attributes."""

        ingest: sections.Ingest
        # It has the name of a deprecated method of pydantic's models.
        validate: sections.Validate  # type: ignore[assignment]
        split: Split
        train: Train
        evaluate: Evaluate
        gate: Gate
        drift: sections.Drift


def load_settings(*names: str, project: Path = Path()) -> tuple[Schema, Params]:
    """Load the schema of the table, and sections of `params.yaml`.

    All sections of the library are checked.

    Args:
        names: The sections to return.
        project: The folder of the project.

    Raises:
        UserError: A file cannot be read, or a key or value is wrong. The message has
            one line for each mistake.
    """
    schema = load_schema(project / SCHEMA)
    path = project / PARAMS
    try:
        content = drop_sections_of_the_owner(read_yaml(path))
        params = parse_section(content, Params, path)
        if params.split.by == "auto":
            rule = rule_of_auto(dict(schema))
            split = params.split.model_copy(update={"by": rule})
            params = params.model_copy(update={"split": split})
        mistakes = [f"{path}: {text}" for text in find_mistakes(params, schema)]
        if mistakes:
            raise UserError("\n".join(mistakes))
    except UserError as error:
        if "DVC_EXP_BASELINE_REV" not in os.environ:  # `dvc exp run` sets it
            raise
        raise UserError(
            f"{error}\nWhat you set with -S is still in {path}. To undo it, run `git"
            f" restore {path} dvc.lock metrics && dvc checkout --force`.",
        ) from None
    requested = {name: getattr(params, name) for name in names}
    return schema, Params.model_construct(**requested)


def drop_sections_of_the_owner(content: dict[str, Any]) -> dict[str, Any]:
    """Return the sections of the library, removed ones, and those that may be typos.

    The owner of a project may add other sections. If no section of the library is
    missing, a similar name such as `training` is not a typo.
    """
    sections_of_library = Params.model_fields.keys()
    missing = sections_of_library - content
    return {
        name: section
        for name, section in content.items()
        if name in sections_of_library | REPLACEMENTS.keys()
        or suggestion(str(name), missing)
    }


def find_mistakes(params: Params, schema: Schema) -> Iterator[str]:
    """Yield where the sections of a file do not fit each other or the table."""
    task = schema.learning_task
    split = params.split
    key = KEYS_OF_RULES.get(split.by)
    if key and not getattr(schema, key):
        yield f"split.by: {split.by} requires the key {key} in data/schema.yaml."
    if split.stratify and split.by != "random":
        yield f"split.stratify: true requires split.by: random, got {split.by}."
    yield from train_mistakes(params.train, split, task)
    if not {*params.train.ignore} < {*schema.features}:
        yield (
            "train.ignore: expected some of the columns"
            f" {format_list(schema.features)}, but not all, got"
            f" {format_list(params.train.ignore)}."
        )
    yield from gate_mistakes(params.gate, params.evaluate, task)
    yield from metric_mistakes(params.evaluate, task)
    yield from threshold_mistakes(params.evaluate, params.train, task)
    yield from row_set_mistakes(params.evaluate, schema)


def train_mistakes(train: Train, split: Split, task: Task) -> Iterator[str]:
    """Yield where the section `train` does not fit the split or the task."""
    yield from network_mistakes(train, split)
    if train.forward_chaining and (split.by != "time" or train.folds == 1):
        yield (
            "train.forward_chaining above 0 requires split.by: time and train.folds"
            " above 1."
        )
    losses = ("auto", *task.losses)
    if train.loss not in losses:
        yield (
            f"train.loss: for the task {task.name},"
            f" {expected_one_of(train.loss, losses)}"
        )
    if not task.classes:
        for key in keys_for_classes(train, split):
            yield (
                f"{key} requires classes, but the task in data/schema.yaml is"
                " regression. Remove it."
            )
    elif isinstance(train.class_weight, dict):
        unknown = [value for value in train.class_weight if value not in task.classes]
        if unknown:
            yield (
                f"train.class_weight: expected classes of {[*task.classes]}, got"
                f" {unknown}."
            )


def network_mistakes(train: Train, split: Split) -> Iterator[str]:
    """Yield unknown networks, and networks that cannot stop early."""
    names = [*train.networks]
    if train.members and train.members != "auto":
        names = [member.network for member in train.members]
    for name in names:
        if name not in train.networks:
            yield f"train.members: {expected_one_of(name, train.networks)}"
            continue
        network = train.networks[name]
        if not network.early_stopping:
            continue
        key = f"train.networks.{name}.early_stopping"
        if split.validation_size == 0 and train.folds == 1:
            yield (
                f"{key} requires split.validation_size above 0 or train.folds above 1."
            )
        elif network.trains_in_cycles:
            yield f"{key} requires a learning_rate_schedule that is constant or cosine."


def keys_for_classes(train: Train, split: Split) -> Iterator[str]:
    """Yield the keys that are set although they make sense only for classes."""
    if train.class_weight is not None:
        yield "train.class_weight"
    if split.stratify:
        yield "split.stratify"
    for name, network in train.networks.items():
        if network.early_stopping and network.early_stopping.monitor == "val_accuracy":
            yield f"train.networks.{name}.early_stopping.monitor: val_accuracy"


def gate_mistakes(gate: Gate, evaluate: Evaluate, task: Task) -> Iterator[str]:
    """Yield limits for scores that the run does not have."""
    row_sets = [*ROW_SETS]
    row_sets += [f"tests.{file.partition('.')[0]}" for file in evaluate.tests]
    row_sets += [f"slices.{name}" for name in evaluate.slices]
    metrics = metric_keys(evaluate, task)
    keys = [f"{row_set}.{metric}" for row_set, metric in product(row_sets, metrics)]
    for section in ("min", "max", "worse_than_base"):
        for key in sorted(getattr(gate, section).keys() - keys):
            row_set, is_custom, _ = key.partition(f".{CUSTOM}")
            if is_custom and row_set in row_sets and section != "worse_than_base":
                continue  # the gate sees whether custom.py has such a metric
            yield (
                f"gate.{section}: {expected_one_of(key, keys)} The keys min and max"
                " also allow custom metrics."
            )


def metric_keys(evaluate: Evaluate, task: Task) -> list[str]:
    """Return the keys of the scores of the task, and of the cost if there are costs."""
    keys = [*task.metrics]
    if evaluate.costs(task):
        keys.append(COST)
    return keys


def metric_mistakes(evaluate: Evaluate, task: Task) -> Iterator[str]:
    """Yield a metric that the run does not have; the stage checks custom metrics."""
    choice = evaluate.metric
    allowed = ["auto"]
    for key in metric_keys(evaluate, task):
        name = key.rpartition(".")[2]  # without the average over classes
        if name not in WON_BY_A_CONSTANT:
            allowed.append(key)
    if choice in WON_BY_A_CONSTANT and task.has_threshold:
        yield (
            f"evaluate.metric: a constant prediction can win {choice}. Compare by"
            " average_precision, f1 or a cost, and ask for it in evaluate.threshold:"
            f" {{{choice}: 0.9}}."
        )
    elif choice == COST and COST not in allowed:
        yield (
            "evaluate.metric: cost requires costs, such as evaluate.threshold: {cost:"
            " ...}."
        )
    elif choice not in allowed and not choice.startswith(CUSTOM):
        options = [*allowed, f"{CUSTOM}NAME"]
        yield f"evaluate.metric: {expected_one_of(choice, options)}"


def threshold_mistakes(evaluate: Evaluate, train: Train, task: Task) -> Iterator[str]:
    """Yield a threshold that cannot be chosen."""
    rule = evaluate.threshold_rule
    if not rule:
        return
    if task.classes and isinstance(rule.cost, dict):
        yield from cost_mistakes(rule.cost, train, task)
    elif not task.has_threshold:
        hint = ""
        if task.classes:
            hint = " Several classes allow {cost: {ACTUAL: {PREDICTED: 5}}}."
        yield (
            "evaluate.threshold: this rule requires the task binary, got"
            f" {task.name}.{hint}"
        )
    if task.has_threshold and train.folds == 1:
        yield "evaluate.threshold: a rule requires train.folds above 1."


def cost_mistakes(costs: CostsByClass, train: Train, task: Task) -> Iterator[str]:
    """Yield costs that do not fit the classes of the table."""
    classes = {*costs}
    for costs_by_prediction in costs.values():
        classes.update(costs_by_prediction)
    unknown = classes.difference(task.classes)
    if unknown:
        yield (
            f"evaluate.threshold.cost: expected classes of {[*task.classes]}, got"
            f" {sorted(unknown, key=str)}."
        )
    if not task.has_threshold and train.class_weight is not None:
        yield (
            "evaluate.threshold.cost: costs already say how much each class matters;"
            " remove train.class_weight."
        )


def row_set_mistakes(evaluate: Evaluate, schema: Schema) -> Iterator[str]:
    """Yield test files with the same name, and slices that do not fit the columns."""
    names = {file.partition(".")[0] for file in evaluate.tests}
    if len(names) < len(evaluate.tests):
        yield (
            "evaluate.tests: expected files with different names before the ending, got"
            f" {[*evaluate.tests]}."
        )
    columns = [name for name in schema.columns if name != schema.target]
    for name, conditions in evaluate.slices.items():
        for column, condition in conditions.items():
            where = f"evaluate.slices.{name}"
            if column not in columns:
                yield f"{where}: {expected_one_of(column, columns)}"
                continue
            kind = schema.columns[column].kind
            if not fits_kind(condition, kind):
                yield (
                    f"{where}.{column}: expected {{low: 1, high: 2}} for a number,"
                    " {low: 2024-01-31} for a date and a list of values for other"
                    f" kinds, got another condition for {kind}."
                )


def fits_kind(condition: Range | tuple[Any, ...], kind: Kind) -> bool:
    """Return whether a condition has values of the type of a column of this kind."""
    if isinstance(condition, Range):
        types = (RANGE_TYPES.get(kind, ()), type(None))
        return isinstance(condition.low, types) and isinstance(condition.high, types)
    return kind != "text" and all(
        type(value) in VALUE_TYPES[kind] for value in condition
    )
