"""The threshold, and all that predicting with the model takes, put into its file."""

import hashlib
from argparse import ArgumentParser
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa

from tabular.evaluation.threshold import choose_threshold
from tabular.files import atomic_write
from tabular.model.intervals import Residuals
from tabular.model.metadata import add_metadata
from tabular.params.evaluate import Choice
from tabular.params.loading import load_params
from tabular.process import run
from tabular.schema import load_schema
from tabular.table.arrays import labels, row_weights
from tabular.table.parquet import count_rows, part_paths, read_parts

BLOCK = 2**20  # bytes that are read at a time


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


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--trained", type=Path, required=True, help="the .keras file that train wrote")
    add("--train", type=Path, required=True, help="folder of the training rows")
    add("--oof", type=Path, required=True, help="folder of the out-of-fold predictions")
    add("--model", type=Path, required=True, help="the .keras file to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", schema=schema)
    threshold = params.evaluate.threshold

    found: dict[str, Any] = {
        "schema": schema.model_dump(mode="json", exclude_defaults=True),
        "validate": params.validate.model_dump(),
        "trained_on": provenance(args.train),
    }
    if schema.task != "multiclass":
        oof = pa.concat_tables(read_parts(args.oof))
        columns = [schema.target, *([schema.weight] if schema.weight else [])]
        train = pa.concat_tables(read_parts(args.train, columns))[: len(oof)]
        y, predicted = labels(train, schema)[:, 0], oof["output_0"].to_numpy()
    if schema.task == "regression" and len(oof):
        residuals = Residuals.of(y - predicted, oof["fold"].to_numpy(), params.evaluate.coverage)
        found["residuals"] = residuals._asdict()
    if schema.task == "binary":
        found["threshold"] = choose_threshold(threshold, y, predicted, row_weights(train, schema))
        if isinstance(threshold, Choice):
            found["threshold_choice"] = threshold.model_dump(exclude_none=True)
        print(f"A probability of {found['threshold']:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        add_metadata(args.trained, file, found)


if __name__ == "__main__":
    run(main)
