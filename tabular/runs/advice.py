"""What to try next: each line has its numbers, and a command where one follows."""

import math
from collections.abc import Mapping
from typing import Any

from tabular.config.sections import Split
from tabular.core.errors import listed
from tabular.core.metrics import BASELINES, TASKS, flat_numbers, metric, shown
from tabular.evaluation.sentences import outside_told

# A decisive score, or R², that looks like a leak; and the lower bound of its interval, from where
# on there is little left to win.
SUSPICIOUS, NEARLY_PERFECT = 0.999, 0.98
OVERFITTED = 0.7  # a training loss below this share of the cross-validated one is overfitting
MORE_DROPOUT, MOST_DROPOUT = 0.2, 0.5
LINEAR = {task.baselines["linear"] for task in TASKS.values()}
TEST_ROWS = "data/split/test/part-00000.parquet"
CHOOSE = "`dvc exp run -S 'evaluate.threshold={best: f1}'` chooses one on cross-validated rows"


def next_steps(
    scores: Mapping[str, Any],
    decisive: Mapping[str, Any] | None,
    crossed: Mapping[str, Any] | None,
    task: str,
    split: Split,
    networks: Mapping[str, Any],
) -> list[str]:
    """What to try, from what the scores tell; nothing where they tell nothing.

    Args:
        decisive: the comparison with a baseline that decides, if there is one.
        crossed: that of the cross-validated rows, if its verdict is worse.
        networks: each kind of params.yaml, with its `weight` and `params` where it was trained.
    """
    differ = _difference_step(scores, split)
    steps = [_missed_classes_step(scores, task)]
    if decisive:
        steps += [_row_count_step(scores, decisive), _baseline_step(decisive, differ)]
        if not differ and not _nearly_perfect(scores, task):
            steps.append(_fit_step(scores, decisive, crossed, networks))
        steps.append(_simpler_step(decisive, networks))
    if crossed:
        steps.append(f"cross-validation does not say so: {crossed['reason']}")
    steps += [differ, _equal_rows_step(scores, split), _outside_step(scores)]
    steps += [_threshold_step(scores, task), _leak_step(scores, task)]
    return [step for step in steps if step]


def _missed_classes_step(scores: Mapping[str, Any], task: str) -> str | None:
    """How to find classes of which no test row is found."""
    missed = scores.get("classes_not_found")
    if not missed:
        return None
    said = f"recall of {listed(missed)} is 0 on {scores['test']['rows']:,} test rows"
    if task == "binary":
        return f"{said} at threshold {shown(scores.get('threshold', 0.5))}: {CHOOSE}"
    return f"{said}: try `dvc exp run -S train.class_weight=balanced`, or more rows of it"


def _row_count_step(scores: Mapping[str, Any], decisive: Mapping[str, Any]) -> str | None:
    """How many rows would show a difference that is within chance now."""
    if decisive["verdict"] != "level" or not decisive["difference"]:
        return None
    rows = scores["test"]["rows"]
    half = (decisive["high"] - decisive["low"]) / 2
    needed = rows * (half / decisive["difference"]) ** 2
    if needed <= rows:
        return None
    unit = 10 ** max(int(math.log10(needed)) - 1, 0)  # two digits are kept
    return (
        f"too few test rows to tell: a difference of {shown(abs(decisive['difference']))} shows "
        f"from about {math.ceil(needed / unit) * unit:,} rows on, and these are {rows:,}"
    )


def _baseline_step(decisive: Mapping[str, Any], differ: str | None) -> str | None:
    """What to use in place of a model that is worse than a baseline.

    A search by cross-validated rows helps where the test rows are alike.
    """
    if decisive["verdict"] != "fail":
        return None
    name = BASELINES[decisive["rule"].partition(" ")[2]]
    said = f"{name} is better by {shown(abs(decisive['difference']))}: use it"
    return said if differ else f"{said}, or look for better values: `python -m commands.search`"


def _fit_step(
    scores: Mapping[str, Any],
    decisive: Mapping[str, Any],
    crossed: Mapping[str, Any] | None,
    networks: Mapping[str, Any],
) -> str | None:
    """What to do about overfitting; or what else may help, where no baseline is better."""
    train, folds = (scores.get(rows, {}).get("loss") for rows in ("train", "cross_validation"))
    if train is None or folds is None:
        return None
    losses = f"{shown(train, folds)} on training rows and {shown(folds, train)} cross-validated"
    if train < OVERFITTED * folds:
        said = f"the loss is {losses}: more rows are likely to help"
        return said + _more_dropout(networks)
    if decisive["verdict"] != "level" or (crossed and crossed["verdict"] == "fail"):
        return None
    name = BASELINES[decisive["rule"].partition(" ")[2]]
    return (
        f"the loss is {losses}, little overfitting, and {name} is level: other columns are likely "
        "to help more than more rows"
    )


def _more_dropout(networks: Mapping[str, Any]) -> str:
    """The command that regularises the networks of most weight more, if that is not much yet."""
    name = max(networks, key=lambda kind: networks[kind].get("weight", 0), default=None)
    if name is None:
        return ""
    dropout = round(networks[name].get("params", {}).get("dropout", 0.0) + MORE_DROPOUT, 2)
    if dropout > MOST_DROPOUT:
        return ""
    return f", or `dvc exp run -S train.networks.{name}.dropout={dropout:g}`"


def _simpler_step(decisive: Mapping[str, Any], networks: Mapping[str, Any]) -> str | None:
    """How to have a linear model that is as good, or better, with all that a saved model has."""
    name, verdict = decisive["rule"].partition(" ")[2], decisive["verdict"]
    if verdict == "pass" or name not in LINEAR or "plain" not in networks:
        return None
    found = "level and simpler" if verdict == "level" else "better"
    return (
        f"{BASELINES[name]} is {found}: `dvc exp run -S 'train.members=[{{network: "
        "plain}]' -S 'train.networks.plain.units=[]'` makes a linear Keras model to predict and "
        "serve with"
    )


def _equal_rows_step(scores: Mapping[str, Any], split: Split) -> str | None:
    """How to part rows that equal others, where it is a draw that mixed them."""
    found = scores.get("equal_rows", {}).get("test")
    if not found or split.by != "random":
        return None
    return (
        f"{found['equal']:,} test rows equal a training row: "
        "`dvc exp run -S split.equal_rows=together` keeps such rows on one side"
    )


def _outside_step(scores: Mapping[str, Any]) -> str | None:
    """What to do about columns of which training saw other values."""
    outside = scores.get("outside_training")
    if not outside:
        return None
    return (
        f"{outside_told(outside)}: a column under `ignore` in data/schema.yaml is not read, and "
        "may still be the time of the split"
    )


def _difference_step(scores: Mapping[str, Any], split: Split) -> str | None:
    """What to look at where the test rows do worse than cross-validated ones, beyond chance."""
    found = [_lower_score(scores, key) for key in scores.get("decides", [])][:1]
    found.append(_narrow_intervals(scores))
    evidence = "; ".join(filter(None, found))
    if not evidence:
        return None
    if split.by in ("random", "group", "hash"):  # by the seed
        seed = f"`dvc exp run -S split.seed={split.seed + 1}`"
        return f"{evidence}: {seed} tells whether other test rows do so too"
    step = (
        f"{evidence}: the test rows (split.by: {split.by}) are not as the training rows; "
        f"`python -m commands.drift {TEST_ROWS}` names the columns that moved"
    )
    if split.by != "time":
        return step
    if "forward_chaining" not in scores:
        step += (
            "; `dvc exp run -S train.forward_chaining=3` cross-validates with models of earlier "
            "rows alone"
        )
    return f"{step}; and if no later rows are to be predicted, `dvc exp run -S split.by=random`"


def _lower_score(scores: Mapping[str, Any], key: str) -> str | None:
    """By how much a score of the test rows is worse than cross-validated, if beyond chance.

    Of a split by time that is by forward chaining, where it was asked for.
    """
    rows, said = "cross_validation", "cross-validated"
    if "forward_chaining" in scores:
        rows, said = "forward_chaining", "on later rows by models of earlier ones"
    test, folds = (flat_numbers(scores.get(of, {})) for of in ("test", rows))
    if any(f"{key}{end}" not in of for of in (test, folds) for end in ("", "_low", "_high")):
        return None
    gap = abs(folds[key] - test[key])
    chance = math.hypot(*(of[f"{key}_high"] - of[f"{key}_low"] for of in (test, folds))) / 2
    worse = (test[key] < folds[key]) == metric(key).greater_is_better
    if not worse or gap <= chance:
        return None
    return (
        f"{metric(key).label} is {shown(test[key], folds[key])} on test rows and "
        f"{shown(folds[key], test[key])} {said}, a difference of {shown(gap, chance)} "
        f"where chance gives up to {shown(chance, gap)}"
    )


def _narrow_intervals(scores: Mapping[str, Any]) -> str | None:
    """Of a regression whose intervals hold fewer values of test rows than asked, beyond chance."""
    held = scores.get("interval")
    if not held or held["coverage_high"] >= held["asked"]:
        return None
    return (
        f"intervals of {held['asked']:.0%} hold {shown(held['coverage'])} of the values of test "
        f"rows (95% interval {shown(held['coverage_low'])} to {shown(held['coverage_high'])})"
    )


def _threshold_step(scores: Mapping[str, Any], task: str) -> str | None:
    """Whether to choose a threshold, where a class is rare and its rows are found at 0.5."""
    rare = task == "binary" and len(scores.get("decides", [])) > 1
    if not rare or scores.get("threshold") != 0.5 or scores.get("classes_not_found"):
        return None
    test = scores["test"]
    if not {"recall", "precision", "f1"} <= test.keys() or test["f1"] >= NEARLY_PERFECT:
        return None
    return (
        f"a class is rare: recall {shown(test['recall'])} and precision "
        f"{shown(test['precision'])} at threshold "
        f"{shown(scores['threshold'])}; {CHOOSE}"
    )


def _decisive_value(scores: Mapping[str, Any], task: str) -> tuple[str, float, float]:
    """The first score that decides, or R²: its key, what it is, and the end of its interval."""
    key = "r2" if task == "regression" else next(iter(scores.get("decides", [])), "")
    test = flat_numbers(scores.get("test", {}))
    return key, test.get(key, 0.0), test.get(f"{key}_low", 0.0)


def _nearly_perfect(scores: Mapping[str, Any], task: str) -> bool:
    return _decisive_value(scores, task)[1] >= NEARLY_PERFECT


def _leak_step(scores: Mapping[str, Any], task: str) -> str | None:
    """What to ask of a score that is nearly perfect."""
    key, value, low = _decisive_value(scores, task)
    if value < SUSPICIOUS or low < NEARLY_PERFECT:
        return None
    return (
        f"nearly no error, {metric(key).label} {shown(value)} (from {shown(low)} on): is the most "
        "important column known before the answer is, or a leak?"
    )
