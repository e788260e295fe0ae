"""A run compared with another one: the rule of the gate, on the rows that both have."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from math import hypot
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.params import PARAMS
from keras_tabular.config.schema import SCHEMA, Schema
from keras_tabular.config.sections import Gate
from keras_tabular.core.files import md5_hash
from keras_tabular.core.typed_yaml import flatten
from keras_tabular.evaluation.records import (
    MODEL,
    Difference,
    Score,
    compare_scores,
    model_values,
)
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.evaluation.uncertainty import (
    MIN_ROWS_FOR_INTERVAL,
    score_and_resample,
)
from keras_tabular.gate import RuleResult, Status, Verdict, judge
from keras_tabular.gate.primary import NOT_SETTLED, format_relative
from keras_tabular.gate.rules import add_checks
from keras_tabular.runs.run import (
    REPORT_FILES,
    Run,
    git,
    locked_hashes,
    mismatch,
    parse_or_none,
)
from keras_tabular.tasks.metrics import COST, metric
from keras_tabular.tasks.task import Threshold

CODE = ("keras_tabular/", "requirements.txt")  # besides the scripts of a project
LOCKED_VERSION = re.compile(r"^([\w.-]+)(?:\[.*\])?==(\S+)", re.MULTILINE)
# In each half of a 95% interval; Student's t, since about ten folds of each run
# estimate them.
TRAINING_DEVIATIONS = 2.1


class NotComparableError(Exception):
    """A score cannot be compared with that of another run. The message says why."""


def read_verdict(run: Run, base: Run | None = None) -> Verdict | None:
    """Read the verdict on a run, with the checks against another run if there is one.

    Returns:
        None if the run has no verdict in the present format.
    """
    verdict = parse_or_none(run.load(run.metrics / "gate.json"), Verdict)
    if verdict is None or base is None:
        return verdict
    return compare_with_base(verdict, run, base, run.gate)


def compare_with_base(
    verdict: Verdict,
    run: Run,
    base: Run | None,
    gate: Gate,
) -> Verdict:
    """Add the checks against another run to the verdict on a run.

    Args:
        base: The other run; None if there is none.
    """
    checks = list(check_base(run, base, gate))
    return add_checks(verdict, checks, checks)


def check_base(run: Run, base: Run | None, gate: Gate) -> Iterator[RuleResult]:
    """Check that scores are not worse than those of another run by more than a share.

    Scores of the test rows are compared on the rows that both runs have, see
    `paired_scores`.

    Args:
        base: The other run; None if there is none.
    """
    for key, share in gate.worse_than_base.items():
        status: Status = "pass"
        try:
            if base is None:
                reason = f"{key}: {_explain_no_base(gate)}"
            else:
                status, reason = _compare_scores(key, share, run, base)
        except NotComparableError as error:
            status = "undecided"
            reason = f"{key}: {error}"
        yield RuleResult(rule=f"worse_than_base {key}", status=status, reason=reason)


def _explain_no_base(gate: Gate) -> str:
    """Explain why there is no other run before the first run is committed.

    Raises:
        NotComparableError: There may be one, but it cannot be found.
    """
    if gate.base != "last":
        raise NotComparableError(f"gate.base: there is no {gate.base} in this clone")
    if git("rev-parse", "--is-shallow-repository").strip() == "true":
        raise NotComparableError(
            "this clone has no history; run `git fetch --unshallow`",
        )
    return "not compared, since no earlier run is committed"


def _compare_scores(
    key: str,
    share: float,
    run: Run,
    base: Run,
) -> tuple[Status, str]:
    """Judge the change of a score, and describe it.

    Args:
        key: Dotted key of the score.
        share: Share of the score of the other run by which it may be worse.

    Raises:
        NotComparableError: See `_measure_change`.
    """
    change = _measure_change(key, run, base)
    greater_is_better = metric(key).greater_is_better
    difference = change.difference.as_loss(greater_is_better)
    limit = share * abs(change.base)
    status = judge(difference.low, difference.high, limit)
    if difference.low > 0 and difference.value > limit:
        status = "fail"  # the score is worse, and probably by too much
    is_loss = not greater_is_better and change.base > 0
    relative = format_relative(difference, change.base, is_loss)
    rows = f" on {change.rows}" if change.rows else ""
    ending = f"; {NOT_SETTLED}" if status == "undecided" else ""
    return status, (
        f"{key} is {relative} than in {base.label}{rows} (allowed: {share:.0%}"
        f" worse){ending}"
    )


def _measure_change(key: str, run: Run, base: Run) -> "PairedScore":
    """Compare a score of two runs, on the same rows if it is a score of the test rows.

    Returns:
        The comparison; without rows if the scores are compared as they are.

    Raises:
        NotComparableError: The scores cannot be compared. The message says why.
    """
    if problem := mismatch(run, base):
        raise NotComparableError(problem)
    evaluation = run.require_evaluation()
    base_evaluation = base.require_evaluation()
    if key.endswith(f".{COST}") and evaluation.costs != base_evaluation.costs:
        raise NotComparableError(f"{base.label} has other costs")
    value = model_values(evaluation.scores).get(key)
    base_value = model_values(base_evaluation.scores).get(key)
    if value is None or base_value is None:
        raise NotComparableError(
            f"not among the scores of this run and of {base.label}",
        )
    if not key.startswith("test."):
        change = value - base_value
        difference = Difference(value=change, low=change, high=change)
        return PairedScore("", base_value, difference)
    paired = paired_scores(run, base).get(key.removeprefix("test."))
    if paired is None:
        raise NotComparableError(
            f"this run and {base.label} share too few test rows that decide it",
        )
    return paired


class PairedScore(NamedTuple):
    """The score of a base on the test rows that a run shares with it.

    Attributes:
        rows: How many rows these are, in words.
        base: Score of the base on them.
        difference: Score of the run minus that of the base. Its interval also contains
            how much two trainings with other random numbers differ.
    """

    rows: str
    base: float
    difference: Difference


@cache
def paired_scores(run: Run, base: Run) -> dict[str, PairedScore]:
    """Compare the scores of two runs on the test rows that both have, by metric key.

    The result is empty if they share too few of them. A run keeps only some of many
    test rows.
    """
    shared = find_shared_rows(run, base)
    if shared is None:
        return {}
    rows, base_rows = shared
    evaluations = run.require_evaluation(), base.require_evaluation()
    test_rows = evaluations[0].rows("test")
    words = f"{test_rows:,} test rows"
    if len(rows.y) < test_rows:
        words = f"{len(rows.y):,} of {words}"
    scored = score_and_resample(rows)
    base_scored = score_and_resample(base_rows)
    scores = {}
    for key, difference in scored.differences(base_scored).items():
        value, low, high = difference.value, difference.low, difference.high
        if low < high:  # of a model and the same one, the interval has no width
            deviations = [each.training_deviation.get(key, 0.0) for each in evaluations]
            spread = TRAINING_DEVIATIONS * hypot(*deviations)
            low = value - hypot(low - value, spread)
            high = value + hypot(high - value, spread)
            difference = Difference(value=value, low=low, high=high)
        scores[key] = PairedScore(words, base_scored.values[key], difference)
    return scores


def find_shared_rows(run: Run, base: Run) -> tuple[Predictions, Predictions] | None:
    """Find the test rows that two runs have, with the predictions of both.

    In the same table, a row is found by its line, and else by its values. Only the rows
    that the runs have kept are read, so that every clone finds the same ones.

    Returns:
        None if they are too few, or if the runs have other classes.
    """
    rows = read_test_rows(run)
    base_rows = read_test_rows(base)
    if not rows or not base_rows:
        return None
    columns, predictions = rows
    base_columns, base_predictions = base_rows
    source = str(run.schema.get("source"))
    table = locked_hashes(run.lock, "deps").get(source)
    is_same_table = table and table == locked_hashes(base.lock, "deps").get(source)
    has_lines = "line" in columns.keys() & base_columns.keys()
    key = "line" if is_same_table and has_lines else "row"
    _, shared, base_shared = np.intersect1d(
        columns[key],
        base_columns[key],
        return_indices=True,
    )
    has_same_classes = predictions.task == base_predictions.task
    if not has_same_classes or len(shared) < MIN_ROWS_FOR_INTERVAL:
        return None
    predictions = predictions.select(shared)
    base_predictions = base_predictions.select(base_shared)
    # The larger weight is that of the run that has kept fewer of such rows.
    weight = np.maximum(predictions.weight, base_predictions.weight)
    return (
        predictions._replace(weight=weight),
        # The rows of a group are resampled together, as those of the run.
        base_predictions._replace(weight=weight, group=predictions.group),
    )


def read_test_rows(run: Run) -> tuple[dict[str, np.ndarray], Predictions] | None:
    """Read the test rows that a run has kept, see `kept_test_rows`.

    Returns:
        The columns of the file, each of shape (rows,), and the predictions; None if
        there are no rows with keys.
    """
    rows = run.read_points("test_rows")
    if not rows or "row" not in rows[0]:
        return None
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    outputs = [columns[name] for name in columns if name.startswith("output_")]
    group = columns["group"].astype(int) if "group" in columns else None
    evaluation = run.require_evaluation()
    threshold: Threshold | None = evaluation.threshold
    if threshold is None:
        threshold = evaluation.costs or 0.5
    predictions = Predictions(
        Schema.model_validate(run.schema).learning_task,
        columns["y"],
        np.column_stack(outputs).astype(np.float32),  # as the model predicted
        columns.get("weight", np.ones(len(rows))),
        threshold,
        group,
        costs=evaluation.costs,
    )
    return columns, predictions


class ChangedValue(NamedTuple):
    """A value that differs between two runs; None if a run does not have it."""

    name: str
    value: Any
    base: Any


class Comparison:
    """Everything that the page or the comment shows about a run and its base.

    Args:
        other: Another run, if there is one.

    Attributes:
        base: The other run, if it has the same table and target.
        not_compared: Why the other run cannot be compared; empty if it can.
        scores: Scores by row set, then by metric key; only those of the test rows are
            compared with the base.
        shared_rows: On how many test rows the scores are compared, in words; empty if
            they are not.
        params: Parameters and keys of the schema that differ.
        packages: Versions in requirements.txt that differ.
        code: Paths of code that differs.
        data: Differences of the profiles, None if a run has no profile.
        stale: Parameters, and the paths of the schema and the scores, that were edited
            after the run.
        files: Contents of the files of the run that are shown as they are, by their
            names.

    Raises:
        UserError: The run has no scores.
    """

    def __init__(self, run: Run, other: Run | None) -> None:
        self.run = run
        self.evaluation = run.require_evaluation()
        self.not_compared = mismatch(run, other) if other else ""
        self.base = None if self.not_compared else other
        self.stale = _find_stale(run)
        self.files = {
            name: run.load(run.metrics / f"{name}.json") for name in REPORT_FILES
        }
        base = self.base or run  # without a base, nothing differs
        self.params = changed_values(_settings(base), _settings(run))
        self.packages = changed_values(_locked_versions(base), _locked_versions(run))
        changed = changed_values(
            locked_hashes(base.lock, "deps"),
            locked_hashes(run.lock, "deps"),
        )
        paths = sorted(each.name for each in changed)
        self.code = [
            path for path in paths if path.startswith(CODE) or path.endswith(".py")
        ]
        profile = self.files["profile"]
        base_profile = base.load(base.metrics / "profile.json")
        has_profiles = profile and base_profile
        self.data = changed_values(base_profile, profile) if has_profiles else None
        split = locked_hashes(run.lock, "outs").get("data/split")
        base_split = locked_hashes(base.lock, "outs").get("data/split")
        self.test_rows_differ = bool(split and base_split) and split != base_split
        paired = paired_scores(run, self.base) if self.base else {}
        self.shared_rows = next((score.rows for score in paired.values()), "")
        base_scores = self._base_scores(paired)
        self.scores = {}
        for row_set in self.evaluation.row_sets():
            self.scores[row_set] = compare_scores(
                [score for score in self.evaluation.scores if score.row_set == row_set],
                base_scores if row_set == "test" else {},
                self.evaluation.custom_metrics,
                first=self.evaluation.main_metrics,
            )

    def _base_scores(
        self,
        paired: Mapping[str, PairedScore],
    ) -> dict[str, Score]:
        """Return the scores of the base on the test rows, by metric key.

        They have the differences from the run. Costs are left out if the two have other
        costs of an error.
        """
        if self.base is None:
            return {}
        evaluation = self.base.require_evaluation()
        scores = {}
        for score in evaluation.scores:
            key = score.metric
            if score.row_set != "test" or score.model != MODEL:
                continue
            if key == COST and evaluation.costs != self.evaluation.costs:
                continue
            difference = paired[key].difference if key in paired else None
            scores[key] = score.model_copy(update={"difference": difference})
        return scores


def changed_values(
    old: Mapping[Any, Any],
    new: Mapping[Any, Any],
) -> list[ChangedValue]:
    """List the leaves of nested mappings that differ, by dotted key."""
    before = dict(flatten(old))
    after = dict(flatten(new))
    return [
        ChangedValue(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name)
    ]


def _settings(run: Run) -> dict[str, Any]:
    """Return the parameters of the results, and the keys of the schema as in DVC."""
    params = run.params or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def _locked_versions(run: Run) -> dict[str, str]:
    return dict(LOCKED_VERSION.findall(run.read("requirements.txt")))


def _find_stale(run: Run) -> list[str]:
    """List what was edited after the run: parameters, the schema or the scores."""
    current = run.load(PARAMS)
    current_sections = {section: current.get(section) for section in run.params}
    changed = changed_values(run.params, current_sections)
    names = [each.name for each in changed]
    locked = locked_hashes(run.lock, "deps") | locked_hashes(run.lock, "outs")
    for path in (str(SCHEMA), str(run.metrics / "scores.json")):
        md5 = md5_hash(run.read(path).encode())
        if locked.get(path) not in (None, md5):
            names.append(path)
    return names
