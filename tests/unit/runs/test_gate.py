"""The gate gives a verdict with reasons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tabular.evaluation.scores import score
from tabular.metrics import TASKS, numbers
from tabular.params.gate import Gate
from tabular.runs.gate import Base, base_of, evaluate_gate
from tabular.runs.git import WORKSPACE
from tabular.runs.run import Run
from tests.helpers import schema_of

LAST = Base("abc", {"test": {"accuracy": 0.8, "loss": 0.5}})


def verdicts(
    scores: dict[str, Any], gate: Gate, task: str = "binary", base: Base = LAST
) -> list[str]:
    return [check["verdict"] for check in evaluate_gate(scores, base, gate, task)["checks"]]


def test_limits_and_how_much_worse_a_score_may_get() -> None:
    scores = {"test": {"accuracy": 0.79, "loss": 0.53}}
    gate = Gate.model_validate(
        {
            "lowest": {"test": {"accuracy": 0.79}},
            "highest": {"test": {"loss": 0.52}},
            "worse_than_last": {"test": {"accuracy": 0.01, "loss": 0.02}},
        }
    )
    assert verdicts(scores, gate) == ["pass", "fail", "pass", "fail"]
    assert verdicts({}, gate) == ["fail"] * 4
    alone = Base("no earlier run", {})
    assert verdicts(scores, gate, base=alone) == ["pass", "fail", "skipped", "skipped"]


def test_a_check_says_what_it_compared() -> None:
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.02}}})
    assert evaluate_gate({"test": {"loss": 0.53}}, LAST, gate, "binary") == {
        "verdict": "fail",
        "checks": [
            {
                "rule": "worse_than_last test.loss",
                "found": 0.53,
                "allowed": 0.52,
                "verdict": "fail",
                "reason": "test.loss is 0.53; needed at most 0.52 (0.02 worse than 0.5 of abc)",
            }
        ],
    }


@pytest.mark.parametrize(
    ("task", "better", "worse"),
    [("binary", 0.8, 0.7), ("multiclass", 0.8, 0.7), ("regression", 0.7, 0.8)],
)
def test_the_baselines_have_to_be_beaten_and_not_only_met(
    task: str, better: float, worse: float
) -> None:
    name, baselines = TASKS[task].main, TASKS[task].baselines
    scores = {
        "test": {name: better},
        "baseline": {
            **{baselines["constant"]: {name: worse}, baselines["linear"]: {name: better}},
            **{baselines["boosted"]: {name: worse}},
        },
    }
    gate = Gate(beat_baselines=("constant", "linear", "boosted"))
    assert verdicts(scores, gate, task) == ["pass", "fail", "pass"]


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_that_the_gate_knows_are_those_of_the_task(task: str) -> None:
    y = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 2.0, 1.0], [1.0, 2.0, 2.0, 4.0]])
    y = y[list(TASKS).index(task)]
    predicted = np.full((4, 3 if task == "multiclass" else 1), 0.3)
    scores = score(y, predicted, schema_of(task), 0.5)
    assert set(TASKS[task].scores) == set(numbers(scores)) - {"rows"}


def test_a_run_with_another_split_has_other_test_rows_and_is_no_base(tmp_path: Path) -> None:
    def run_with(name: str, split: str) -> Run:
        files = {key: tmp_path / name / f"{key}.json" for key in ("metrics", "scores")}
        (tmp_path / name).mkdir()
        files["metrics"].write_text('{"test": {"loss": 0.5}}')
        run = Run(WORKSPACE, files)
        schema = {"source": "t.csv", "target": "y", "task": "binary"}
        params = {"split": yaml.safe_load(split)}
        run.load = lambda path: (  # type: ignore[method-assign]
            {"data/schema.yaml": schema, "params.yaml": params}.get(str(path))
            or json.loads(files["metrics"].read_text())
        )
        return run

    before = run_with("before", "{seed: 9}")
    assert base_of(run_with("same", "{by: random, seed: 9}"), before).scores
    assert not base_of(run_with("other", "{by: group, seed: 9}"), before).scores
