"""Runs of revisions are found, read and compared."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from keras_tabular.cli import verify
from keras_tabular.config.sections import Gate
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import write_json, write_points
from keras_tabular.evaluation.plot_data import MAX_KEPT_ROWS, kept_test_rows
from keras_tabular.evaluation.records import Difference, compare_scores
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.report.formats import format_difference
from keras_tabular.runs.comparison import (
    Comparison,
    check_base,
    paired_scores,
    read_test_rows,
)
from keras_tabular.runs.run import (
    METRICS,
    WORKSPACE,
    Run,
    content_at,
    last_run,
    run_module,
)
from tests.commands import check_output
from tests.helpers import REGRESSION, build_evaluation, build_predictions, build_schema
from tests.projects import commit_all

# Runs are read from any revision, and compared only if they fit.
SCHEMA = "source: data/raw/t.csv\ntarget: y\ntask: binary\n"


def commit_run(folder: Path, accuracy: float) -> None:
    """Commit the schema, and the metrics files of a run with this accuracy."""
    scores = {"accuracy": accuracy}
    for path, text in {
        "metrics/metrics.json": json.dumps({"test": scores}),
        "metrics/scores.json": build_evaluation(test=scores).model_dump_json(),
        "data/schema.yaml": SCHEMA,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    commit_all(folder, "A run")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a repository with runs of accuracy 0.5 and 0.75."""
    check_output(tmp_path, "git init -q -b main --template=")
    folder = tmp_path / "in/a/repository"
    for accuracy in (0.5, 0.75):
        commit_run(folder, accuracy)
    monkeypatch.chdir(folder)
    return folder


def test_run_of_any_revision_has_its_scores_and_schema(project: Path) -> None:
    head = check_output(project, "git rev-parse HEAD").strip()
    check_output(project, "git tag good HEAD~1")
    experiment = f"refs/exps/{head[:2]}/{head[2:]}/units-2"
    check_output(project, f"git update-ref {experiment} HEAD~1")
    runs = {
        "workspace": 0.75,
        "main": 0.75,
        "HEAD~1": 0.5,
        "good": 0.5,
        "units-2": 0.5,
    }
    for name, accuracy in runs.items():
        run = Run(name)
        assert run.require_evaluation().value("test", "accuracy") == accuracy
        assert (run.label == name) == ("HEAD" not in name)
        assert run.source == "t.csv"
        assert run.target == "y"
        assert not run.uncommitted
    assert content_at(head, project / "data/schema.yaml") == SCHEMA
    assert Run("HEAD").label == Run(head[:9]).label == head[:7]
    assert Run(WORKSPACE).commit == Run("main").commit


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        (
            "data/schema.yaml",
            SCHEMA.replace("t.csv", "b.csv"),
            "source data/raw/b.csv, target y",
        ),
        ("data/schema.yaml", SCHEMA.replace("binary", "regression"), "task regression"),
        ("data/schema.yaml", "[", "has no data/schema.yaml in the present format"),
        ("metrics/scores.json", "{", "has no scores in the present format"),
        ("README.md", "", "share too few test rows that decide it"),
    ],
)
def test_run_of_another_table_is_not_compared(
    project: Path,
    file: str,
    text: str,
    reason: str,
) -> None:
    this = Run("HEAD")
    (project / file).write_text(text)
    commit_all(project, "Another run")
    gate = Gate(worse_than_base={"test.accuracy": 0.0})
    (check,) = check_base(this, Run("HEAD"), gate)
    assert check.status == "undecided"
    assert reason in check.reason


def test_git_without_an_answer_is_an_error_and_no_commit_is_an_answer(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gate passes only if git says that there is no earlier run."""
    assert content_at("HEAD", "metrics/none.json") is None
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match="dubious ownership"):
        last_run(Run(WORKSPACE))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="Install git"):
        Run("HEAD")
    monkeypatch.undo()
    check_output(tmp_path, "git init -q new")
    monkeypatch.chdir(tmp_path / "new")
    assert last_run(Run(WORKSPACE)) is None


# What `make verify` runs a commit for.
@pytest.mark.parametrize(
    "stage",
    ["outs: [a], frozen: true", "outs: [a: {persist: true}]", "outs: [../a]"],
)
def test_only_outputs_that_a_stage_writes_again_are_verified(
    stage: str,
    tmp_path: Path,
) -> None:
    check_output(tmp_path, "dvc init --quiet --no-scm")
    for name, text in {
        "dvc.yaml": "stages: {s: {cmd: ls, outs: [':(exclude)a', b*]}}",
        "dvc.lock": "schema: '2.0'\nstages: {s: {cmd: ls}}",
        "dvc.py": "raise SystemExit('not DVC')",
    }.items():
        (tmp_path / name).write_text(text)
    assert run_module("dvc", "root", folder=tmp_path) == ".\n"
    assert verify.list_outputs(tmp_path) == [":(exclude)a", "b*"]
    (tmp_path / "dvc.yaml").write_text(f"stages: {{s: {{cmd: ls, {stage}}}}}")
    with pytest.raises(UserError, match=r"output .*a of s is frozen, persists, or"):
        verify.list_outputs(tmp_path)
    (tmp_path / "dvc.yaml").write_text("stages: {}")
    with pytest.raises(UserError, match=r"no longer has the stages s\. Run `rm dvc"):
        verify.list_outputs(tmp_path)


@pytest.mark.slow
def test_a_commit_is_verified_in_its_clone_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The path has a letter that DVC cannot write. A hook sets GIT_DIR."""
    folder = tmp_path / "ü"
    folder.mkdir()
    make = """
        git init -q -b main; dvc init -q; mkdir b; touch requirements.txt; echo 1 > b/a
        echo 'stages: {s: {cmd: echo 1 > o, outs: [o: {cache: false}]}}' > dvc.yaml
        dvc add -q b/a; dvc repro -q; git add .; git commit -qm 1; git tag first
        touch c.py; echo c.py > .git/info/exclude"""
    check_output(folder, "bash", "-ec", make)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_DIR", str(folder / ".git"))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "hashes"))
    assert verify.rerun("HEAD") == []
    assert (folder / ".git/HEAD").read_text() == "ref: refs/heads/main\n"
    for change, message in {
        "ln -s .. up": "up: this link leads out of the repository",
        "ln -s /x .dvc/config.local; git add -f .dvc/*l": "config.local: this link",
        "sed -i 's/path: /&..\\//' b/a.dvc": r"'\.\./a' leads out of its folder",
        "echo 'stages: {b: {cmd: exit 1}}' > b/dvc.yaml": "reproduce 'b/dvc.yaml:b'",
        "echo 'stages: {s: {cmd: python -m c}}' > dvc.yaml": "python -m c",
        "echo /dvc.yaml > .dvcignore; cp dvc.yaml b": "dvc.lock: No such file",
    }.items():
        commit = f"git reset -q --hard first; {change}; git add .; git commit -qm 2"
        check_output(folder, "bash", "-ec", commit)
        with pytest.raises(UserError, match=message):
            verify.rerun("HEAD")
    (table,) = folder.glob(".dvc/cache/files/md5/b0/*")
    table.write_text("2\n")
    assert verify.rerun("first") == ["b/a"]


def test_packages_that_differ_from_the_lock_are_installed_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wheel of the library may have another content, but the same version."""
    monkeypatch.setattr(verify, "run_module", lambda *_, **__: "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clone").mkdir()
    present = f"numpy=={np.__version__}\n"
    for lock, clone_lock, python in (
        (present, present, sys.executable),
        (present, f"{present}    --hash=sha256:0\n", "new/bin/python"),
        ("numpy==1\n", "numpy==1\n", "new/bin/python"),
    ):
        Path("requirements.txt").write_text(lock)
        Path("clone/requirements.txt").write_text(clone_lock)
        assert verify.locked_python(Path("clone"), "new") == python


def test_last_run_is_one_before_the_run(project: Path) -> None:
    """Not a later one, also if the run is an old commit."""
    first = Run("HEAD~1")
    second = Run("HEAD")
    commit_run(project, 0.6)
    for name, expected in (
        ("workspace", second),
        ("HEAD", second),
        ("HEAD~1", first),
    ):
        base = last_run(Run(name))
        assert base
        assert base.sha == expected.sha
    assert last_run(Run("HEAD~2")) is None


def test_first_run_is_uncommitted_before_its_files_are_in_git(project: Path) -> None:
    (project / "new.csv").write_text("another file")
    assert not Run(WORKSPACE).uncommitted
    (project / "dvc.lock").write_text("{}")
    assert Run(WORKSPACE).uncommitted


def test_revision_without_scores(project: Path) -> None:
    (project / METRICS / "scores.json").write_text("{")
    commit_all(project, "A run")
    with pytest.raises(UserError, match=r"has no scores\. Run `dvc repro`"):
        Run("HEAD").require_evaluation()
    with pytest.raises(UserError, match=r"metrics/scores.json: .* `dvc repro`"):
        Run(WORKSPACE).require_evaluation()


# The comparison with baselines and with another run.
@pytest.mark.parametrize(
    ("key", "value", "base", "ends", "expected"),
    [
        ("loss", 0.1, 0.25, (), "−0.150, no interval"),
        ("accuracy", 0.75001, 0.75, (), "same"),
        ("accuracy", 0.8, 0.75, (0.01, 0.09), "+0.0500, better (0.0100 to 0.0900)"),
        (
            "accuracy",
            0.8,
            0.75,
            (-0.01, 0.11),
            "+0.0500, not significant (−0.0100 to 0.110)",
        ),
    ],
)
def test_differences_are_better_worse_or_not_significant(
    key: str,
    value: float,
    base: float,
    ends: Any,
    expected: str,
) -> None:
    differences = {}
    if ends:
        low, high = ends
        differences[key] = Difference(value=0.05, low=low, high=high)
    evaluation = build_evaluation(
        test={key: value},
        baselines={"linear": {key: base}},
        differences={"linear": differences},
    )
    row = compare_scores(evaluation.scores, {}, {})[key]
    assert format_difference(row, row.baselines["linear"]) == expected
    assert format_difference(row, None) == "–"


def test_changes_of_parameters_data_code_and_packages(project: Path) -> None:
    """The recorded parameters count; later edits make the results stale."""

    def write(units: int, md5: str, rows: int) -> None:
        params = {"train": {"units": [units], "l2": 0.1}}
        deps = [
            {"path": "keras_tabular/training", "md5": md5},
            {"path": "a.py", "md5": "same"},
        ]
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
    assert comparison.data == [("rows", 769, 768)]
    assert comparison.code == ["keras_tabular/training"]
    assert comparison.packages == [("keras", "3.8", "3.4")]
    assert comparison.test_rows_differ is True
    assert comparison.stale == ["train.units"]
    assert Comparison(Run("HEAD"), None).stale == []


# The comparison of two runs on the test rows that both have.
def write_run(
    name: str,
    keys: np.ndarray,
    errors: np.ndarray,
    group: np.ndarray | None = None,
    **content: Any,
) -> Run:
    """Write a run whose predictions of zeros have some errors."""
    zeros = np.zeros(len(keys))
    rows = build_predictions(REGRESSION, zeros, errors, group=group)
    return write_rows(name, rows, keys, main_metrics=["mae"], **content)


def write_rows(name: str, rows: Predictions, keys: np.ndarray, **content: Any) -> Run:
    evaluation = build_evaluation(len(keys), test=score(rows), **content)
    write_json(Path(name, "scores.json"), evaluation.model_dump(exclude_defaults=True))
    lines = np.arange(len(keys))
    columns = kept_test_rows(rows, {"row": keys, "line": lines})
    Path(name, "plots").mkdir()
    write_points(Path(name, "plots/test_rows.csv"), columns, MAX_KEPT_ROWS)
    return Run(WORKSPACE, Path(name))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    schema = build_schema("regression").model_dump_json(exclude_none=True)
    (tmp_path / "data/schema.yaml").write_text(schema)
    return tmp_path


def test_runs_of_a_table_that_has_grown_are_compared_on_the_rows_of_both(
    folder: Path,
) -> None:
    rng = np.random.default_rng(0)
    keys = rng.permutation(6000) * 7
    errors = rng.normal(size=6000)
    first = slice(0, 4000)
    second = slice(1000, 6000)
    group = np.arange(6000) // 5
    base = write_run("base", keys[first], errors[first], group[first])
    run = write_run("run", keys[second], 1.5 * errors[second], group[second] - 200)
    loss = paired_scores(run, base)["loss"]
    assert re.fullmatch(r"9\d\d of 5,000 test rows", loss.rows)
    assert loss.difference.value == pytest.approx(1.25 * loss.base, rel=1e-3)
    assert loss.base == pytest.approx(1, abs=0.2)


def test_a_difference_is_that_of_the_kept_rows_and_says_how_many_these_are(
    folder: Path,
) -> None:
    """Its interval also contains the difference between trainings."""
    keys = np.arange(8000)
    errors = np.random.default_rng(0).normal(size=8000)
    base = write_run("base", keys, errors, training_deviation={"loss": 0.004})
    run = write_run("run", keys, 1.1 * errors, training_deviation={"loss": 0.003})
    loss = paired_scores(run, base)["loss"]
    assert loss.rows == "2,000 of 8,000 test rows"
    width = loss.difference.high - loss.difference.low
    of_rows = 1.96 * 0.21 * 2**0.5 / 2000**0.5
    assert width == pytest.approx(2 * np.hypot(of_rows, 2.1 * 0.005), rel=0.05)


def test_all_rows_of_a_rare_class_are_kept_and_count_as_in_the_table(
    folder: Path,
) -> None:
    rng = np.random.default_rng(0)
    schema = build_schema("binary")
    (folder / "data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
    y = (np.arange(50_000) < 150).astype(float)
    rows = build_predictions(schema.learning_task, y, rng.random(50_000))
    keys = rng.permutation(50_000)
    run = write_rows("run", rows, keys)
    _, sample = read_test_rows(run) or pytest.fail("no row was kept")
    assert len(sample.y) == 2000
    assert sample.y.sum() == 150
    assert sample.mean(sample.y) == pytest.approx(150 / 50_000)
    # A single positive row differs.
    y_pred = rows.y_pred.copy()
    y_pred[np.argmax(rows.predicted_classes)] = 0.0
    base = write_rows("base", rows._replace(y_pred=y_pred), keys)
    recall = paired_scores(run, base)["recall"].difference
    assert recall.value == pytest.approx(1 / 150)
    assert recall.low < 0 < recall.high


def test_the_rows_of_a_run_with_costs_have_the_classes_of_the_lowest_expected_cost(
    folder: Path,
) -> None:
    rng = np.random.default_rng(0)
    costs = ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (50.0, 50.0, 0.0))
    y = rng.integers(3, size=40).astype(float)
    y_pred = rng.dirichlet((5, 5, 1), 40)
    schema = build_schema("multiclass")
    rows = build_predictions(
        schema.learning_task,
        y,
        y_pred,
        threshold=costs,
        costs=costs,
    )
    (folder / "data/schema.yaml").write_text(schema.model_dump_json(exclude_none=True))
    run = write_rows("run", rows, np.arange(40), costs=costs)
    _, read_rows = read_test_rows(run) or pytest.fail("no row was kept")
    assert (read_rows.predicted_classes == rows.predicted_classes).all()
    assert (read_rows.predicted_classes != y_pred.argmax(axis=1)).any()


def test_rows_of_the_same_table_are_compared_after_a_change_of_the_schema(
    folder: Path,
) -> None:
    runs = []
    for keys, table in enumerate("aab"):
        run = write_run(str(keys), np.arange(100) + 100 * keys, np.arange(100))
        deps = [{"path": "t.csv", "md5": table}]
        run.lock = {"stages": {"ingest": {"deps": deps}}}
        runs.append(run)
    first, same, other = runs
    assert paired_scores(first, same)
    assert not paired_scores(first, other)
