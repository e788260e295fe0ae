"""The threshold, and all that predicting and watching take, put into the model's file."""

import hashlib
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tabular.evaluation.sketch import Sketch
from tabular.evaluation.temperature import choose_temperature, tempered
from tabular.evaluation.threshold import choose_threshold
from tabular.files import atomic_write
from tabular.model.intervals import Intervals
from tabular.model.metadata import add_metadata
from tabular.params.evaluate import Choice
from tabular.params.loading import load_params
from tabular.prediction.contributions import Walks, contributions
from tabular.process import run
from tabular.schema import Schema, load_schema
from tabular.table.arrays import feature_arrays, labels, row_weights
from tabular.table.parquet import count_rows, part_paths, read_parts, read_rows

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel

BLOCK = 2**20  # bytes that are read at a time
# Of the training rows, which lie shuffled: for the sketches, and to see what moves the answers.
MAX_ROWS, MAX_CELLS = 200_000, 20_000_000
EXPLAINED, COMPARED = 100, 2000  # rows whose columns are given one by one; for disagreement
WORK = 20_000_000_000  # multiply-adds of the model for either


def provenance(train: Path) -> dict[str, Any]:
    """The training rows, by the MD5 of their parts, and the packages that read and trained on them.

    The commit is not there: it would have to hold its own model. `git log -S` with the model's MD5
    in dvc.lock finds it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for path in part_paths(train):
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    packages = {name: version(name) for name in ("keras", "tensorflow", "pyarrow", "numpy")}
    return {"rows": sum(count_rows(train)), "md5": digest.hexdigest(), "packages": packages}


def importances(
    model: "SavedModel", rows: pa.Table, sketches: dict[str, Sketch], schema: Schema
) -> dict[str, float]:
    """How much each column moves the answers of some rows, as a share of what all of them do."""
    from tabular.model.saved_model import multiply_adds

    walks = Walks.of(sketches, schema)
    work = multiply_adds(model.network) * walks.answers
    rows = rows[: max(min(EXPLAINED, int(WORK / max(work, 1))), 4)]
    found = contributions(model.predict, feature_arrays(rows, schema), walks)
    moved = np.abs(np.nan_to_num(found)).mean(axis=(0, 2))
    shares = moved / moved.sum() if moved.any() else moved
    return dict(zip(schema.features, np.round(shares, 6).tolist(), strict=True))


def disagreement(model: "SavedModel", rows: pa.Table, schema: Schema) -> float:
    """The mean variance between the answers of the folds' networks to some rows."""
    from tabular.model.saved_model import fold_answers, multiply_adds

    few = max(min(COMPARED, int(WORK / max(multiply_adds(model.network), 1))), 10)
    members = model.predict_members(feature_arrays(rows[:few], schema))
    return float(fold_answers(members[:, 1:], model.metadata).var(axis=1, ddof=1).mean())


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--trained", type=Path, required=True, help="the .keras file that train wrote")
    add("--train", type=Path, required=True, help="folder of the training rows")
    add("--oof", type=Path, required=True, help="folder of the out-of-fold predictions")
    add("--model", type=Path, required=True, help="the .keras file to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", "drift", schema=schema)
    threshold = params.evaluate.threshold

    rows = read_rows(args.train, min(MAX_ROWS, MAX_CELLS // len(schema.columns)))

    from tabular.model.saved_model import read_model, with_temperature, write_model

    model = read_model(args.trained)
    known = model.metadata["categories"]
    sketches = {
        name: Sketch.of(rows[name], column, known.get(name))
        for name, column in schema.features.items()
    }
    found: dict[str, Any] = {
        "schema": schema.model_dump(mode="json", exclude_defaults=True),
        "validate": params.validate.model_dump(),
        "drift": params.drift.model_dump(),
        "trained_on": provenance(args.train),
        "sketches": {name: sketch.to_json() for name, sketch in sketches.items()},
        "importance": importances(model, rows, sketches, schema),
    }
    *columns, fold = (c.to_numpy() for c in pa.concat_tables(read_parts(args.oof)).columns)
    labelled = [schema.target, *([schema.weight] if schema.weight else [])]
    train = pa.concat_tables(read_parts(args.train, labelled))[: len(fold)]
    y, weight = labels(train, schema)[:, 0], row_weights(train, schema)
    outputs, network = np.column_stack(columns), None
    if schema.task == "regression" and len(fold):
        predicted = outputs[:, 0]
        intervals = Intervals.of(
            *(y - predicted, predicted, fold, params.evaluate.coverage),
            disagreement(model, rows, schema),
        )
        found["intervals"] = intervals._asdict()
    if schema.task != "regression":
        temperature = params.evaluate.temperature
        chosen = {"temperature": 1.0 if temperature == "auto" else temperature}
        if temperature == "auto" and len(fold):
            chosen = choose_temperature(y, outputs, fold, weight, schema)
        found["calibration"] = chosen
        if chosen["temperature"] != 1:
            outputs = tempered(outputs, chosen["temperature"])
            network = with_temperature(args.trained, chosen["temperature"])
            print(f"Probabilities are at a temperature of {chosen['temperature']:g}")
    if schema.task == "binary":
        found["threshold"] = choose_threshold(threshold, y, outputs[:, 0], weight)
        if isinstance(threshold, Choice):
            found["threshold_choice"] = threshold.model_dump(exclude_none=True)
        print(f"A probability of {found['threshold']:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        if network:
            write_model(network, file, model.metadata | found)
        else:
            add_metadata(args.trained, file, found)


if __name__ == "__main__":
    run(main)
