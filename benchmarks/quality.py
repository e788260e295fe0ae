"""Compare errors and times on many tables with those of other libraries.

Each table goes through the pipeline as a newcomer runs it: `infer_schema`, then the
stages with the defaults of params.yaml, except that a failed check only warns. The
other models have their default settings (LightGBM and CatBoost with 1,000 rounds) and
are trained on the same rows. All are scored on the same test rows of several random
splits. The error is the root mean squared error for regression, and the cross-entropy
for classes. Errors are divided by CatBoost's, and the ratios are averaged
geometrically. Seconds are those of the stage train in this process, including
compilation but not imports, and those of `fit`. For regression, the coverage of the
prediction intervals is shown.

    pip install -r requirements/benchmarks.txt
    python -m benchmarks.quality --tables FOLDER

The target of a CSV file in the folder is the column that the folder's README.md names,
in a table with the headings `file` and `target`; otherwise it is the last column.
"""

import io
import json
import logging
import math
import shlex
import shutil
import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from importlib import import_module
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from scipy.stats import ttest_1samp

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.evaluation import baselines, scores
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import read_parts

PROJECT = Path(__file__).parents[1]
OURS = "this pipeline"
CATBOOST = "CatBoost"
# The names of the baselines in the report.
SIMPLE_MODELS = {"linear": "linear model", "gradient_boosting": "gradient boosting"}
COMPARED_VALUES = ("error", "seconds")
FIRST_SEED = 1000  # of the splits


class Table(NamedTuple):
    """A CSV file and the column to predict."""

    path: Path
    target: str

    @property
    def name(self) -> str:
        return self.path.name.partition(".")[0]


class Result(NamedTuple):
    """Scores and training time of one contender on one split."""

    scores: dict[str, float]
    seconds: float

    def value(self, key: str) -> float:
        """Return one of `COMPARED_VALUES`."""
        return (
            self.seconds
            if key == "seconds"
            else self.scores.get("rmse", self.scores["loss"])
        )


def load_tables(folder: Path) -> Iterator[Table]:
    """Yield the tables of a folder."""
    readme = folder / "README.md"
    targets = read_targets(readme.read_text()) if readme.is_file() else {}
    for path in sorted(folder.glob("*.csv*")):
        last = pd.read_csv(path, nrows=0).columns[-1]
        yield Table(path.resolve(), targets.get(path.name, last))


def read_targets(readme: str) -> dict[str, str]:
    """Read the target of each file from a table with `file` and `target`."""
    lines = [
        [cell.strip(" `") for cell in line.strip().strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    headings = [line for line in lines if {"file", "target"} <= set(line)]
    if not headings:
        return {}
    file = headings[0].index("file")
    target = headings[0].index("target")
    return {line[file]: line[target] for line in lines if len(line) == len(headings[0])}


def run_stages(*names: str) -> float:
    """Run stages as dvc.yaml does, in this process, and return the seconds."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))[
        "stages"
    ]
    start = time.perf_counter()
    for name in names:
        _, _, module, *arguments = shlex.split(stages[name]["cmd"])
        run_module(module, *arguments)
    return time.perf_counter() - start


def run_module(module: str, *arguments: str) -> None:
    with (
        patch.object(sys, "argv", [module, *arguments]),
        redirect_stdout(io.StringIO()),
    ):
        import_module(module).main()


def create_project(table: Table) -> None:
    """Create a project for a table here, and run ingest and validate."""
    raw = Path("data/raw") / table.path.name
    raw.parent.mkdir(parents=True)
    shutil.copy(table.path, raw)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["validate"] |= {
        key: "warn" for key, policy in params["validate"].items() if policy == "error"
    }
    params["validate"]["missing"] = "drop"  # rows without a target
    params["gate"] = {}
    write_params(params)
    ours = load_schema(PROJECT / "data/schema.yaml")
    if Path(ours.source).name == raw.name and ours.target == table.target:
        shutil.copy(PROJECT / "data/schema.yaml", "data/schema.yaml")
    else:
        run_module(
            "keras_tabular.cli",
            "infer-schema",
            str(raw),
            "--target",
            table.target,
        )
    run_stages("ingest", "validate")


def write_params(params: dict[str, Any]) -> None:
    Path("params.yaml").write_text(
        yaml.safe_dump(params, sort_keys=False),
        encoding="utf-8",
    )


def run_ours() -> Result:
    """Train and evaluate on the split in the current folder."""
    seconds = run_stages("train")
    run_stages("calibrate", "evaluate")
    rows = pa.concat_tables(read_parts(Path("data/predictions")))
    schema = load_schema()
    first = "probability_" if schema.classes else "predicted"
    outputs = np.column_stack(
        [rows[name] for name in rows.column_names if name.startswith(first)],
    )
    y = labels(pa.table({schema.target: rows["actual"]}), schema)[:, 0]
    content = json.loads(Path("metrics/scores.json").read_text()).get(
        "interval_coverage",
        {},
    )
    coverage = {key: content[key] for key in ("nominal", "coverage") if key in content}
    return Result(score(y, outputs) | coverage, seconds)


def score(y: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    task = load_schema().learning_task
    predictions = scores.Predictions(task, y, outputs, np.ones(len(y)))
    return scores.score(predictions)


def build_peers(schema: Schema) -> dict[str, Any]:
    """Build the other models. They are trained on the data frame of `feature_frame`."""
    from catboost import CatBoostClassifier, CatBoostRegressor
    from lightgbm import LGBMClassifier, LGBMRegressor

    estimators = baselines.build_baselines(schema, "auto")
    simple_models = {
        SIMPLE_MODELS[name]: estimator for name, estimator in estimators.items()
    }
    is_regression = not schema.classes
    lightgbm = LGBMRegressor if is_regression else LGBMClassifier
    catboost = CatBoostRegressor if is_regression else CatBoostClassifier
    categories, texts = (
        [name for name, column in schema.features.items() if column.kind == kind]
        for kind in ("category", "text")
    )
    return simple_models | {
        "LightGBM": lightgbm(n_estimators=1000, verbose=-1, random_state=1),
        CATBOOST: catboost(
            cat_features=categories,
            text_features=texts,
            verbose=0,
            random_seed=1,
            allow_writing_files=False,
        ),
    }


def adapt_frame(
    x: pd.DataFrame,
    name: str,
    categories: dict[str, pd.CategoricalDtype],
    texts: list[str],
) -> Any:
    """Prepare the columns for CatBoost and for LightGBM."""
    if name == CATBOOST:
        return x.assign(**{column: x[column].fillna("") for column in categories})
    if name == "LightGBM":
        frame = x.drop(columns=texts).assign(
            **{
                column: pd.Categorical.from_codes(
                    kind.categories.get_indexer(pd.Index(x[column])),
                    dtype=kind,
                )
                for column, kind in categories.items()
            },
        )
        return frame.set_axis(
            [f"x{number}" for number in range(frame.shape[1])],
            axis=1,
        )
    return x


def run_peers() -> Iterator[tuple[str, Result]]:
    """Train the other models on the split in this folder; yield the results."""
    schema = load_schema()
    x, y, _ = baselines.read_training_rows(Path("data/split"), schema, sys.maxsize)
    test = pa.concat_tables(read_parts(Path("data/split/test")))
    x_test = baselines.feature_frame(test, schema)
    y_test = labels(test, schema)[:, 0]
    categories = {
        name: pd.CategoricalDtype(sorted(x[name].dropna().unique()))
        for name, column in schema.features.items()
        if column.kind == "category"
    }
    texts = [name for name, column in schema.features.items() if column.kind == "text"]
    for name, estimator in build_peers(schema).items():
        rows = adapt_frame(x, name, categories, texts)
        start = time.perf_counter()
        fitted = estimator.fit(rows, y)
        seconds = time.perf_counter() - start
        rows = adapt_frame(x_test, name, categories, texts)
        predicted = baselines.predict(fitted, rows, schema.learning_task)
        yield name, Result(score(y_test, predicted), seconds)


def measure(table: Table, seeds: range) -> dict[str, list[Result]]:
    """Return the results of every contender on each split of a table."""
    from keras_tabular.network.backend import keras

    results: dict[str, list[Result]] = defaultdict(list)
    with TemporaryDirectory() as folder, chdir(folder):
        create_project(table)
        params = yaml.safe_load(Path("params.yaml").read_text())
        for seed in seeds:
            write_params(params | {"split": params["split"] | {"seed": seed}})
            run_stages("split")
            results[OURS].append(run_ours())
            for name, result in run_peers():
                results[name].append(result)
            keras.utils.clear_session()
    return results


def ratios(results: dict[str, list[Result]], name: str, key: str) -> list[float]:
    """Divide a value of a contender by CatBoost's, for each split."""
    return [
        result.value(key) / reference.value(key)
        for result, reference in zip(results[name], results[CATBOOST], strict=True)
    ]


def geometric_mean(values: list[float]) -> float:
    return math.exp(np.mean(np.log(values)))


def print_report(
    by_table: dict[str, dict[str, list[Result]]],
    contenders: list[str],
) -> None:
    """Print the ratios of each table, with their range if there are several splits."""
    for key in COMPARED_VALUES:
        print(
            f"\n{key}, of CatBoost's\n{'':24}"
            + "".join(f"{name:>22}" for name in contenders),
        )
        for table, results in by_table.items():
            cells = []
            for name in contenders:
                each = ratios(results, name, key)
                spread = f" ({min(each):.2f}-{max(each):.2f})" if len(each) > 1 else ""
                cells.append(f"{geometric_mean(each):.3f}{spread}")
            print(f"{table:24}" + "".join(f"{cell:>22}" for cell in cells))
        means = [
            geometric_mean(mean_ratios(by_table, name, key)) for name in contenders
        ]
        print(f"{'geometric mean':24}" + "".join(f"{mean:>22.3f}" for mean in means))
    for name in [*contenders[1:], CATBOOST] if len(by_table) > 1 else []:
        our_ratios, their_ratios = (
            mean_ratios(by_table, n, "error") for n in (OURS, name)
        )
        logs = np.log(np.divide(our_ratios, their_ratios))
        interval = ttest_1samp(logs, 0).confidence_interval()  # of 95 %
        low = np.exp(interval.low)
        high = np.exp(interval.high)
        center = (
            f"median {np.exp(np.median(logs)):.3f}, geometric mean"
            f" {np.exp(np.mean(logs)):.3f}"
        )
        print(f"\nerror, of {name}'s: {center} ({low:.3f}-{high:.3f})", end="")
        print(f", lower on {np.sum(logs < 0)} of {len(logs)} tables", end="")
    print("\n\nmedian of the splits: error, accuracy, ROC AUC, seconds")
    for table, results in by_table.items():
        for name in contenders:
            repeated = results[name]
            numbers = [
                f"{median(result.value('error') for result in repeated):12.5g}",
                *(
                    (
                        f"{np.mean([result.scores[key] for result in repeated]):9.4f}"
                        if key in repeated[0].scores
                        else " " * 9
                    )
                    for key in ("accuracy", "roc_auc")
                ),
                f"{median(result.seconds for result in repeated):9.1f}",
            ]
            print(f"{table:24}{name:22}" + "".join(numbers))

    for table, results in by_table.items():
        scores_of_splits = [result.scores for result in results[OURS]]
        if "coverage" in scores_of_splits[0]:
            coverage = np.mean([scores["coverage"] for scores in scores_of_splits])
            level = scores_of_splits[0]["nominal"]
            print(f"{table:24}{coverage:.1%} of values in intervals of {level:.0%}")


def mean_ratios(
    by_table: dict[str, dict[str, list[Result]]],
    name: str,
    key: str,
) -> list[float]:
    """Return the mean ratio of each table."""
    return [geometric_mean(ratios(results, name, key)) for results in by_table.values()]


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--tables",
        type=Path,
        required=True,
        help="a folder of CSV files",
    )
    parser.add_argument("--only", nargs="*", help="only the tables of these names")
    parser.add_argument("--splits", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about new graphs

    by_table: dict[str, dict[str, list[Result]]] = {}
    for table in load_tables(args.tables):
        if args.only and table.name not in args.only:
            continue
        by_table[table.name] = measure(
            table,
            range(FIRST_SEED, FIRST_SEED + args.splits),
        )
        ours = ratios(by_table[table.name], OURS, "error")
        print(f"{table.name}: {geometric_mean(ours):.3f}", file=sys.stderr, flush=True)
    contenders = [name for name in next(iter(by_table.values())) if name != CATBOOST]
    print_report(by_table, contenders)


if __name__ == "__main__":
    main()
