"""Scores of the pipeline over many random splits, beside scikit-learn and the tutorial's network.

Every contender learns from the same training rows and is scored on the same test rows of each
split. Ours is the stages themselves, run one after the other in this process with params.yaml, only
`split.seed` changed; the tutorial's network is they with its parameters. The seeds of the splits
start where nobody has tuned. A difference is ours minus the peer's on the same split; its 95%
interval is Student's over the splits (they share rows, so it is a little too narrow). Level with a
peer means that the interval reaches the side on which ours is better. Exits 1 below a target.
"""

import io
import json
import logging
import shlex
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import yaml
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks import tutorial
from tabular.evaluation import baselines, scores
from tabular.params.loading import load_params
from tabular.runs.run import merged
from tabular.schema import load_schema
from tabular.table.arrays import labels
from tabular.table.parquet import read_parts

PROJECT = Path(__file__).parents[1]
SCORES = {"accuracy": 0.766, "roc_auc": 0.834, "brier": None}  # the least that ours has to reach
LEVEL = {"accuracy": "all", "roc_auc": "all", "brier": "logistic regression"}  # with which peers
OURS = "this pipeline"


def peers() -> dict[str, Any]:
    """scikit-learn's classifiers, each with the best simple settings on splits of seeds 0 to 19."""
    return {
        "logistic regression": make_pipeline(
            SimpleImputer(), StandardScaler(), LogisticRegression(C=0.1)
        ),
        "random forest": make_pipeline(
            SimpleImputer(strategy="median"),
            RandomForestClassifier(500, min_samples_leaf=5, random_state=1),
        ),
        "gradient boosting": HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=60, max_leaf_nodes=5, random_state=1
        ),
    }


def run_stages(*names: str) -> None:
    """Run stages here and now, as dvc.yaml writes them."""
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in names:
        _, _, module, *arguments = shlex.split(stages[name]["cmd"])
        with patch.object(sys, "argv", [module, *arguments]), redirect_stdout(io.StringIO()):
            import_module(module).main()


def run_pipeline(params: dict[str, Any], *names: str) -> dict[str, float]:
    """The scores of the test rows after a run with these parameters in this folder."""
    Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    run_stages(*names)
    found = [json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("metrics", "scores")]
    return merged(*found)["test"]


def score_peer(estimator: Any) -> dict[str, float]:
    """The scores of an estimator on the test rows of the split in this folder."""
    schema = load_schema()
    threshold = load_params("evaluate", schema=schema).evaluate.threshold
    x, y = baselines.learning_rows(Path("data/split"), schema)
    test = pa.concat_tables(read_parts(Path("data/split/test")))
    x_test, y_test = baselines.feature_frame(test, schema), labels(test, schema)[:, 0]
    predicted = baselines.predict(estimator.fit(x, y), x_test, schema)
    return scores.score(y_test, predicted, schema, threshold)


def contenders(found: dict[str, Any], seeds: range) -> Iterator[tuple[str, dict[str, float]]]:
    """Each contender's scores on each split, as they come."""
    for seed in seeds:
        ours = found | {"split": found["split"] | {"seed": seed}}
        yield OURS, run_pipeline(ours, "split", "train", "evaluate")
        old = ours | {"train": found["train"] | tutorial.PARAMS}
        yield "tutorial's network", run_pipeline(old, "train", "evaluate")
        for name, estimator in peers().items():
            yield name, score_peer(estimator)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the mean of values over splits."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1000)
    args = parser.parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # each run makes graphs of its own
    found = yaml.safe_load((PROJECT / "params.yaml").read_text(encoding="utf-8"))

    table: dict[str, list[dict[str, float]]] = {}
    with TemporaryDirectory() as scratch, chdir(scratch):
        shutil.copytree(PROJECT / "data/raw", "data/raw")
        shutil.copy(PROJECT / "data/schema.yaml", "data")
        Path("params.yaml").write_text(yaml.safe_dump(found), encoding="utf-8")
        run_stages("ingest", "validate")
        for name, score in contenders(found, range(args.first_seed, args.first_seed + args.splits)):
            table.setdefault(name, []).append(score)
    values = {
        name: {key: np.array([row[key] for row in rows]) for key in SCORES}
        for name, rows in table.items()
    }

    print(f"Means over {args.splits} splits, seeds from {args.first_seed}")
    print(f"{'':22}" + "".join(f"{key:>10}" for key in SCORES))
    for name, columns in values.items():
        print(f"{name:22}" + "".join(f"{column.mean():10.4f}" for column in columns.values()))

    short = 0
    for key, least in SCORES.items():
        print(f"\n{key}")
        if least is not None:
            mean = values[OURS][key].mean()
            short += mean < least
            verdict = "pass" if mean >= least else "FAIL"
            print(f"{verdict}  {'mean':30}{mean:8.4f}  at least {least}")
        for name in list(values)[1:]:
            difference = values[OURS][key] - values[name][key]
            low, high = interval(difference)
            level = low <= 0 if key == "brier" else high >= 0
            counts = LEVEL[key] in ("all", name)
            short += counts and not level
            verdict = "" if not counts else "pass" if level else "FAIL"
            print(
                f"{verdict:4}  {f'less {name}':30}{difference.mean():+8.4f}  "
                f"({low:+.4f} to {high:+.4f})"
            )
    if short:
        sys.exit(f"\n{short} targets missed")


if __name__ == "__main__":
    main()
