"""Labelled rows, read and checked as those of the table are."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tabular.config.params import Params
from tabular.config.schema import Schema
from tabular.config.sections import Validate
from tabular.core.errors import UserError, listed
from tabular.evaluation.equal_rows import hash_rows
from tabular.evaluation.result import FEW_ROWS, score_labelled
from tabular.table.checks import declared_checks
from tabular.table.parquet import write_part
from tabular.table.rows import cell_failures, read_piece, refuse
from tabular.table.source import ROWS, column_names, pieces, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel


def check_tests(names: Iterable[str], folder: Path) -> None:
    """Raises `UserError` where a file that `evaluate.tests` names is not there."""
    for name in names:
        if not (folder / name).is_file():
            there = listed(sorted(p.name for p in folder.glob("[!.]*"))) or "nothing"
            raise UserError(f"evaluate.tests: found {name!r}; {folder} has {there}")


def score_tests(
    data: Path,
    model: "SavedModel",
    schema: Schema,
    params: Params,
    scores: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """See `score_file`, of each file that `evaluate.tests` names.

    Args:
        data: folder of `split` and `tests`.
        scores: of the test rows, and the `thresholds` of the baselines.
    """
    thresholds = scores.get("thresholds", {})
    return {
        name: score_file(
            data / "tests" / name, model, schema, params.validate, data / "split", thresholds
        )
        for name in params.evaluate.tests
    }


def summary(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What `metrics/scores.json` keeps of `score_tests`: `tests`, by names without ending."""
    tests = {
        name.partition(".")[0]: of["test"]
        | {
            "training_rows": of["training_rows"],
            "baseline": of.get("baseline", {}),
            "paired_difference": of["paired_difference"]["test"],
        }
        for name, of in found.items()
    }
    return {"tests": tests} if tests else {}


def score_file(
    file: Path,
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    split: Path | None,
    thresholds: dict[str, float],
) -> dict[str, Any]:
    """See `score_labelled`, of the rows of a file; what was `told` of them.

    And how many of them are `training_rows`.

    Args:
        split: whose training rows the baselines learn from; without it there are none.
        thresholds: of baselines that have another one than the model.

    Raises:
        UserError: see `write_labelled`.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        told = write_labelled(file, schema, policies, folder)
        learnt = count_common_rows(folder, split / "train", schema) if split else 0
        found = score_labelled(model.predict, folder, split, schema, model.threshold, thresholds)
    found["training_rows"] = learnt
    found["told"] = [f"{what}: {count} rows" for what, count in told.items()]
    if learnt:
        said = f"{learnt:,} of {found['test']['rows']:,} rows are training rows"
        found["told"].append(f"{said}, so these scores are too good")
    if (rows := found["test"]["rows"]) < FEW_ROWS:
        found["told"].append(f"found {rows} rows to score; intervals take {FEW_ROWS} or more")
    return found


def write_labelled(file: Path, schema: Schema, policies: Validate, folder: Path) -> Counter[str]:
    """Write the rows of a file as parts of a table into `folder`, without those a check drops.

    Each cell is checked for kind, missing, range and values, of the columns that the model reads,
    the target and the weight.

    Returns:
        What was dropped or only warned of, in words, and how many rows each.

    Raises:
        UserError: the file is not as declared, no row is left, or a row fails a check whose policy
            is error; the message names lines.
    """
    needed = {*schema.features, schema.target, schema.weight}
    columns = {name: column for name, column in schema.columns.items() if name in needed}
    read = schema.model_copy(update={"columns": columns})
    names = column_names(file, schema, columns, {*schema.columns, *schema.ignore} - needed)
    checks, told, rows = declared_checks(schema, policies), Counter[str](), 0
    line = row_locator([file], schema)
    for number, piece in enumerate(pieces(file, schema, names, ROWS)):
        table = read_piece(piece, read)
        failures = sorted(cell_failures(table, read.columns, read, checks, table))
        refuse([f for f in failures if f.policy == "error"], piece.first, line)
        told.update(f"{f.column}: {f.check}: {f.policy}" for f in failures)
        kept = np.ones(len(table), bool)
        kept[[failure.row for failure in failures if failure.policy == "drop"]] = False
        write_part(folder, number, table.filter(pa.array(kept)))
        rows += int(kept.sum())
    if not rows:
        raise UserError(f"{file}: found no row to score; expected one at least")
    return told


def count_common_rows(folder: Path, other: Path, schema: Schema) -> int:
    """How many rows of a table are, with their target, in another one too."""
    (mine, _), (others, _) = (hash_rows(table, schema) for table in (folder, other))
    return int(np.isin(mine, others).sum())
