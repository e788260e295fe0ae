"""Compare the expected score of rows without labels with their real score, on many tables.

Each table goes through the pipeline as a newcomer runs it, on several random splits. The test rows
are divided at random: one half is the test rows of the run, and the other half is new rows, whose
labels are hidden. The new rows come in three forms:

- `same`: as they are.
- `shifted`: only some of them, drawn so that the mean of the number column with the largest share
  of attribution is higher or lower by half a standard deviation. Each row keeps its label, so the
  mixture of rows changes, and the outcomes do not.
- `corrupted`: one standard deviation is added to this column, and the labels stay. This changes
  the relation between the column and the target, which no method can see without labels.

The table shows the mean absolute difference between the real score and the expected one, and
between the real score and that of the test rows, in percentage points of accuracy, and how often
the interval of the expected score contains the real one. Tables of a regression are left out.

    python -m benchmarks.expected_score --tables FOLDER --work FOLDER
"""

import logging
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import yaml

from benchmarks.quality import (
    Table,
    add_table_arguments,
    create_project,
    load_tables,
    run_stages,
    write_params,
)
from keras_tabular.config.schema import load_schema
from keras_tabular.core.errors import align_columns
from keras_tabular.evaluation.result import compare_with_expected
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.prediction.expected_score import ExpectedScore, compute_row_scores, summarize
from keras_tabular.scoring import uncertainty
from keras_tabular.scoring.evaluation import Evaluation
from keras_tabular.scoring.scores import Predictions
from keras_tabular.scoring.uncertainty import score_and_resample, score_mean
from keras_tabular.table.arrays import feature_arrays, labels
from keras_tabular.table.cells import as_float64
from keras_tabular.table.parquet import read_parts
from keras_tabular.table.rows import CheckedRows

FORMS = ("same", "shifted", "corrupted")
SHIFT = 0.5  # of the mean of a column, in standard deviations
MAX_SLOPE = 50.0


class Result(NamedTuple):
    """The expected and the real score of some new rows."""

    form: str
    expected: ExpectedScore
    test: float
    real: float

    @property
    def covered(self) -> bool:
        """Whether the interval of the expected score contains the real score."""
        low, high = self.expected.interval or (0, 1)
        return low <= self.real <= high

    def difference(self, score: float) -> float:
        """Return the difference of a score from the real one, in percentage points."""
        return 100 * abs(score - self.real)


def train(table: Table, folder: Path, seed: int) -> None:
    """Train a model in a folder, unless it has one."""
    if (folder / "models/model.keras").is_file():
        return
    folder.mkdir(parents=True)
    with chdir(folder):
        create_project(table)
        params = yaml.safe_load(Path("params.yaml").read_text())
        write_params(params | {"split": params["split"] | {"seed": seed}})
        run_stages("split", "train", "calibrate")


def evaluate(predictions: Predictions, metadata: ModelMetadata) -> Evaluation:
    """Return the accuracy of some rows with its interval, and its difference from the expected."""
    score = score_mean("test", "accuracy", predictions.row_scores, predictions.weight, None)
    error = compare_with_expected(score_and_resample(predictions), metadata)
    return Evaluation(primary_metrics=("accuracy",), scores=(score,), expected_accuracy_error=error)


def draw_shifted(values: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    """Draw some of the rows, about half, so that the mean of a standardised column is shifted.

    A row is drawn with a probability that grows with the value like a logistic function. If no
    slope of it shifts the mean far enough, the steepest one is taken.

    Returns:
        A mask of shape (rows,).
    """
    low, high = 0.0, MAX_SLOPE
    for _ in range(40):
        slope = (low + high) / 2
        probability = (1 + np.tanh(slope * np.sign(shift) * values)) / 2  # a logistic function
        mean = np.average(values, weights=probability)
        low, high = (slope, high) if abs(mean) < abs(shift) else (low, slope)
    return rng.random(len(values)) < probability


def measure(folder: Path, repeats: int) -> Iterator[Result]:
    """Yield the scores of new rows in each form, for several divisions of the test rows."""
    from keras_tabular.model_file.saved_model import load_model

    with chdir(folder):
        schema, path = load_schema(), Path("models/model.keras")
        model = load_model(path, path.read_bytes(), schema)
        test = pa.concat_tables(read_parts(Path("data/split/test")))
    metadata, task, y = model.metadata, schema.learning_task, labels(test, schema)[:, 0]
    numbers = [name for name, c in schema.features.items() if c.feature_type == "number"]
    name = max(numbers, key=metadata.attribution.__getitem__)
    values = as_float64(test[name], schema.columns[name]).to_numpy()
    deviation = np.nanstd(values)
    standardised = np.nan_to_num((values - np.nanmean(values)) / deviation)
    added = pa.array(values + deviation, from_pandas=True)
    corrupted = test.set_column(test.column_names.index(name), name, added)
    tables = {"same": test, "shifted": test, "corrupted": corrupted}
    predictions, expected = dict[str, Predictions](), dict[str, np.ndarray]()
    for form, table in tables.items():
        y_pred = model.predict(feature_arrays(table, schema))
        predictions[form] = Predictions(task, y, y_pred, np.ones(len(y)), metadata.threshold)
        expected[form] = compute_row_scores(model, CheckedRows(table, table, []), schema)

    rng = np.random.default_rng(0)
    for _ in range(repeats):
        half, other_half = np.array_split(rng.permutation(len(y)), 2)
        for reference, new in ((half, other_half), (other_half, half)):
            evaluation = evaluate(predictions["same"].select(reference), metadata)
            drawn = [new[draw_shifted(standardised[new], s, rng)] for s in (SHIFT, -SHIFT)]
            forms = [("same", new), *(("shifted", rows) for rows in drawn), ("corrupted", new)]
            for form, rows in forms:
                score = summarize([expected[form][rows]], len(rows), 1.0, evaluation)
                real = predictions[form].select(rows).row_scores.mean()
                yield Result(form, score, score.test.value if score.test else 0.0, float(real))


def average(results: list[Result]) -> np.ndarray:
    """Average the differences of both scores and the coverage; shape (forms, 3)."""
    values = [
        [result.difference(result.expected.value), result.difference(result.test), result.covered]
        for result in results
    ]
    forms = np.array([result.form for result in results])
    return np.array([np.mean(np.array(values)[forms == form], axis=0) for form in FORMS])


def format_averages(averages: np.ndarray) -> list[str]:
    return [
        cell
        for expected, test, coverage in averages
        for cell in (f"{expected:.1f}", f"{test:.1f}", f"{coverage:.0%}")
    ]


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    add_table_arguments(parser, splits=2)
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder for the projects; a trained one is reused")
    add("--repeats", type=int, default=10, help="divisions of the test rows of each split")
    args = parser.parse_args()
    uncertainty.DRAWS = 2  # saves minutes: the accuracy needs no draws
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about new graphs

    columns = ["expected", "test", "covered"]
    lines = [["table", *(f"{form}: {name}" for form in FORMS for name in columns)]]
    averages: list[np.ndarray] = []
    for table in load_tables(args, args.work):
        results: list[Result] = []
        for seed in range(args.first_seed, args.first_seed + args.splits):
            folder = args.work / table.name / str(seed)
            train(table._replace(path=table.path.resolve()), folder, seed)
            if load_schema(folder / "data/schema.yaml").task != "regression":
                results += measure(folder, args.repeats)
        if results:
            averages.append(average(results))
            lines.append([table.name, *format_averages(averages[-1])])
            print(*lines[-1], file=sys.stderr, flush=True)
    lines.append(["mean", *format_averages(np.mean(averages, axis=0))])
    print(align_columns(lines))


if __name__ == "__main__":
    main()
