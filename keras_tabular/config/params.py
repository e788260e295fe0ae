"""Load `params.yaml`, and check that its sections fit each other and the schema of the table."""

import os
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import create_model

from keras_tabular.config import sections, typed_yaml
from keras_tabular.config.metrics import COST, CUSTOM, ROW_SETS
from keras_tabular.config.schema import VALUE_TYPES, ByKind, Kind, Schema, load_schema
from keras_tabular.config.sections import Evaluate, Gate, Range, Split, Train
from keras_tabular.config.task import Task
from keras_tabular.config.typed_yaml import Section, expected_one_of, parse_section
from keras_tabular.core.errors import UserError, format_list, suggestion

PARAMS = Path("params.yaml")
# The types of the ends of a `Range` of a column's values.
RANGE_TYPES = ByKind[tuple[type, ...]](
    real=(float,),
    integer=(float,),
    boolean=(),
    category=(),
    datetime=(date,),
    text=(),
)


class Params(SimpleNamespace):
    """Sections of `params.yaml`. Only the sections that were asked for are attributes."""

    ingest: sections.Ingest
    validate: sections.Validate
    split: sections.Split
    train: sections.Train
    evaluate: sections.Evaluate
    gate: sections.Gate
    drift: sections.Drift


with warnings.catch_warnings(
    action="ignore",
):  # models have a deprecated method `validate`
    FIELDS: Any = get_type_hints(Params)
    ALL_SECTIONS = create_model("AllSections", __base__=Section, **FIELDS)


def load_settings(*names: str) -> tuple[Schema, Params]:
    """Load the schema of the table, and sections of `params.yaml`.

    Args:
        names: The sections to return.

    Raises:
        UserError: See `load_schema` and `load_params`.
    """
    schema = load_schema()
    return schema, load_params(*names, schema=schema)


def load_params(*names: str, schema: Schema, path: Path = PARAMS) -> Params:
    """Load sections of `params.yaml`, after a check of all sections of the library.

    Sections with other names belong to the owner, unless the name is a typo.

    Args:
        names: The sections to return.
        schema: The schema of the table, which the sections have to fit.
        path: The file.

    Raises:
        UserError: The file cannot be read, or a key or value is wrong. The message has
            one line for each mistake.
    """
    try:
        content = typed_yaml.read_yaml(path)
        if isinstance(content, dict):
            missing = (
                FIELDS.keys() - content
            )  # a section of the owner may be called training
            typos = {key for key in content if suggestion(str(key), missing)}
            content = {key: content[key] for key in content if key in {*FIELDS, *typos}}
        params = Params(**dict(parse_section(content, ALL_SECTIONS, path)))
        mistakes = "\n".join(
            f"{path}: {mistake}" for mistake in find_mistakes(params, schema)
        )
        if mistakes:
            raise UserError(mistakes)
    except UserError as error:
        if "DVC_EXP_BASELINE_REV" not in os.environ:  # `dvc exp run` sets it
            raise
        advice = (
            f"What you set with -S is still in {path}. To undo it, run `git restore"
            f" {path}`."
        )
        raise UserError(f"{error}\n{advice}") from None
    return Params(**{name: getattr(params, name) for name in names})


def find_mistakes(params: Params, schema: Schema) -> Iterator[str]:
    """Yield where the sections of a file do not fit each other or the table."""
    task = schema.learning_task
    yield from split_mistakes(params.split, schema)
    yield from train_mistakes(params.train, params.split, task)
    if not {*params.train.ignore} < {*schema.features}:
        expected = (
            f"expected some of the columns {format_list(schema.features)}, but not all"
        )
        yield f"train.ignore: {expected}, got {format_list(params.train.ignore)}."
    yield from gate_mistakes(params.gate, params.evaluate, task)
    yield from evaluate_mistakes(params.evaluate, params.train, schema)


def split_mistakes(split: Split, schema: Schema) -> Iterator[str]:
    """Yield what the table lacks for the rule of the split."""
    if split.role and split.role not in schema.roles:
        yield (
            f"split.by: {split.by} requires the key {split.role}: COLUMN in"
            " data/schema.yaml."
        )
    if split.by == "file" and not schema.test_files:
        yield "split.by: file requires the key test_files: [NAME] in data/schema.yaml."
    if split.stratify and split.by != "random":
        yield f"split.stratify: true requires split.by: random, got {split.by}."


def train_mistakes(train: Train, split: Split, task: Task) -> Iterator[str]:
    """Yield where the section `train` does not fit the split or the task."""
    members = (
        () if train.members == "auto" else [member.network for member in train.members]
    )
    for name in members or train.networks:
        if name not in train.networks:
            yield f"train.members: {expected_one_of(name, train.networks)}"
            continue
        network = train.networks[name]
        key = f"train.networks.{name}.early_stopping"
        if network.early_stopping and split.validation_size == 0 and train.folds == 1:
            yield (
                f"{key} requires split.validation_size above 0 or train.folds above 1."
            )
        elif network.early_stopping and network.trains_in_cycles:
            yield f"{key} requires a learning_rate_schedule that is constant or cosine."
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
    if task.classes:
        weights = train.class_weight if isinstance(train.class_weight, dict) else {}
        unknown = [value for value in weights if value not in task.classes]
        if unknown:
            yield (
                f"train.class_weight: expected classes of {[*task.classes]}, got"
                f" {unknown}."
            )
        return
    only_for_classes = ["train.class_weight"] if train.class_weight is not None else []
    only_for_classes += ["split.stratify"] if split.stratify else []
    for name, network in train.networks.items():
        if network.early_stopping and network.early_stopping.monitor == "val_accuracy":
            only_for_classes.append(
                f"train.networks.{name}.early_stopping.monitor: val_accuracy",
            )
    for key in only_for_classes:
        yield (
            f"{key} requires classes, but the task in data/schema.yaml is regression."
            " Remove it."
        )


def gate_mistakes(gate: Gate, evaluate: Evaluate, task: Task) -> Iterator[str]:
    """Yield limits for scores that the run does not have."""
    row_sets = [
        *ROW_SETS,
        *(f"tests.{file.partition('.')[0]}" for file in evaluate.tests),
    ]
    row_sets += [f"slices.{name}" for name in evaluate.slices]
    keys = [
        f"{row_set}.{score}"
        for row_set in row_sets
        for score in metric_keys(evaluate, task)
    ]
    for section in ("min", "max", "worse_than_base"):
        for key in sorted(set(getattr(gate, section)) - set(keys)):
            row_set, is_custom, _ = key.partition(f".{CUSTOM}")
            if is_custom and row_set in row_sets and section != "worse_than_base":
                continue  # the gate sees whether custom.py has such a metric
            hint = "The keys min and max also allow custom metrics."
            yield f"gate.{section}: {expected_one_of(key, keys)} {hint}"


def metric_keys(evaluate: Evaluate, task: Task) -> list[str]:
    """Return the keys of the scores of the task, and of the cost if there are costs."""
    return [*task.metrics, *([COST] if evaluate.costs(task) else [])]


WON_BY_A_CONSTANT = ("precision", "recall")


def metric_mistakes(evaluate: Evaluate, task: Task) -> Iterator[str]:
    """Yield a metric that the run does not have; custom metrics are checked by the stage."""
    key = "evaluate.metric"
    choice = evaluate.metric
    keys = metric_keys(evaluate, task)
    allowed = [
        "auto",
        *(k for k in keys if k.rpartition(".")[2] not in WON_BY_A_CONSTANT),
    ]
    if choice in WON_BY_A_CONSTANT and task.has_threshold:
        advice = (
            "Compare by average_precision, f1 or a cost, and ask for it in"
            " evaluate.threshold"
        )
        yield (
            f"{key}: a constant prediction can win {choice}. {advice}: {{{choice}:"
            " 0.9}."
        )
    elif choice == COST and COST not in allowed:
        yield f"{key}: cost requires costs, such as evaluate.threshold: {{cost: ...}}."
    elif choice not in allowed and not choice.startswith(CUSTOM):
        yield f"{key}: {expected_one_of(choice, [*allowed, f'{CUSTOM}NAME'])}"


def cost_mistakes(
    costs: dict[Any, dict[Any, float]],
    train: Train,
    task: Task,
) -> Iterator[str]:
    """Yield costs that do not fit the classes of the table."""
    names = {*costs, *(name for row in costs.values() for name in row)}
    if unknown := names.difference(task.classes):
        got = f"got {sorted(unknown, key=str)}"
        yield f"evaluate.threshold.cost: expected classes of {[*task.classes]}, {got}."
    if not task.has_threshold and train.class_weight is not None:
        problem = (
            "costs already say how much each class matters; remove train.class_weight"
        )
        yield f"evaluate.threshold.cost: {problem}."


def evaluate_mistakes(
    evaluate: Evaluate,
    train: Train,
    schema: Schema,
) -> Iterator[str]:
    """Yield a threshold that cannot be chosen, and files and slices that do not fit."""
    task = schema.learning_task
    rule = evaluate.threshold_rule
    yield from metric_mistakes(evaluate, task)
    if rule and task.classes and isinstance(rule.cost, dict):
        yield from cost_mistakes(rule.cost, train, task)
    elif rule and not task.has_threshold:
        hint = (
            " Several classes allow {cost: {ACTUAL: {PREDICTED: 5}}}."
            if task.classes
            else ""
        )
        yield (
            "evaluate.threshold: this rule requires the task binary, got"
            f" {schema.task}.{hint}"
        )
    if rule and task.has_threshold and train.folds == 1:
        yield "evaluate.threshold: a rule requires train.folds above 1."
    if len({file.partition(".")[0] for file in evaluate.tests}) < len(evaluate.tests):
        problem = "expected files with different names before the ending"
        yield f"evaluate.tests: {problem}, got {[*evaluate.tests]}."
    columns = [name for name in schema.columns if name != schema.target]
    for name, conditions in evaluate.slices.items():
        for column, condition in conditions.items():
            where = f"evaluate.slices.{name}"
            if column not in columns:
                yield f"{where}: {expected_one_of(column, columns)}"
            elif not fits_kind(condition, kind := schema.columns[column].kind):
                dates = (
                    "{low: 2024-01-31} for a date and a list of values for other kinds"
                )
                allowed = f"{{low: 1, high: 2}} for a number, {dates}"
                yield (
                    f"{where}.{column}: expected {allowed}, got another condition for"
                    f" {kind}."
                )


def fits_kind(condition: Range | tuple[Any, ...], kind: Kind) -> bool:
    """Return whether the values of a condition have the type of a column of this kind."""
    if isinstance(condition, Range):
        ends = [end for end in (condition.low, condition.high) if end is not None]
        return all(isinstance(end, RANGE_TYPES[kind]) for end in ends)
    return kind != "text" and all(
        type(value) in VALUE_TYPES[kind] for value in condition
    )
