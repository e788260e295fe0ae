"""A comparison is plain rows: scores, parameters and differences of the table."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tabular.report.formats import paired, signed
from tabular.runs.comparison import (
    Change,
    Changed,
    PairedDifference,
    Score,
    Scores,
    change,
    changes,
    compare,
    compare_scores,
)
from tabular.runs.git import WORKSPACE, resolve
from tabular.runs.run import Run
from tests.unit.runs.conftest import FILES, write_run


@pytest.mark.parametrize(
    ("value", "other", "greater_is_better", "said"),
    [
        (0.8, 0.75, True, "+0.0500 better"),
        (0.8, 0.75, False, "+0.0500 worse"),
        (0.1, 0.25, False, "−0.1500 better"),
        (0.1, 0.25, None, "−0.1500"),
        (0.75001, 0.75, True, "same"),
        (123456.4, 123456.0, False, "same"),
        (0.8, None, True, "–"),
    ],
)
def test_better_and_worse_are_words(
    value: float, other: float | None, greater_is_better: bool | None, said: str
) -> None:
    assert signed(change(value, other, greater_is_better)) == said


def test_scores_stand_beside_those_of_the_base_and_of_the_baselines(project: Path) -> None:
    scores = {
        "test": {
            **{"accuracy": 0.875, "accuracy_low": 0.85, "accuracy_high": 0.95, "rows": 254},
            **{"loss": 0.5, "macro": {"f1": 0.5}, "new_score": 3},
        },
        "cross_validation": {"accuracy": 0.5, "rows": 514},
        "baseline": {
            "majority": {"accuracy": 0.625, "rows": 254},
            "logistic_regression": {"loss": 0.2, "cross_validation": {"accuracy": 0.75}},
        },
        "paired_difference": {
            "test": {"baseline": "majority", "difference": 0.25, "low": 0.1, "high": 0.4}
        },
    }
    write_run(project, scores)
    run, base = Run(WORKSPACE, FILES), Run(resolve("HEAD"), FILES)
    test = compare_scores(run, base, "test")
    assert list(test.by_key) == ["accuracy", "loss", "macro.f1", "new_score"]
    assert (
        test.by_key["accuracy"]
        == test.main
        == Score(
            key="accuracy",
            label="Accuracy",
            average="",
            value=0.875,
            interval=(0.85, 0.95),
            base=Change(0.75, 0.125, "better"),
            baselines={
                "logistic_regression": None,
                "majority": Change(0.625, 0.25, "better"),
            },
        )
    )
    loss, f1, new = (test.by_key[key] for key in ("loss", "macro.f1", "new_score"))
    assert loss.base == Change(0.25, 0.25, "worse")
    assert (f1.label, f1.average, f1.base) == ("F1", "each class alike", None)
    assert (new.label, new.average) == ("new score", "")
    assert test.paired == PairedDifference("majority", 0.25, 0.1, 0.4)
    folds = compare_scores(run, base, "cross_validation")
    assert (folds.rows, folds.paired, folds.by_key["accuracy"].base) == (514, None, None)
    assert folds.by_key["accuracy"].baselines == {
        "logistic_regression": Change(0.75, -0.25, "worse")
    }


def test_parameters_the_table_and_its_rows(project: Path, commit: Callable[[Path], str]) -> None:
    """The results go by what they were made with; a later edit is told."""

    def write(units: int, md5: str, rows: int) -> None:
        stages = {
            "split": {"outs": [{"path": "data/split", "md5": md5}]},
            "train": {"params": {"params.yaml": {"train": {"units": [units], "l2": 0.1}}}},
        }
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
    assert both.profile == [Changed("rows", 769, 768)]
    assert (both.test_rows_differ, both.stale) == (True, ["train.units"])
    alone = compare(Run(resolve("HEAD"), FILES), None)
    assert (alone.params, alone.profile, alone.test_rows_differ) == ([], None, False)
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


@pytest.mark.parametrize(
    ("key", "limits", "said"),
    [
        (
            "accuracy",
            (-0.003937, -0.03181, 0.023936),
            "accuracy is 0.0039 lower than that of logistic regression, by 1 row of 254 "
            "(95% interval of the difference −0.0318 to 0.0239); these rows cannot tell the two "
            "apart.",
        ),
        ("accuracy", (0.1, 0.05, 0.15), "by 25 rows of 254 (95% interval of the difference "),
        ("accuracy", (0.1, 0.05, 0.15), "; the model is better by more than chance."),
        ("accuracy", (0.0, -0.1, 0.1), "accuracy is the same as that of logistic regression ("),
        ("mae", (0.1, 0.05, 0.15), "; the model is worse by more than chance."),
    ],
)
def test_a_paired_difference_in_a_sentence(
    key: str, limits: tuple[float, float, float], said: str
) -> None:
    main = Score(key, key.capitalize(), "", 0.7, None, None, {})
    scores = Scores(254, {key: main}, main, PairedDifference("logistic_regression", *limits))
    sentence = paired(scores, "Test rows")
    assert sentence.startswith(f"Test rows: {key} is ")
    assert said in sentence
