"""Tests of the comparison with baselines and with another run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular.experiments.comparison import (
    Comparison,
    ScoreComparison,
    ScoreRow,
    compare_score,
    compare_scores,
)
from keras_tabular.experiments.run import METRICS, WORKSPACE, Run
from keras_tabular.report.formats import format_difference
from keras_tabular.scoring.evaluation import PairedDifference
from tests.helpers import build_evaluation
from tests.projects import commit_all


@pytest.mark.parametrize(
    ("value", "base", "greater_is_better", "interval", "expected"),
    [
        (0.8, 0.75, True, None, "+0.0500, better"),
        (0.8, 0.75, False, None, "+0.0500, worse"),
        (0.1, 0.25, False, None, "−0.150, better"),
        (0.75001, 0.75, True, None, "same"),
        (0.8, None, True, None, "–"),
        (0.8, 0.75, True, (0.01, 0.09), "+0.0500, better (0.0100 to 0.0900)"),
        (0.8, 0.75, True, (-0.01, 0.11), "+0.0500, not significant (−0.0100 to 0.110)"),
    ],
)
def test_differences_are_better_worse_or_not_significant(
    value: float, base: float | None, greater_is_better: bool, interval: Any, expected: str
) -> None:
    paired = PairedDifference(0.05, *interval) if interval else None
    assert format_difference(compare_score(value, base, greater_is_better, paired)) == expected


def test_scores_are_compared_with_base_and_baselines() -> None:
    difference = {"difference": 0.25, "low": 0.1, "high": 0.4}
    evaluation = build_evaluation(
        test={"accuracy": 0.875, "accuracy_low": 0.85, "accuracy_high": 0.95, "loss": 0.5},
        baseline={"majority": {"accuracy": 0.625}, "ridge": {"loss": 0.25, "precision": 0.5}},
        paired_difference={"test": {"majority": {"accuracy": difference}}},
    )
    base = build_evaluation(test={"accuracy": 0.75, "loss": 0.25})
    test = compare_scores(evaluation.test, base.test, keys=["recall"])
    majority = {"majority": ScoreComparison(0.625, 0.25, "better", (0.1, 0.4)), "ridge": None}
    ridge = {"majority": None, "ridge": ScoreComparison(0.25, 0.25, "worse")}
    undefined = {"majority": None, "ridge": ScoreComparison(0.5, 0.0, "")}  # of this run
    accuracy, before = (0.875, (0.85, 0.95)), ScoreComparison(0.75, 0.125, "better")
    none = dict.fromkeys(majority)
    assert list(test.values()) == [
        ScoreRow("accuracy", "Accuracy", "", True, *accuracy, before, majority),
        ScoreRow("precision", "Precision", "", True, None, None, None, undefined),
        ScoreRow("recall", "Recall", "", True, None, None, None, none),
        ScoreRow("loss", "Loss", "", False, 0.5, None, ScoreComparison(0.25, 0.25, "worse"), ridge),
    ]


def test_changes_of_parameters_data_code_and_packages(project: Path) -> None:
    """The recorded parameters count; later edits make the results stale."""

    def write(units: int, md5: str, rows: int) -> None:
        params = {"train": {"units": [units], "l2": 0.1}}
        deps = [{"path": "keras_tabular/training", "md5": md5}, {"path": "a.py", "md5": "same"}]
        stages = {
            "split": {"outs": [{"path": "data/split", "md5": md5}]},
            "train": {"params": {"params.yaml": params}, "deps": deps},
        }
        locked = f"keras==3.{units}\nnumpy[x,y]==2.0 \\\n    --hash=sha256:{units}\n"
        (project / "requirements.txt").write_text(locked)
        (project / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))
        (project / METRICS / "profile.json").write_text(json.dumps({"rows": rows}))
        (project / "params.yaml").write_text(yaml.safe_dump(params))

    write(4, "a", 768)
    commit_all(project, "A run")
    write(8, "b", 769)
    schema = (project / "data/schema.yaml").read_text()
    (project / "data/schema.yaml").write_text(f"{schema}positive: 1\n")
    (project / "params.yaml").write_text("train: {units: [16], l2: 0.1}\n")
    comparison = Comparison(Run(WORKSPACE), Run("HEAD"))
    changed = [("train.units", [8], [4]), ("data/schema.yaml:positive", 1, None)]
    assert comparison.params == changed
    assert (comparison.data, comparison.code) == ([("rows", 769, 768)], ["keras_tabular/training"])
    assert comparison.packages == [("keras", "3.8", "3.4")]
    assert (comparison.test_rows_differ, comparison.stale) == (True, ["train.units"])
    single = Comparison(Run("HEAD"), None)
    assert (single.params, single.test_rows_differ, single.stale) == ([], False, [])
