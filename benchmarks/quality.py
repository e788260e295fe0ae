"""Compare errors and times on many tables with linear models, boosted trees, LightGBM and CatBoost.

Each table goes through the pipeline as a newcomer runs it: `infer_schema`, then the stages with
the defaults of params.yaml, except that a failed check only warns. The other models have their
default settings (LightGBM and CatBoost with 1,000 rounds) and are trained on the same rows. All are
scored on the same test rows of several random splits. The error is the root mean squared error for
regression, and the cross-entropy for classes; for two classes, 1 - ROC AUC is shown too. Errors are
divided by CatBoost's, and the ratios are averaged geometrically. Seconds are those of the stage
train in this process, including compilation but not imports, and those of `fit`. For regression,
the coverage of the prediction intervals is shown.

    pip install -r requirements/benchmarks.txt
    python -m benchmarks.quality --tables FOLDER

The target of a CSV file in the folder is the column that the folder's README.md names, in a table
with the headings `file` and `target`; otherwise it is the last column. Without a folder, the tables
of scikit-learn are used, and with --openml the tables of these names from openml.org.
"""

import io
import json
import logging
import math
import re
import shlex
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
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
import vl_convert
import yaml
from scipy.stats import ttest_1samp
from sklearn import datasets

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.evaluation import baselines, scores
from keras_tabular.report.vega import VEGA_LITE
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import read_parts

PROJECT = Path(__file__).parents[1]
OURS, CATBOOST = "this pipeline", "CatBoost"
# The names of the baselines in the report.
SIMPLE_MODELS = {"linear": "linear model", "gradient_boosting": "gradient boosting"}
SCIKIT_LEARN_TABLES = ("diabetes", "breast_cancer", "wine", "digits")
COMPARED_VALUES = ("error", "1 - ROC AUC", "seconds")


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
        """Return one of `COMPARED_VALUES`, or NaN if there is no such value or no error at all."""
        if key == "seconds":
            return self.seconds
        if key == "error":
            return self.scores.get("rmse", self.scores["loss"])
        return (1 - self.scores.get("roc_auc", math.nan)) or math.nan  # 0 has no ratio


def add_table_arguments(parser: ArgumentParser, splits: int) -> None:
    """Add the arguments of `load_tables`, and those of the random splits of each table."""
    add = parser.add_argument
    add("--tables", type=Path, help="a folder of CSV files; else those of scikit-learn")
    add("--openml", nargs="*", help="names of tables at openml.org, which needs a network")
    add("--only", nargs="*", help="only the tables of these names")
    add("--splits", type=int, default=splits)
    add("--first-seed", type=int, default=1000)


def load_tables(args: Namespace, scratch: Path) -> Iterator[Table]:
    """Yield the tables that the arguments select."""
    tables = read_tables(args, scratch)
    return (table for table in tables if not args.only or table.name in args.only)


def read_tables(args: Namespace, scratch: Path) -> Iterator[Table]:
    if args.tables:
        readme = args.tables / "README.md"
        targets = read_targets(readme.read_text()) if readme.is_file() else {}
        for path in sorted(args.tables.glob("*.csv*")):
            last = pd.read_csv(path, nrows=0).columns[-1]
            yield Table(path, targets.get(path.name, last))
        return
    for name in args.openml or SCIKIT_LEARN_TABLES:
        if args.openml:
            dataset = datasets.fetch_openml(name, as_frame=True)
        else:
            dataset = getattr(datasets, f"load_{name}")(as_frame=True)
        dataset.frame.to_csv(scratch / f"{name}.csv", index=False)
        yield Table(scratch / f"{name}.csv", dataset.target.name)


def read_targets(readme: str) -> dict[str, str]:
    """Read the target of each file from the table with the headings `file` and `target`."""
    lines = [
        [cell.strip(" `") for cell in line.strip().strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    headings = [line for line in lines if {"file", "target"} <= set(line)]
    if not headings:
        return {}
    file, target = headings[0].index("file"), headings[0].index("target")
    return {line[file]: line[target] for line in lines if len(line) == len(headings[0])}


def run_stages(*names: str) -> float:
    """Run stages in this process with their arguments in dvc.yaml, and return the seconds."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    start = time.perf_counter()
    for name in names:
        _, _, module, *arguments = shlex.split(stages[name]["cmd"])
        run_module(module, *arguments)
    return time.perf_counter() - start


def run_module(module: str, *arguments: str) -> None:
    with patch.object(sys, "argv", [module, *arguments]), redirect_stdout(io.StringIO()):
        import_module(module).main()


def create_project(table: Table) -> None:
    """Create a project for a table in the current folder, and run ingest and validate."""
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
        run_module("keras_tabular.cli", "infer-schema", str(raw), "--target", table.target)
    run_stages("ingest", "validate")


def write_params(params: dict[str, Any]) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def run_ours() -> Result:
    """Train and evaluate on the split in the current folder."""
    seconds = run_stages("train")
    run_stages("calibrate", "evaluate")
    rows, schema = pa.concat_tables(read_parts(Path("data/predictions"))), load_schema()
    first = "probability_" if schema.classes else "predicted"
    outputs = np.column_stack([rows[name] for name in rows.column_names if name.startswith(first)])
    y = labels(pa.table({schema.target: rows["actual"]}), schema)[:, 0]
    content = json.loads(Path("metrics/scores.json").read_text()).get("interval_coverage", {})
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
    simple_models = {SIMPLE_MODELS[name]: estimator for name, estimator in estimators.items()}
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
    x: pd.DataFrame, name: str, categories: dict[str, pd.CategoricalDtype], texts: list[str]
) -> Any:
    """Fill missing texts for CatBoost; LightGBM gets coded categories and simple column names."""
    if name == CATBOOST:
        return x.assign(**{column: x[column].fillna("") for column in categories})
    if name == "LightGBM":
        frame = x.drop(columns=texts).assign(
            **{
                column: pd.Categorical.from_codes(
                    kind.categories.get_indexer(x[column]), dtype=kind
                )
                for column, kind in categories.items()
            }
        )
        return frame.set_axis([f"x{number}" for number in range(frame.shape[1])], axis=1)
    return x


def run_peers() -> Iterator[tuple[str, Result]]:
    """Train the other models on the split in the current folder, and yield their results."""
    schema = load_schema()
    x, y, _ = baselines.read_training_rows(Path("data/split"), schema, sys.maxsize)
    test = pa.concat_tables(read_parts(Path("data/split/test")))
    x_test, y_test = baselines.feature_frame(test, schema), labels(test, schema)[:, 0]
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
    return math.exp(np.mean(np.log(values))) if values else math.nan


def print_report(by_table: dict[str, dict[str, list[Result]]], contenders: list[str]) -> None:
    """Print the ratios of each table, with their range if there are several splits."""
    for key in COMPARED_VALUES:
        print(f"\n{key}, of CatBoost's\n{'':24}" + "".join(f"{name:>22}" for name in contenders))
        for table, results in by_table.items():
            cells = []
            for name in contenders:
                each = ratios(results, name, key)
                spread = f" ({min(each):.2f}-{max(each):.2f})" if len(each) > 1 else ""
                # The sum is NaN if a ratio is missing.
                cells.append(f"{geometric_mean(each):.3f}{spread}" if sum(each) > 0 else "–")
            print(f"{table:24}" + "".join(f"{cell:>22}" for cell in cells))
        means = [geometric_mean(mean_ratios(by_table, name, key)) for name in contenders]
        print(f"{'geometric mean':24}" + "".join(f"{mean:>22.3f}" for mean in means))
    for name in [*contenders[1:], CATBOOST] if len(by_table) > 1 else []:
        our_ratios, their_ratios = (mean_ratios(by_table, n, "error") for n in (OURS, name))
        logs = np.log(np.divide(our_ratios, their_ratios))
        low, high = np.exp(ttest_1samp(logs, 0).confidence_interval())  # of 95 %
        center = f"median {np.exp(np.median(logs)):.3f}, geometric mean {np.exp(np.mean(logs)):.3f}"
        print(f"\nerror, of {name}'s: {center} ({low:.3f}-{high:.3f})", end="")
        print(f", lower on {np.sum(logs < 0)} of {len(logs)} tables", end="")
    print("\n\nmedian of the splits: error, accuracy, ROC AUC, seconds")
    for table, results in by_table.items():
        for name in contenders:
            repeated = results[name]
            numbers = [
                f"{median(result.value('error') for result in repeated):12.5g}",
                *(
                    f"{np.mean([result.scores[key] for result in repeated]):9.4f}"
                    if key in repeated[0].scores
                    else " " * 9
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


def mean_ratios(by_table: dict[str, dict[str, list[Result]]], name: str, key: str) -> list[float]:
    """Return the mean ratio of each table that has this value."""
    each = [geometric_mean(ratios(results, name, key)) for results in by_table.values()]
    return [ratio for ratio in each if not math.isnan(ratio)]


def draw_picture(by_table: dict[str, dict[str, list[Result]]], contenders: list[str]) -> str:
    """Draw error and time relative to CatBoost: small dots for tables, a large dot for the mean."""
    tables = {table: {table: results} for table, results in by_table.items()} | {"all": by_table}
    rows: list[dict[str, Any]] = [
        {
            "contender": name,
            "error": geometric_mean(mean_ratios(results, name, "error")),
            "time": geometric_mean(mean_ratios(results, name, "seconds")),
            "size": 220 if table == "all" else 30,
        }
        for table, results in tables.items()
        for name in contenders
    ]
    rows.append({"contender": "CatBoost", "error": 1, "time": 1, "size": 220})
    axis = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 12}}
    spec = {
        "width": 460,
        "height": 320,
        "data": {"values": rows},
        "mark": {"type": "point", "filled": True, "opacity": 0.75},
        "encoding": {
            "x": {"field": "time", "title": "Time, of CatBoost's", **axis},
            "y": {"field": "error", "title": "Error, of CatBoost's (lower is better)", **axis},
            "color": {"field": "contender", "type": "nominal", "title": None, "sort": None},
            "size": {"field": "size", "type": "quantitative", "scale": None},
        },
    }
    return re.sub(r"\s+\n", "\n", vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    add_table_arguments(parser, splits=3)
    parser.add_argument("--picture", type=Path, default="quality.svg", help="the SVG file to write")
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about new graphs

    by_table: dict[str, dict[str, list[Result]]] = {}
    with TemporaryDirectory() as scratch:
        for table in load_tables(args, Path(scratch)):
            seeds = range(args.first_seed, args.first_seed + args.splits)
            by_table[table.name] = measure(table._replace(path=table.path.resolve()), seeds)
            ours = ratios(by_table[table.name], OURS, "error")
            print(f"{table.name}: {geometric_mean(ours):.3f}", file=sys.stderr, flush=True)
    contenders = [name for name in next(iter(by_table.values())) if name != CATBOOST]
    print_report(by_table, contenders)
    args.picture.write_text(draw_picture(by_table, contenders), encoding="utf-8")


if __name__ == "__main__":
    main()
