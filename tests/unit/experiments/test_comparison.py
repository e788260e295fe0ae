"""Tests of the comparison with baselines and with another run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular.experiments.comparison import Comparison, compare_scores
from keras_tabular.experiments.run import METRICS, WORKSPACE, Run
from keras_tabular.report.formats import format_difference
from keras_tabular.scoring.evaluation import Difference
from tests.helpers import build_evaluation
from tests.projects import commit_all


@pytest.mark.parametrize(
    ("key", "value", "base", "ends", "expected"),
    [
        ("accuracy", 0.8, 0.75, (), "+0.0500, better"),
        ("loss", 0.8, 0.75, (), "+0.0500, worse"),
        ("loss", 0.1, 0.25, (), "−0.150, better"),
        ("accuracy", 0.75001, 0.75, (), "same"),
        ("accuracy", 0.8, 0.75, (0.01, 0.09), "+0.0500, better (0.0100 to 0.0900)"),
        ("accuracy", 0.8, 0.75, (-0.01, 0.11), "+0.0500, not significant (−0.0100 to 0.110)"),
    ],
)
def test_differences_are_better_worse_or_not_significant(
    key: str, value: float, base: float, ends: Any, expected: str
) -> None:
    difference = {key: Difference(value=0.05, low=ends[0], high=ends[1])} if ends else {}
    baseline: Any = {"baselines": {"ridge": {key: base}}, "differences": {"ridge": difference}}
    evaluation = build_evaluation(test={key: value}, **baseline)
    row = compare_scores(evaluation.scores, {}, {})[key]
    assert format_difference(row, row.baselines["ridge"]) == expected
    assert format_difference(row, None) == "–"


def test_the_difference_on_shared_rows_decides_which_run_is_better() -> None:
    """The scores of the two runs are those of other rows."""
    evaluation = build_evaluation(test={"loss": 0.8})
    base = build_evaluation(test={"loss": 0.7}).scores[0]
    base = base.model_copy(update={"difference": Difference(value=-0.3, low=-0.4, high=-0.2)})
    assert compare_scores(evaluation.scores, {"loss": base}, {})["loss"].outcome(base) == "better"


def test_scores_are_compared_with_base_and_baselines() -> None:
    evaluation = build_evaluation(
        test={"accuracy": 0.875, "loss": 0.5},
        baselines={"majority": {"accuracy": 0.625}, "ridge": {"loss": 0.25, "precision": 0.5}},
    )
    base = {score.metric: score for score in build_evaluation(test={"loss": 0.25}).scores}
    rows = compare_scores(evaluation.scores, base, {}, keys=["recall"])
    values = {
        key: [score and score.value for score in (row.model, row.base, *row.baselines.values())]
        for key, row in rows.items()
    }
    assert values == {
        "accuracy": [0.875, None, 0.625, None],
        "precision": [None, None, None, 0.5],
        "recall": [None] * 4,
        "loss": [0.5, 0.25, None, 0.25],
    }


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
