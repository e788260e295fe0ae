"""A run beside the one that it is compared with, as plain rows: scores, parameters and data."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from tabular.metrics import AVERAGES, METRICS, ROWS, TASKS, flatten, numbers
from tabular.params.loading import PARAMS
from tabular.runs.lock import LOCK, inputs, outs_of, params_of
from tabular.runs.run import Run
from tabular.schema import SCHEMA


class Change(NamedTuple):
    """Another score, and how this one differs from it."""

    value: float
    change: float  # this score minus the other
    verdict: str  # better, worse or same; empty where nobody knows which way is better


class Score(NamedTuple):
    """One score of a run, beside that of the base and of the baselines, where they have it."""

    key: str
    label: str
    average: str  # over the classes, in words; empty where there is one number
    value: float
    interval: tuple[float, float] | None
    base: Change | None
    baselines: dict[str, Change | None]


class PairedDifference(NamedTuple):
    """The main score minus that of the better baseline on the same rows, with 95% interval."""

    baseline: str
    difference: float
    low: float
    high: float


class Scores(NamedTuple):
    """The scores of some rows by key, in the order in which they are read."""

    rows: int | None
    by_key: dict[str, Score]
    main: Score | None  # the one that `evaluate` prints
    paired: PairedDifference | None


class Changed(NamedTuple):
    """A value that differs; None where a run has none."""

    name: str
    value: Any
    base: Any


class Comparison(NamedTuple):
    """What a page or a comment shows of a run and, where there is one, of its base."""

    run: Run
    base: Run | None
    scores: dict[str, Scores]  # by the keys of `tabular.metrics.ROWS`
    params: list[Changed]
    profile: list[Changed] | None  # None where one of the runs has no profile of its table
    test_rows_differ: bool  # the two runs were not scored on the same rows
    stale: list[str]  # what has changed since the results were made


def compare(run: Run, base: Run | None) -> Comparison:
    """Compare a run with another one of the same table."""
    lock = run.load(LOCK)
    scores = {
        rows: compare_scores(run, base, rows)
        for rows in ROWS
        if rows == "test" or ordered(run.scores.get(rows, {}))
    }
    old = base.load(LOCK) if base else {}
    profiles = [r.load(r.files["profile"]) for r in (base, run) if r]
    split, base_split = ([out["md5"] for out in outs_of(k, "split")] for k in (lock, old))
    return Comparison(
        run,
        base,
        scores,
        params=changes(settings(base, old), settings(run, lock)) if base else [],
        profile=changes(*profiles) if base and all(profiles) else None,
        test_rows_differ=bool(split and base_split) and split != base_split,
        stale=stale(run, lock),
    )


def ordered(scores: Mapping[str, Any]) -> dict[str, float]:
    """The scores of some rows by dotted key, in the order in which they are read."""
    own = {key: value for key, value in scores.items() if key not in {*ROWS, "rows"}}
    values = numbers(own)
    order = [*METRICS, *(f"{average}.{score}" for average in AVERAGES for score in METRICS)]
    return {key: values.pop(key) for key in order if key in values} | values


def compare_scores(run: Run, base: Run | None, rows: str) -> Scores:
    """The scores of these rows in a run, beside those of the base and of the baselines."""
    own = run.scores.get(rows, {})
    values, before = ordered(own), ordered(base.scores.get(rows, {})) if base else {}
    baselines = {
        name: ordered(scores if rows == "test" else scores.get(rows, {}))
        for name, scores in sorted(run.scores.get("baseline", {}).items())
    }
    by_key = {}
    for key, value in values.items():
        if key.endswith(("_low", "_high")):
            continue
        average, _, name = key.rpartition(".")
        known = METRICS.get(name)
        greater = known.greater_is_better if known else None
        low, high = values.get(f"{key}_low"), values.get(f"{key}_high")
        by_key[key] = Score(
            key,
            known.label if known else key.replace("_", " ").replace(".", ", "),
            AVERAGES.get(average, average) if known else "",
            value,
            None if low is None or high is None else (low, high),
            change(value, before.get(key), greater),
            {name: change(value, b.get(key), greater) for name, b in baselines.items() if b},
        )
    task = TASKS.get(str(run.schema.get("task")))
    paired = run.scores.get("paired_difference", {}).get(rows)
    return Scores(
        own.get("rows"),
        by_key,
        by_key.get(task.main) if task else None,
        PairedDifference(**paired) if paired else None,
    )


def change(value: float, other: float | None, greater_is_better: bool | None) -> Change | None:
    """How a score differs from another; None where there is no other."""
    if other is None:
        return None
    if _rounded(value) == _rounded(other):
        return Change(other, 0.0, "same")
    better = (value > other) == greater_is_better
    verdict = "" if greater_is_better is None else "better" if better else "worse"
    return Change(other, value - other, verdict)


def _rounded(value: float) -> float:
    """To the digits that a report shows: four decimals, or five digits of a large number."""
    return round(value, 4) if abs(value) < 10 else float(f"{value:.5g}")


def changes(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[Changed]:
    """The leaves of nested mappings that differ, by dotted key."""
    before, after = dict(flatten(old)), dict(flatten(new))
    return [
        Changed(name, after.get(name), before.get(name))
        for name in after | before
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    ]


def settings(run: Run, lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the results, and the table as DVC names the keys of another file."""
    params = params_of(lock) or run.load(PARAMS)
    return params | {f"{SCHEMA}:{key}": value for key, value in run.schema.items()}


def stale(run: Run, lock: Mapping[str, Any]) -> list[str]:
    """The parameters, and the schema, that are not what the results were made with."""
    used, written = params_of(lock), run.load(PARAMS)
    now = {section: written.get(section) for section in used}
    names = [changed.name for changed in changes(used, now)]
    schema = hashlib.md5(run.read(SCHEMA) or b"", usedforsecurity=False).hexdigest()
    if inputs(lock).get(str(SCHEMA), {}).get("md5", schema) != schema:
        names.append(str(SCHEMA))
    return names
