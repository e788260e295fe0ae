"""Errors and times on many tables, beside linear models, boosted trees, LightGBM and CatBoost.

Each table goes through the pipeline as a newcomer would run it: `infer_schema`, then the stages
with params.yaml as it is, only that a check warns instead of ending the run. The peers have their
default settings (LightGBM and CatBoost 1,000 rounds) and learn from the same rows; all are scored
on the same test rows of several random splits. The error is the root mean squared error, or the
cross-entropy of classes, and beside it 1 - ROC AUC of two classes; errors are ratios to CatBoost's,
averaged geometrically. Seconds are those of the stage train in this process, compiling included and
imports not, beside those of `fit`. Of a regression it says how many values its intervals hold.

    pip install -r requirements/benchmarks.txt
    python -m benchmarks.quality --tables FOLDER

A CSV of the folder is predicted by the column that the folder's README.md names in a table with the
headings `file` and `target`, or by its last column. Without a folder it takes the tables that come
with scikit-learn, and with --openml those of these names from openml.org.
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
from sklearn import datasets

from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.core.metrics import BASELINES, TASKS
from keras_tabular.evaluation import baselines, scores
from keras_tabular.report.vega import VEGA_LITE
from keras_tabular.table.arrays import labels
from keras_tabular.table.parquet import read_parts

PROJECT = Path(__file__).parents[1]
OURS, CATBOOST = "this pipeline", "CatBoost"
SHIPPED = ("diabetes", "breast_cancer", "wine", "digits")
SHOWN = ("error", "1 - ROC AUC", "seconds")


class Table(NamedTuple):
    """A CSV file and the column to predict."""

    path: Path
    target: str

    @property
    def name(self) -> str:
        return self.path.name.partition(".")[0]


class Result(NamedTuple):
    """Of one contender on one split."""

    scores: dict[str, float]
    seconds: float

    def value(self, key: str) -> float:
        """A number of `SHOWN`; NaN where the table has none."""
        if key == "seconds":
            return self.seconds
        if key == "error":
            return self.scores.get("rmse", self.scores["loss"])
        return 1 - self.scores.get("roc_auc", math.nan)


def tables(args: Namespace, scratch: Path) -> Iterator[Table]:
    """The tables that were asked for."""
    if args.tables:
        readme = args.tables / "README.md"
        targets = named_targets(readme.read_text()) if readme.is_file() else {}
        for path in sorted(args.tables.glob("*.csv*")):
            last = pd.read_csv(path, nrows=0).columns[-1]
            yield Table(path, targets.get(path.name, last))
        return
    for name in args.openml or SHIPPED:
        if args.openml:
            found = datasets.fetch_openml(name, as_frame=True)
        else:
            found = getattr(datasets, f"load_{name}")(as_frame=True)
        found.frame.to_csv(scratch / f"{name}.csv", index=False)
        yield Table(scratch / f"{name}.csv", found.target.name)


def named_targets(readme: str) -> dict[str, str]:
    """The targets by file in the Markdown table that has the headings `file` and `target`."""
    lines = [
        [cell.strip(" `") for cell in line.strip().strip("|").split("|")]
        for line in readme.splitlines()
        if line.startswith("|")
    ]
    heads = [line for line in lines if {"file", "target"} <= set(line)]
    if not heads:
        return {}
    file, target = heads[0].index("file"), heads[0].index("target")
    return {line[file]: line[target] for line in lines if len(line) == len(heads[0])}


def run_stages(*names: str) -> float:
    """Run stages here and now, as dvc.yaml writes them; the seconds that they take."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    start = time.perf_counter()
    for name in names:
        _, _, module, *arguments = shlex.split(stages[name]["cmd"])
        run_module(module, *arguments)
    return time.perf_counter() - start


def run_module(module: str, *arguments: str) -> None:
    with patch.object(sys, "argv", [module, *arguments]), redirect_stdout(io.StringIO()):
        import_module(module).main()


def prepare(table: Table) -> None:
    """Put a table into this folder: schema, params, ingested and validated."""
    raw = Path("data/raw") / table.path.name
    raw.parent.mkdir(parents=True)
    shutil.copy(table.path, raw)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["validate"] |= {
        key: "warn" for key, policy in params["validate"].items() if policy == "error"
    }
    params["validate"]["missing"] = "drop"  # rows without a target
    params["gate"], params["search"]["space"] = {}, {}
    write_params(params)
    ours = load_schema(PROJECT / "data/schema.yaml")
    if Path(ours.source).name == raw.name and ours.target == table.target:
        shutil.copy(PROJECT / "data/schema.yaml", "data/schema.yaml")
    else:
        run_module("keras_tabular.cli.infer_schema", str(raw), "--target", table.target)
    run_stages("ingest", "validate")


def write_params(params: dict[str, Any]) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def run_ours() -> Result:
    """The pipeline on the split in this folder."""
    seconds = run_stages("train")
    run_stages("calibrate", "evaluate")
    rows = pa.concat_tables(read_parts(Path("data/predictions")))
    outputs = np.column_stack([rows[name] for name in rows.column_names if name != "actual"])
    held = json.loads(Path("metrics/scores.json").read_text()).get("interval", {})
    scored = score(rows["actual"].to_numpy(), outputs) | {
        key: held[key] for key in ("asked", "coverage") if key in held
    }
    return Result(scored, seconds)


def score(y: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    predictions = scores.Predictions(y, outputs, np.ones(len(y)))
    return {key: of.value for key, of in scores.score(predictions, load_schema()).items()}


def peers(schema: Schema) -> dict[str, Any]:
    """What the pipeline is measured beside: estimators, which take a frame as `feature_frame`."""
    from catboost import CatBoostClassifier, CatBoostRegressor
    from lightgbm import LGBMClassifier, LGBMRegressor

    names = TASKS[schema.task].baselines
    estimators = baselines.baselines(schema, "auto")
    found = {BASELINES[name]: estimators[name] for name in names.values()}
    regression = schema.task == "regression"
    lightgbm = LGBMRegressor if regression else LGBMClassifier
    catboost = CatBoostRegressor if regression else CatBoostClassifier
    categories, texts = (
        [name for name, column in schema.features.items() if column.kind == kind]
        for kind in ("category", "text")
    )
    return found | {
        "LightGBM": lightgbm(n_estimators=1000, verbose=-1, random_state=1),
        CATBOOST: catboost(
            cat_features=categories,
            text_features=texts,
            verbose=0,
            random_seed=1,
            allow_writing_files=False,
        ),
    }


def as_peers_read(
    x: pd.DataFrame, name: str, known: dict[str, pd.CategoricalDtype], texts: list[str]
) -> Any:
    """CatBoost takes texts without gaps, LightGBM the categories of training by plain names."""
    if name == CATBOOST:
        return x.assign(**{column: x[column].fillna("") for column in known})
    if name == "LightGBM":
        frame = x.drop(columns=texts).assign(
            **{
                column: pd.Categorical.from_codes(
                    kind.categories.get_indexer(x[column]), dtype=kind
                )
                for column, kind in known.items()
            }
        )
        return frame.set_axis([f"x{number}" for number in range(frame.shape[1])], axis=1)
    return x


def run_peers() -> Iterator[tuple[str, Result]]:
    """Each peer on the split in this folder."""
    schema = load_schema()
    x, y, _ = baselines.training_frame(Path("data/split"), schema, sys.maxsize)
    test = pa.concat_tables(read_parts(Path("data/split/test")))
    x_test, y_test = baselines.feature_frame(test, schema), labels(test, schema)[:, 0]
    known = {
        name: pd.CategoricalDtype(sorted(x[name].dropna().unique()))
        for name, column in schema.features.items()
        if column.kind == "category"
    }
    texts = [name for name, column in schema.features.items() if column.kind == "text"]
    for name, estimator in peers(schema).items():
        rows = as_peers_read(x, name, known, texts)
        start = time.perf_counter()
        fitted = estimator.fit(rows, y)
        seconds = time.perf_counter() - start
        predicted = baselines.predict(fitted, as_peers_read(x_test, name, known, texts), schema)
        yield name, Result(score(y_test, predicted), seconds)


def measure(table: Table, seeds: range) -> dict[str, list[Result]]:
    """The results of every contender on each split of a table, in a folder of its own."""
    from keras_tabular.networks.backend import keras

    results: dict[str, list[Result]] = defaultdict(list)
    with TemporaryDirectory() as folder, chdir(folder):
        prepare(table)
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
    """A contender's number as a ratio to CatBoost's, for each split."""
    return [
        mine.value(key) / other.value(key)
        for mine, other in zip(results[name], results[CATBOOST], strict=True)
    ]


def geometric_mean(values: list[float]) -> float:
    return math.exp(np.mean(np.log(values))) if values else math.nan


def report(found: dict[str, dict[str, list[Result]]], contenders: list[str]) -> None:
    """Print a line for each table: the ratios and, of more splits, their lowest and highest."""
    for key in SHOWN:
        print(f"\n{key}, of CatBoost's\n{'':24}" + "".join(f"{name:>22}" for name in contenders))
        for table, results in found.items():
            cells = []
            for name in contenders:
                each = ratios(results, name, key)
                spread = f" ({min(each):.2f}-{max(each):.2f})" if len(each) > 1 else ""
                cells.append("–" if math.isnan(each[0]) else f"{geometric_mean(each):.3f}{spread}")
            print(f"{table:24}" + "".join(f"{cell:>22}" for cell in cells))
        means = [geometric_mean(overall(found, name, key)) for name in contenders]
        print(f"{'geometric mean':24}" + "".join(f"{mean:>22.3f}" for mean in means))
    for name in contenders[1:]:
        mine, other = (overall(found, of, "error") for of in (OURS, name))
        ahead = sum(a < b for a, b in zip(mine, other, strict=True))
        print(f"\nahead of {name} on {ahead} of {len(found)} tables", end="")
    print("\n\nmedian of the splits: error, accuracy, ROC AUC, seconds")
    for table, results in found.items():
        for name in contenders:
            of = results[name]
            numbers = [
                f"{median(result.value('error') for result in of):12.5g}",
                *(
                    f"{np.mean([r.scores[key] for r in of]):9.4f}"
                    if key in of[0].scores
                    else " " * 9
                    for key in ("accuracy", "roc_auc")
                ),
                f"{median(result.seconds for result in of):9.1f}",
            ]
            print(f"{table:24}{name:22}" + "".join(numbers))

    for table, results in found.items():
        if held := [result.scores for result in results[OURS] if "coverage" in result.scores]:
            coverage = np.mean([of["coverage"] for of in held])
            print(f"{table:24}{coverage:.1%} of values in intervals of {held[0]['asked']:.0%}")


def overall(found: dict[str, dict[str, list[Result]]], name: str, key: str) -> list[float]:
    """The mean ratio of each table that has this number."""
    each = [geometric_mean(ratios(results, name, key)) for results in found.values()]
    return [ratio for ratio in each if not math.isnan(ratio)]


def picture(found: dict[str, dict[str, list[Result]]], contenders: list[str]) -> str:
    """Error against time, both as ratios to CatBoost: a small dot a table, a large one the mean."""
    tables = {table: {table: results} for table, results in found.items()} | {"all": found}
    rows: list[dict[str, Any]] = [
        {
            "contender": name,
            "error": geometric_mean(overall(of, name, "error")),
            "time": geometric_mean(overall(of, name, "seconds")),
            "size": 220 if table == "all" else 30,
        }
        for table, of in tables.items()
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
    add = parser.add_argument
    add("--tables", type=Path, help="a folder of CSV files; else those of scikit-learn")
    add("--openml", nargs="*", help="names of tables at openml.org, which needs a network")
    add("--only", nargs="*", help="the tables of these names alone")
    add("--splits", type=int, default=3)
    add("--first-seed", type=int, default=1000)
    add("--picture", type=Path, default="quality.svg", help="the SVG file to write")
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # each run makes graphs of its own

    found: dict[str, dict[str, list[Result]]] = {}
    with TemporaryDirectory() as scratch:
        for table in tables(args, Path(scratch)):
            if args.only and table.name not in args.only:
                continue
            seeds = range(args.first_seed, args.first_seed + args.splits)
            found[table.name] = measure(table._replace(path=table.path.resolve()), seeds)
            ours = ratios(found[table.name], OURS, "error")
            print(f"{table.name}: {geometric_mean(ours):.3f}", file=sys.stderr, flush=True)
    linear, constant = "linear model", "constant"
    names = {BASELINES[task.baselines["linear"]]: linear for task in TASKS.values()}
    names |= {BASELINES[task.baselines["constant"]]: constant for task in TASKS.values()}
    found = {
        table: {names.get(name, name): of for name, of in results.items()}
        for table, results in found.items()
    }
    contenders = [name for name in next(iter(found.values())) if name not in (constant, CATBOOST)]
    report(found, contenders)
    args.picture.write_text(picture(found, contenders), encoding="utf-8")


if __name__ == "__main__":
    main()
