"""Objects of the library that many tests need, and where the repository is."""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.params import load_settings
from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train, Validate
from keras_tabular.evaluation.records import MODEL, Evaluation, Score, score_records
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.table.cells import ARROW_TYPES
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.parquet import FILE_SUBSET
from keras_tabular.table.rows import CheckedRows, check_rows, parse_files
from keras_tabular.table.source import read_rows
from keras_tabular.tasks.metrics import ROW_SETS
from keras_tabular.tasks.task import Binary, Multiclass, Regression, Task
from keras_tabular.training.ensemble import REPRODUCIBLE_MACHINES

PROJECT = Path(__file__).parents[1]
# The tasks of the schemas that `build_schema` builds.
BINARY = Binary((0, 1))
MULTICLASS = Multiclass(("a", "b", "c"))
REGRESSION = Regression()

needs_committed_bytes = pytest.mark.skipif(
    platform.machine() not in REPRODUCIBLE_MACHINES,
    reason="the numbers in git are those of x86-64 and ARM64 under Linux",
)


def build_schema(task: str, **columns: str | dict[str, Any]) -> Schema:
    """Build a schema with a target `y`, and with `columns` or a real column `x`.

    Args:
        columns: The kind of each column, or its declaration, by name.
    """
    targets: dict[str, dict[str, Any]] = {
        "binary": {"kind": "integer", "values": [0, 1]},
        "multiclass": {"kind": "category", "values": ["a", "b", "c"]},
        "regression": {"kind": "real"},
    }
    declarations = {}
    for name, column in (columns or {"x": "real"}).items():
        declarations[name] = {"kind": column} if isinstance(column, str) else column
    schema: dict[str, Any] = {"source": "t.csv", "task": task, "target": "y"}
    if task == "binary":
        schema["positive"] = 1
    schema["columns"] = declarations | {"y": targets[task]}
    return Schema.model_validate(schema)


def build_arrow_schema(schema: Schema) -> pa.Schema:
    """Return the Arrow types of the declared columns and of `FILE_SUBSET`."""
    fields = [
        (name, ARROW_TYPES[column.kind]) for name, column in schema.columns.items()
    ]
    return pa.schema(
        [*fields, *([(FILE_SUBSET, pa.string())] if schema.test_files else [])],
    )


def load_train_params(
    networks: dict[str, dict[str, Any]] | None = None,
    **changes: Any,
) -> Train:
    """Load the section `train` of the project's params.yaml with some other values.

    Args:
        networks: Settings by architecture. Each architecture becomes one member per
            fold.
        changes: Other values, by the name of the key.
    """
    train = load_settings("train", project=PROJECT)[1].train
    if networks is not None:
        changes = {"members": [{"network": name} for name in networks]} | changes
        content = train.model_dump()["networks"]
        for name, settings in networks.items():
            content[name] |= settings
        changes["networks"] = content
    return train.with_values(changes)


def build_predictions(task: Task, y: Any, y_pred: Any, **fields: Any) -> Predictions:
    """Build predictions for rows of weight 1.

    Args:
        y_pred: Shape (rows,) or (rows, outputs).
        fields: Other fields, by name.
    """
    y = np.asarray(y)
    outputs = np.asarray(y_pred).reshape(len(y), -1)
    return Predictions(
        task,
        y,
        outputs,
        **{"weight": np.ones(len(y))} | fields,
    )


def read_table(file: Path, schema: Schema) -> Iterator[pa.Table]:
    """Read the rows of a file as values, in parts."""
    for part in parse_files([file], schema):
        yield part.select([*schema.columns])


def read_checked_rows(
    file: Path,
    schema: Schema,
    names: list[str],
    **policies: Any,
) -> list[CheckedRows]:
    """Read and check the rows of a file as `predict` does."""
    checks = declared_checks(schema, Validate(**policies))
    return [
        check_rows(raw, schema.features, checks)
        for raw in read_rows(file, schema, names)
    ]


def build_evaluation(rows: int = 254, **content: Any) -> Evaluation:
    """Build an evaluation whose sets of rows have the same number of rows.

    Args:
        content: Scores of the model by metric, for each set of rows, such as
            `test={"loss": 0.5}`; for the test rows, the `intervals` of these scores by
            metric, and the scores of `baselines` and their `differences` by baseline
            and metric; and fields of `Evaluation`.
    """
    scores = list[Score]()
    intervals = content.pop("intervals", {})
    for row_set in ROW_SETS:
        interval = intervals if row_set == "test" else {}
        values = content.pop(row_set, {})
        scores += score_records(row_set, MODEL, values, rows, interval=interval)
    differences = content.pop("differences", {})
    for name, values in content.pop("baselines", {}).items():
        scores += score_records(
            "test",
            name,
            values,
            rows,
            difference=differences.get(name, {}),
        )
    return Evaluation.model_validate(
        {"main_metrics": ["accuracy"], "scores": scores} | content,
    )
