"""Compare errors and times on many tables with those of other libraries.

Each table goes through the pipeline as a newcomer runs it: `infer_schema`, then the
stages with the defaults of params.yaml, except that a failed check only warns. The
baselines are those of the stage evaluate. The other libraries are trained on the same
rows. LightGBM and CatBoost have their default settings and 1,000 rounds. "Ten
CatBoosts" are each trained on nine of ten folds of these rows, with at most 2,000
rounds, and stop early on the held-out fold. Their predictions are averaged. RealMLP is
a single network of pytabkit with its defaults, on tables of up to 2,500 rows. It
accepts no missing numbers, which are replaced by the mean.

All are scored on the same test rows of several random splits. The error is the root
mean squared error for regression, and the cross-entropy for classes. The errors of this
pipeline are divided by those of each other method, and the ratios are averaged
geometrically. `time_train_s` is a CPU time in seconds: that of the stage train in this
process, including compilation but not imports, and that of `fit` with one thread. The
baselines have none.

    pip install -r requirements/benchmarks.txt
    pip install pytabkit  # optional: without it, there is no RealMLP
    python -m benchmarks.quality --tables FOLDER --csv FILE
    python -m benchmarks.quality --read FILE  # the ratios of an earlier run

The target of a CSV file in the folder is the column that the folder's README.md names,
in a table with the headings `file` and `target`; otherwise it is the last column.
"""

import io
import logging
import shlex
import shutil
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from scipy.stats import ttest_1samp
from sklearn.model_selection import check_cv

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.evaluation import baselines
from keras_tabular.evaluation.records import MODEL, read_scores
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import read_parts
from keras_tabular.tasks.task import Task

PROJECT = Path(__file__).parents[1]
OURS = "this pipeline"
LIGHTGBM = "LightGBM"
CATBOOST = "CatBoost"
TEN_CATBOOSTS = "ten CatBoosts"
REALMLP = "RealMLP"
# The models that the stage evaluate scores, by their names in the report.
SCORED_MODELS = {
    OURS: MODEL,
    "linear model": "linear",
    "gradient boosting": "gradient_boosting",
}
COMPARED_COLUMNS = ("metric_error", "time_train_s")
EARLY_STOPPING_ROUNDS = 100
# Those of a table of 2,500 rows. With one thread, larger tables may take minutes.
MAX_TRAINING_ROWS_FOR_REALMLP = 1700
FIRST_SEED = 1000  # of the splits


class Table(NamedTuple):
    """A CSV file and the column to predict."""

    path: Path
    target: str

    @property
    def name(self) -> str:
        return self.path.name.partition(".")[0]


class Row(NamedTuple):
    """Scores and training time of one method on one split of a table."""

    method: str
    task: str
    split: int
    metric_error: float
    time_train_s: float
    accuracy: float
    roc_auc: float


# Name of a method, its scores by metric, and the CPU time of its training in seconds.
Result = tuple[str, dict[str, float], float]


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


def run_stages(*names: str) -> None:
    """Run stages as dvc.yaml does, in this process."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))[
        "stages"
    ]
    for name in names:
        _, _, module, *arguments = shlex.split(stages[name]["cmd"])
        run_module(module, *arguments)


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


def run_ours() -> Iterator[Result]:
    """Train and evaluate on the split in the current folder; yield the results."""
    start = time.process_time()
    run_stages("train")
    seconds = time.process_time() - start
    run_stages("calibrate", "evaluate")
    evaluation = read_scores(Path("metrics"))
    for method, model in SCORED_MODELS.items():
        scores = {
            record.metric: record.value
            for record in evaluation.scores
            if (record.row_set, record.model) == ("test", model)
        }
        yield method, scores, seconds if model == MODEL else nan


def build_peers(schema: Schema, n_rows: int) -> dict[str, Any]:
    """Build the other models. They are trained on the data frame of `feature_frame`."""
    import catboost
    import lightgbm

    suffix = "Classifier" if schema.classes else "Regressor"
    build_lightgbm = getattr(lightgbm, f"LGBM{suffix}")
    build_catboost = getattr(catboost, f"CatBoost{suffix}")
    categories, texts = (
        [name for name, column in schema.features.items() if column.kind == kind]
        for kind in ("category", "text")
    )
    settings = {
        "cat_features": categories,
        "text_features": texts,
        "verbose": 0,
        "random_seed": 1,
        "thread_count": 1,
        "allow_writing_files": False,
    }
    peers = {
        LIGHTGBM: build_lightgbm(
            n_estimators=1000,
            verbose=-1,
            random_state=1,
            n_jobs=1,
        ),
        CATBOOST: build_catboost(iterations=1000, **settings),
        TEN_CATBOOSTS: build_catboost(iterations=2000, **settings),
    }
    if find_spec("pytabkit") and n_rows <= MAX_TRAINING_ROWS_FOR_REALMLP:
        build_realmlp = getattr(import_module("pytabkit"), f"RealMLP_TD_{suffix}")
        peers[REALMLP] = build_realmlp(device="cpu", n_threads=1, random_state=1)
    return peers


def adapt_frame(
    x: pd.DataFrame,
    name: str,
    categories: dict[str, pd.CategoricalDtype],
    texts: list[str],
    means: pd.Series,
) -> Any:
    """Prepare the columns for a library."""
    filled = x.assign(**{column: x[column].fillna("") for column in categories})
    if name in (CATBOOST, TEN_CATBOOSTS):
        return filled
    if name != LIGHTGBM:
        return filled.drop(columns=texts).fillna(means)
    frame = x.drop(columns=texts).assign(
        **{
            column: pd.Categorical.from_codes(
                kind.categories.get_indexer(pd.Index(x[column])),
                dtype=kind,
            )
            for column, kind in categories.items()
        },
    )
    return frame.set_axis([f"x{number}" for number in range(frame.shape[1])], axis=1)


def fit_on_folds(model: Any, x: pd.DataFrame, y: np.ndarray, task: Task) -> list[Any]:
    """Train ten models of CatBoost, each without a fold, on which it stops early."""
    if task.classes:  # nine folds may lack a class
        model.set_params(class_names=np.unique(y))
    folds = check_cv(10, y, classifier=bool(task.classes))
    return [
        model.copy().fit(
            x.iloc[training],
            y[training],
            eval_set=(x.iloc[held_out], y[held_out]),
            early_stopping_rounds=EARLY_STOPPING_ROUNDS,
        )
        for training, held_out in folds.split(x, y)
    ]


def run_peers() -> Iterator[Result]:
    """Train the other models on the split in this folder; yield the results."""
    schema = load_schema()
    task = schema.learning_task
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
    means = x.mean(numeric_only=True)
    for name, model in build_peers(schema, len(x)).items():
        rows = adapt_frame(x, name, categories, texts, means)
        start = time.process_time()
        if name == TEN_CATBOOSTS:
            models = fit_on_folds(model, rows, y, task)
        else:
            models = [model.fit(rows, y)]
        seconds = time.process_time() - start
        rows = adapt_frame(x_test, name, categories, texts, means)
        y_pred = np.mean([baselines.predict(m, rows, task) for m in models], axis=0)
        yield (
            name,
            score(Predictions(task, y_test, y_pred, np.ones(len(x_test)))),
            seconds,
        )


def measure(table: Table, seeds: range) -> Iterator[Row]:
    """Yield the scores of every method on each split of a table."""
    from keras_tabular.network.backend import keras

    with TemporaryDirectory() as folder, chdir(folder):
        create_project(table)
        params = yaml.safe_load(Path("params.yaml").read_text())
        for seed in seeds:
            write_params(params | {"split": params["split"] | {"seed": seed}})
            run_stages("split")
            for method, scores, seconds in chain(run_ours(), run_peers()):
                values = [scores.get(name, nan) for name in Row._fields[-2:]]
                error = scores.get("rmse", scores["loss"])
                yield Row(method, table.name, seed, error, seconds, *values)
            keras.utils.clear_session()


def print_report(frame: pd.DataFrame) -> None:
    """Print the ratios of each table and of all tables, and the means of the splits."""
    for column in COMPARED_COLUMNS:
        values = frame.pivot(index=["task", "split"], columns="method", values=column)
        logs = values.apply(np.log).dropna(axis=1, how="all")
        tables = logs.drop(columns=OURS).rsub(logs[OURS], axis=0).groupby("task")
        ratios = tables.mean()
        ratios = ratios[ratios.mean().sort_values(ascending=False).index]
        report = ratios.assign(
            lowest=tables[TEN_CATBOOSTS].min(),
            highest=tables[TEN_CATBOOSTS].max(),
        )
        print(f"\n{column} of {OURS}, divided by that of another method, and the range")
        print(f"over the splits of that divided by that of {TEN_CATBOOSTS}")
        print(report.apply(np.exp).round(3).to_string(na_rep=""))
        if len(ratios) == 1:
            continue
        interval = ttest_1samp(ratios, 0, nan_policy="omit").confidence_interval()
        report = pd.DataFrame(
            {
                "median": ratios.median(),
                "geometric mean": ratios.mean(),
                "low": interval.low,  # of the 95 % interval
                "high": interval.high,
            },
        )
        report = report.apply(np.exp).round(3)
        report = report.assign(lower_on=(ratios < 0).sum(), tables=ratios.count())
        print(f"\nthe same for all tables\n{report.to_string()}")
    means = frame.drop(columns="split").groupby(["task", "method"], sort=False).mean()
    print(f"\nmeans of the splits\n{means.to_string(na_rep='')}")


def main() -> None:
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tables", type=Path, help="a folder of CSV files")
    source.add_argument("--read", type=Path, help="a file that --csv wrote")
    parser.add_argument("--only", nargs="*", help="only the tables of these names")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument(
        "--csv",
        type=Path,
        help="add the results to this file as they are measured",
    )
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns about new graphs

    if args.read:
        frame = pd.read_csv(args.read)
        print_report(frame[frame["task"].isin(args.only or frame["task"])])
        return
    path = args.csv and args.csv.absolute()  # each table has a folder of its own
    rows: list[Row] = []
    for table in load_tables(args.tables):
        if args.only and table.name not in args.only:
            continue
        for row in measure(table, range(FIRST_SEED, FIRST_SEED + args.splits)):
            rows.append(row)
            print(*row, file=sys.stderr, flush=True)
            if path:
                pd.DataFrame([row]).to_csv(
                    path,
                    mode="a",
                    header=not path.exists(),
                    index=False,
                    float_format="%.9g",
                )
    print_report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
