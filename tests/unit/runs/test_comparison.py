"""A comparison is plain rows: scores, parameters and differences of the table."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tabular.evaluation.uncertainty import Difference
from tabular.report.formats import signed
from tabular.runs.comparison import (
    Change,
    Changed,
    Score,
    change,
    changes,
    compare,
    compare_scores,
    paired_differences,
    standings,
)
from tabular.runs.git import WORKSPACE, resolve
from tabular.runs.run import Run
from tests.unit.runs.conftest import FILES, SCHEMA, write_run


@pytest.mark.parametrize(
    ("value", "other", "greater_is_better", "paired", "said"),
    [
        (0.8, 0.75, True, None, "+0.0500 better"),
        (0.8, 0.75, False, None, "+0.0500 worse"),
        (0.1, 0.25, False, None, "−0.1500 better"),
        (0.1, 0.25, None, None, "−0.1500"),
        (0.75001, 0.75, True, None, "same"),
        (123456.4, 123456.0, False, None, "same"),
        (0.8, None, True, None, "–"),
        (None, 0.8, True, None, "–"),
        (0.8, 0.75, True, Difference(0.05, 0.01, 0.09), "+0.05 better (0.01 to 0.09)"),
        (0.8, 0.75, True, Difference(0.05, -0.01, 0.11), "+0.05 within chance (−0.01 to 0.11)"),
        (0.8, 0.8, True, Difference(0.0, 0.0, 0.0), "same"),
    ],
)
def test_better_and_worse_are_words(
    value: float | None,
    other: float | None,
    greater_is_better: bool | None,
    paired: Difference | None,
    said: str,
) -> None:
    assert signed(change(value, other, greater_is_better, paired)) == said


def test_scores_stand_beside_those_of_the_base_and_of_the_baselines(project: Path) -> None:
    apart = {"difference": 0.25, "low": 0.1, "high": 0.4}
    scores = {
        "test": {
            **{"accuracy": 0.875, "accuracy_low": 0.85, "accuracy_high": 0.95, "rows": 254},
            **{"loss": 0.5, "macro": {"f1": 0.5}, "new_score": 3},
        },
        "cross_validation": {"accuracy": 0.5, "rows": 514},
        "baseline": {
            "majority": {"accuracy": 0.625, "rows": 254},
            "logistic_regression": {
                **{"loss": 0.2, "precision": 0.5},
                "cross_validation": {"accuracy": 0.75},
            },
        },
        "paired_difference": {"test": {"majority": {"accuracy": apart}}},
    }
    write_run(project, scores)
    run, base = Run(WORKSPACE, FILES), Run(resolve("HEAD"), FILES)
    test = compare_scores(run.scores, base.scores, "test", {})
    assert list(test.by_key) == ["accuracy", "precision", "loss", "macro.f1", "new_score"]
    assert test.by_key["accuracy"] == Score(
        key="accuracy",
        label="Accuracy",
        average="",
        value=0.875,
        interval=(0.85, 0.95),
        base=Change(0.75, 0.125, "better"),
        baselines={
            "logistic_regression": None,
            "majority": Change(0.625, 0.25, "better", (0.1, 0.4)),
        },
    )
    loss, f1, new = (test.by_key[key] for key in ("loss", "macro.f1", "new_score"))
    assert loss.base == Change(0.25, 0.25, "worse")
    assert (f1.label, f1.average, f1.base) == ("F1", "each class alike", None)
    assert (new.label, new.average) == ("new score", "")
    undefined = test.by_key["precision"]  # of this run; a baseline has one
    assert (undefined.value, undefined.baselines["logistic_regression"]) == (
        *(None, Change(0.5, 0.0, "")),
    )
    folds = compare_scores(run.scores, base.scores, "cross_validation", {})
    assert (folds.rows, folds.by_key["accuracy"].base) == (514, None)
    assert folds.by_key["accuracy"].baselines == {
        "logistic_regression": Change(0.75, -0.25, "worse")
    }


def test_the_model_and_its_baselines_stand_on_one_axis() -> None:
    def of(value: float) -> dict[str, float]:
        return {"accuracy": value, "accuracy_low": value - 0.1, "accuracy_high": value + 0.1}

    scores = {
        "test": of(0.5),
        "cross_validation": of(0.7),
        "baseline": {"ridge": of(0.625) | {"cross_validation": {"accuracy": 0.9}}},
    }
    assert [one[:3] for one in standings(scores, "accuracy")] == [
        *(("", "test", 0.5), ("", "cross_validation", 0.7), ("ridge", "test", 0.625)),
    ]


def test_two_runs_are_compared_on_the_same_test_rows(
    project: Path, commit: Callable[[Path], str]
) -> None:
    """The outputs of both are in metrics/; where the labels differ nothing is compared."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)

    def write(noise: float, labels: np.ndarray) -> None:
        p = np.clip(0.5 + 0.2 * (y - 0.5) + noise * rng.normal(size=300), 0, 1)
        lines = [f"{a},{b:.6f}" for a, b in zip(labels, p, strict=True)]
        folder = project / "metrics/plots"
        folder.mkdir(exist_ok=True)
        (folder / "test_rows.csv").write_text("\n".join(["y,output_0", *lines]) + "\n")

    columns = "{x: {kind: real}, y: {kind: integer, values: [0, 1]}}"
    schema = f"{SCHEMA}positive: 1\ncolumns: {columns}\n"
    write_run(project, {"test": {"accuracy": 0.5, "roc_auc": 0.5, "rows": 300}}, schema)
    write(0.3, y)
    commit(project)
    write(0.1, y)
    run, base = Run(WORKSPACE, FILES), Run(resolve("HEAD"), FILES)
    found = paired_differences(run, base)
    assert {"accuracy", "roc_auc"} <= set(found)
    assert 0 < found["roc_auc"].low < found["roc_auc"].difference < found["roc_auc"].high
    write(0.1, 1 - y)
    assert paired_differences(Run(WORKSPACE, FILES), base) == {}


def test_parameters_the_table_and_its_rows(project: Path, commit: Callable[[Path], str]) -> None:
    """The results go by what they were made with; a later edit is told."""

    def write(units: int, md5: str, rows: int) -> None:
        stages = {
            "split": {"outs": [{"path": "data/split", "md5": md5}]},
            "train": {
                "params": {"params.yaml": {"train": {"units": [units], "l2": 0.1}}},
                "deps": [
                    {"path": "tabular/model", "md5": md5},
                    {"path": "stages/train.py", "md5": "same"},
                ],
            },
        }
        (project / "requirements.txt").write_text(f"keras==3.{units}\nnumpy[x]==2.0 \\\n")
        (project / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
        (project / FILES["profile"]).write_text(json.dumps({"rows": rows}))
        (project / "params.yaml").write_text(f"train: {{units: [{units}], l2: 0.1}}\n")

    write(4, "a", 768)
    commit(project)
    write(8, "b", 769)
    schema = (project / "data/schema.yaml").read_text()
    (project / "data/schema.yaml").write_text(f"{schema}positive: 1\n")
    (project / "params.yaml").write_text("train: {units: [16], l2: 0.1}\n")
    both = compare(Run(WORKSPACE, FILES), Run(resolve("HEAD"), FILES))
    assert both.params == [
        Changed("train.units", [8], [4]),
        Changed("data/schema.yaml:positive", 1, None),
    ]
    assert both.data == [Changed("rows", 769, 768)]
    assert both.code == ["tabular/model"]
    assert both.packages == [Changed("keras", "3.8", "3.4")]
    assert (both.test_rows_differ, both.stale) == (True, ["train.units"])
    alone = compare(Run(resolve("HEAD"), FILES), None)
    assert (alone.params, alone.data, alone.test_rows_differ) == ([], None, False)
    assert alone.stale == []
    assert list(alone.scores) == ["test"]


def test_leaves_that_differ() -> None:
    old = {"a": {"b": 1, "c": [1]}, "gone": None}
    new = {"a": {"b": 2, "c": [1]}, "new": {}}
    assert changes(old, new) == [
        Changed("a.b", 2, 1),
        Changed("new", {}, None),
        Changed("gone", None, None),
    ]
