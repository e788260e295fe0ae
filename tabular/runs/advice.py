"""What to try next: each line has its numbers, and a command where one follows."""

import math
from collections.abc import Iterator, Mapping
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
    key = "r2" if task == "regression" else next(iter(scores.get("decides", [])), "")
    test, differ = flat_numbers(scores.get("test", {})), _difference_step(scores, split)
    steps = [_missed_classes_step(scores, task)]
    if decisive:
        steps += _baseline_steps(scores["test"]["rows"], decisive, differ)
        if not differ and test.get(key, 0.0) < NEARLY_PERFECT:
            steps.append(_fit_step(scores, decisive, crossed, networks))
        steps.append(_simpler_step(decisive, networks))
    if crossed:
        steps.append(f"cross-validation does not say so: {crossed['reason']}")
    steps.append(differ)
    equal = scores.get("equal_rows", {}).get("test")
    if equal and split.by == "random":  # it is the draw that mixed them
        steps.append(
            f"{equal['equal']:,} test rows equal a training row: "
            "`dvc exp run -S split.equal_rows=together` keeps such rows on one side"
        )
    if outside := scores.get("outside_training"):
        steps.append(
            f"{outside_told(outside)}: a column under `ignore` in data/schema.yaml is not read, "
            "and may still be the time of the split"
        )
    steps.append(_threshold_step(scores, task))
    if test.get(key, 0.0) >= SUSPICIOUS and test.get(f"{key}_low", 0.0) >= NEARLY_PERFECT:
        steps.append(
            f"nearly no error, {metric(key).label} {shown(test[key])} (from "
            f"{shown(test[f'{key}_low'])} on): is the most important column known before the "
            "answer is, or a leak?"
        )
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


def _baseline_steps(rows: int, decisive: Mapping[str, Any], differ: str | None) -> Iterator[str]:
    """From how many test rows a difference would show, or what to use in place of the model.

    A search by cross-validated rows helps where the test rows are alike.
    """
    verdict, difference = decisive["verdict"], decisive["difference"]
    if verdict == "level" and difference:
        half = (decisive["high"] - decisive["low"]) / 2
        needed = rows * (half / difference) ** 2
        unit = 10 ** max(int(math.log10(max(needed, 1))) - 1, 0)  # two digits are kept
        if needed > rows:
            yield (
                f"too few test rows to tell: a difference of {shown(abs(difference))} shows from "
                f"about {math.ceil(needed / unit) * unit:,} rows on, and these are {rows:,}"
            )
    if verdict == "fail":
        name = BASELINES[decisive["rule"].partition(" ")[2]]
        said = f"{name} is better by {shown(abs(difference))}: use it"
        search = ", or look for better values: `python -m commands.search`"
        yield said + ("" if differ else search)


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
        name = max(networks, key=lambda kind: networks[kind].get("weight", 0), default="")
        before = networks.get(name, {}).get("params", {}).get("dropout", 0.0)
        dropout = round(before + MORE_DROPOUT, 2)
        if not name or dropout > MOST_DROPOUT:
            return said
        return f"{said}, or `dvc exp run -S train.networks.{name}.dropout={dropout:g}`"
    if decisive["verdict"] != "level" or (crossed and crossed["verdict"] == "fail"):
        return None
    name = BASELINES[decisive["rule"].partition(" ")[2]]
    return (
        f"the loss is {losses}, little overfitting, and {name} is level: other columns are likely "
        "to help more than more rows"
    )


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


def _difference_step(scores: Mapping[str, Any], split: Split) -> str | None:
    """What to look at where the test rows do worse than cross-validated ones, beyond chance."""
    found = [_lower_score(scores, key) for key in scores.get("decides", [])][:1]
    held = scores.get("interval")
    if held and held["coverage_high"] < held["asked"]:
        found.append(
            f"intervals of {held['asked']:.0%} hold {shown(held['coverage'])} of the values of "
            f"test rows (95% interval {shown(held['coverage_low'])} to "
            f"{shown(held['coverage_high'])})"
        )
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
