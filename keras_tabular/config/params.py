"""`params.yaml`: all its sections, and what they ask of each other and of the table."""

import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

from pydantic import Field, ValidationError, create_model

from keras_tabular.config.schema import VALUE_TYPES, Schema
from keras_tabular.config.sections import (
    LOSSES,
    Drift,
    Evaluate,
    Gate,
    Ingest,
    Network,
    Range,
    Search,
    Split,
    ThresholdRule,
    Train,
    Validate,
)
from keras_tabular.config.typed_yaml import (
    Section,
    explain_all,
    nearest,
    parse_section,
    read_yaml,
    suggestion,
)
from keras_tabular.core.errors import UserError
from keras_tabular.core.metrics import CUSTOM, ROW_SETS, TASKS

PARAMS = Path("params.yaml")
# Keys that a search leaves alone: a seed's score is luck, and other folds give another score.
FIXED = {"seed", "folds", "forward_chaining", "exact", "networks"}


class Params(SimpleNamespace):
    """The sections of the file that were asked for; any other name is an `AttributeError`."""

    ingest: Ingest
    validate: Validate
    split: Split
    train: Train
    evaluate: Evaluate
    gate: Gate
    drift: Drift
    search: Search


# A model of pydantic may have no field `validate`.
FIELDS: Any = {
    f"{name}_": (section, Field(alias=name)) for name, section in get_type_hints(Params).items()
}
ALL_SECTIONS = create_model("AllSections", __base__=Section, **FIELDS)


def check_params(content: Any, schema: Schema, path: Path) -> Params:
    """Check all sections of a file, also against each other and the table.

    Raises:
        UserError: There are mistakes. The message has a line for each.
    """
    whole = Params(
        **{
            name.removesuffix("_"): value
            for name, value in parse_section(content, ALL_SECTIONS, path)
        }
    )
    mistakes = [*split_mistakes(whole.split, schema)]
    mistakes += train_mistakes(whole.train, whole.split, schema)
    if not mistakes:  # which each value of the space would repeat
        mistakes += search_mistakes(whole, schema)
    mistakes += gate_mistakes(whole.gate, whole.evaluate, schema)
    mistakes += evaluate_mistakes(whole.evaluate, whole.train, schema)
    if mistakes:
        raise UserError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return whole


def split_mistakes(split: Split, schema: Schema) -> Iterator[str]:
    """What the rule of the split asks of the table."""
    if split.role and split.role not in schema.roles:
        yield (
            f"split.by: found {split.by!r}, but data/schema.yaml names no such column; add "
            f"{split.role}: COLUMN there"
        )
    if split.by == "file" and not schema.test_files:
        yield (
            "split.by: found 'file', but data/schema.yaml names no files of test rows; add "
            "test_files: [NAME] there, of files in the folder that source names"
        )
    if split.stratify and split.by != "random":
        yield f"split.stratify: found true; split.by: {split.by} does not draw by class"


def train_mistakes(train: Train, split: Split, schema: Schema) -> Iterator[str]:
    """What does not fit between `train`, `split` and the table."""
    members = () if train.members == "auto" else [member.network for member in train.members]
    for name in members or train.networks:
        yield from network_mistakes(name, train, split)
    if train.forward_chaining and (split.by != "time" or train.folds == 1):
        yield (
            f"train.forward_chaining: found {train.forward_chaining}, which takes split.by: time "
            "and train.folds above 1; set it to 0"
        )
    losses = ("auto", *LOSSES[schema.task])
    if train.loss not in losses:
        yield (
            f"train.loss: found {train.loss!r}, which does not fit task {schema.task} of the "
            f"schema. Allowed: {', '.join(losses)}"
        )
    if schema.task != "regression":
        weighted = train.class_weight if isinstance(train.class_weight, dict) else {}
        unknown = [value for value in weighted if value not in schema.classes]
        if unknown:
            yield f"train.class_weight: found {unknown}; classes are {list(schema.classes)}"
        return
    for_classes = ["train.class_weight"] if train.class_weight is not None else []
    for_classes += ["split.stratify"] if split.stratify else []
    for network in train.networks.values():
        if network.early_stopping and network.early_stopping.monitor == "val_accuracy":
            for_classes.append("early_stopping.monitor: val_accuracy")
    for key in for_classes:
        yield f"{key} is for classes, and the task of the schema is regression"


def network_mistakes(name: str, train: Train, split: Split) -> Iterator[str]:
    """What does not fit a kind of networks that is to be trained."""
    where = f"train.networks.{name}.early_stopping"
    if name not in train.networks:
        hint = nearest(name, train.networks)
        yield f"train.members: found network {name!r}, which train.networks has not.{hint}"
    elif not train.networks[name].early_stopping:
        return
    elif split.validation_size == 0 and train.folds == 1:
        yield (
            f"{where} monitors the validation rows, but split.validation_size is 0; set it to "
            "null, split.validation_size above 0, or train.folds above 1"
        )
    elif train.networks[name].trains_in_cycles:
        yield (
            f"{where} is for epochs, and with learning_rate_schedule: cosine_restarts training "
            "ends by itself; set it to null, or learning_rate_schedule to constant or cosine"
        )


def evaluate_mistakes(evaluate: Evaluate, train: Train, schema: Schema) -> Iterator[str]:
    """Yield a threshold that nothing can choose, and slices that do not fit the columns."""
    if isinstance(evaluate.threshold, ThresholdRule) and schema.task != "binary":
        yield f"evaluate.threshold: is chosen for two classes, and the task is {schema.task}"
    elif isinstance(evaluate.threshold, ThresholdRule) and train.folds == 1:
        yield (
            "evaluate.threshold: is chosen on out-of-fold predictions, and train.folds is 1; "
            "set it above 1 or to auto, or the threshold to a number"
        )
    for name, conditions in evaluate.slices.items():
        for column, condition in conditions.items():
            where = f"evaluate.slices.{name}.{column}"
            if column not in schema.features:
                yield f"{where}: no column that the model reads.{nearest(column, schema.features)}"
                continue
            kind = schema.columns[column].kind
            if isinstance(condition, Range):
                end_type = {"datetime": date, "integer": float, "real": float}.get(kind, str)
                ends = [end for end in (condition.low, condition.high) if end is not None]
                fits = all(isinstance(end, end_type) for end in ends)
            else:
                types = () if kind == "text" else VALUE_TYPES[kind]
                fits = all(type(value) in types for value in condition)
            if not fits:
                yield (
                    f"{where}: does not fit its kind, {kind}; numbers take {{low: 1, high: 2}}, "
                    "moments {low: 2024-01-31}, others a list of values"
                )


def gate_mistakes(gate: Gate, evaluate: Evaluate, schema: Schema) -> Iterator[str]:
    """Limits for scores that the task, or the run, has not."""
    scores = TASKS[schema.task].scores
    rows = [*ROW_SETS, *(f"tests.{file.partition('.')[0]}" for file in evaluate.tests)]
    keys = {f"{row_set}.{score}" for row_set in rows for score in scores}
    for name in ("lowest", "highest", "worse_than_last"):
        for key in sorted(set(getattr(gate, name)) - keys):
            row_set, is_custom, _ = key.partition(f".{CUSTOM}")
            if is_custom and row_set in rows and name != "worse_than_last":
                continue  # the gate sees whether stages/evaluate.py has such a metric
            yield (
                f"gate.{name}: found {key!r}, which is no score of task {schema.task}."
                f"{suggestion(key, keys)} "
                f"Allowed: of {', '.join(rows)} each of {', '.join(scores)}; "
                "for lowest and highest also custom.NAME, a metric of stages/evaluate.py"
            )


def search_mistakes(whole: Params, schema: Schema) -> Iterator[str]:
    """A score or a key that cannot be searched, and values that their key may not have."""
    scores, search = TASKS[schema.task].scores, whole.search
    keys = sorted({*Train.model_fields} - FIXED)
    for name in whole.train.networks:
        keys += [f"networks.{name}.{key}" for key in Network.model_fields]
    if search.score not in scores:
        yield f"search.score: found {search.score!r}.{nearest(search.score, scores)}"
    for key, candidates in search.space.items():
        if key not in keys:
            yield f"search.space.{key}: no key to search.{nearest(key, keys)}"
            continue
        for value in candidates.limits:
            try:
                train = whole.train.with_values({key: value})
                mistakes = list(train_mistakes(train, whole.split, schema))
            except ValidationError as error:
                mistakes = [f"train.{line}" for line in explain_all(error.errors(), Train)]
            yield from (f"search.space{mistake.removeprefix('train')}" for mistake in mistakes)


def load_params(*names: str, schema: Schema, path: Path = PARAMS) -> Params:
    """Check the whole file, also against the table, and give the sections of these `names`.

    Raises:
        UserError: the file is missing, is not YAML, or a key or value is wrong. One line for each
            mistake: the key, the value found, what is allowed and the nearest right name.
    """
    try:
        sections = check_params(read_yaml(path), schema, path)
    except UserError as error:
        if "DVC_EXP_BASELINE_REV" in os.environ:  # which `dvc exp run` sets
            raise UserError(
                f"{error}\nThe values of -S stay in {path}; `git restore {path}` takes them back"
            ) from None
        raise
    return Params(**{name: getattr(sections, name) for name in names})
