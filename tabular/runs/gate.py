"""Whether a run may be accepted: limits, baselines, the run before it; and what to try next."""

import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from tabular.config.params import PARAMS, Params
from tabular.config.sections import Gate, Split
from tabular.core.errors import listed
from tabular.core.metrics import (
    BASELINES,
    TASKS,
    flat_numbers,
    get_nested,
    metric,
    shown,
    shown_scores,
)
from tabular.evaluation.sentences import equal_rows_told, outside_told
from tabular.runs.run import Revision, Run, commit_before, mismatch

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
    *,
    weighted: bool = False,
) -> list[str]:
    """What to try, from what the scores tell; nothing where they tell nothing.

    Args:
        decisive: the comparison with a baseline that decides, if there is one.
        crossed: that of the cross-validated rows, if its verdict is worse.
        networks: each kind of params.yaml, with its `weight` and `params` where it was trained.
        weighted: whether classes had weights in training.
    """
    key = "r2" if task == "regression" else next(iter(scores.get("decides", [])), "")
    test, differ = flat_numbers(scores.get("test", {})), _difference_step(scores, split)
    steps = [_missed_classes_step(scores, task, weighted)]
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


def _missed_classes_step(scores: Mapping[str, Any], task: str, weighted: bool) -> str | None:
    """How to find classes of which no test row is found."""
    missed = scores.get("classes_not_found")
    if not missed:
        return None
    said = f"recall of {listed(missed)} is 0 on {scores['test']['rows']:,} test rows"
    if task == "binary":
        return f"{said} at threshold {shown(scores.get('threshold', 0.5))}: {CHOOSE}"
    if weighted:
        return f"{said}, also with train.class_weight: it takes more rows of it"
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


ORDER = ("fail", "level", "pass")  # the worst verdict comes first


class Base(NamedTuple):
    """The run to compare with; or why there is none, and no scores."""

    name: str
    scores: dict[str, Any]


def base_of(run: Run, other: Run) -> Base:
    """Another run as the base of this one, if it is of the same table, split by the same rule."""
    reason = mismatch(run, other)
    split, of_other = ({"by": "random"} | r.load(PARAMS).get("split", {}) for r in (run, other))
    if not reason and split != of_other:
        reason = f"{other.label} has another split in params.yaml, and so other test rows"
    return Base(reason, {}) if reason else Base(other.label, other.scores)


def last_committed(run: Run) -> Base:
    """The last committed run with other metrics."""
    commit = commit_before(run.files["metrics"])
    if commit is None:
        return Base("no earlier run is committed here", {})
    return base_of(run, Run(Revision(commit[:7], commit), run.files))


def evaluate_gate(
    scores: dict[str, Any],
    base: Base,
    params: Params,
    task: str,
    trained: Mapping[str, Any],
) -> dict[str, Any]:
    """The `verdict` with its `reason`, what to try `next`, and the `checks`.

    `by` is the score, and `against` the baseline, of the one comparison that decides.
    A limit passes or fails; one that needs an earlier run is `skipped` where there is none, and one
    of a score that the run has not fails. A baseline is beaten on the test rows by more than chance
    (pass), level with the model, or better by more than chance (fail). The verdict is the worst of
    all. Cross-validation, by which parameters may have been searched, decides nothing here.

    Args:
        params: of `gate`, `split` and `train`.
        trained: `weight` and `params` of each kind of networks.
    """
    gate, split, weighted = params.gate, params.split, bool(params.train.class_weight)
    limits = list(_limit_checks(flat_numbers(scores), base, gate))
    names = [TASKS[task].baselines[kind] for kind in gate.beat_baselines]
    compared = list(_baseline_checks(scores, names, "test"))
    known = {check["rule"] for check in compared}
    skipped = [
        {"rule": rule, "verdict": "skipped", "reason": "no score to compare with"}
        for rule in (f"beat_baselines {name}" for name in names)
        if rule not in known
    ]
    decisive = min(compared, key=_rank, default=None)
    every = scores.get("paired_difference", {}).get("cross_validation", {})
    crossed = min(_baseline_checks(scores, every, "cross_validation"), key=_rank, default=None)
    if not decisive or (crossed and _rank(crossed)[0] >= _rank(decisive)[0]):
        crossed = None
    missed = [check for check in limits if check["verdict"] == "fail"]
    verdict = "fail" if missed else decisive["verdict"] if decisive else "pass"
    said = [check["reason"] for check in missed]
    said += [decisive["reason"]] if decisive else []
    said += [text for rows, text in equal_rows_told(scores).items() if rows == "test"]
    if missed_classes := scores.get("classes_not_found"):
        said.append(f"no test row of class {listed(missed_classes)} is found, a recall of 0")
    networks = {name: {} for name in params.train.networks} | dict(trained)
    return {
        "verdict": verdict,
        "reason": "; ".join(said) or "no limit is missed, and no baseline is declared",
        "against": decisive["rule"].partition(" ")[2] if decisive else None,
        "by": decisive["score"] if decisive else None,
        "next": next_steps(scores, decisive, crossed, task, split, networks, weighted=weighted),
        "checks": [*limits, *compared, *skipped],
    }


def _limit_checks(values: dict[str, float], base: Base, gate: Gate) -> Iterator[dict[str, Any]]:
    """The limits that params.yaml gives, and those that follow from the scores of the base."""
    before = flat_numbers(base.scores)
    rules: list[tuple[str, str, bool, float | None, str]] = [
        *(("lowest", key, True, limit, "") for key, limit in gate.lowest.items()),
        *(("highest", key, False, limit, "") for key, limit in gate.highest.items()),
    ]
    for key, share in gate.worse_than_last.items():
        greater, limit, source = metric(key).greater_is_better, None, base.name
        if key in before:
            worse = share * abs(before[key])
            limit = round(before[key] + (-worse if greater else worse), 6)
            source = f"{share:.0%} worse than {shown(before[key])} of {base.name}"
        rules.append(("worse_than_last", key, greater, limit, source))
    for name, key, at_least, limit, source in rules:
        value = values.get(key)
        if value is None:
            verdict, reason = "fail", f"{key} is not among the scores of this run"
        elif limit is None:
            verdict, reason = "skipped", source
        else:
            verdict = "pass" if (value >= limit if at_least else value <= limit) else "fail"
            needed = f"{'at least' if at_least else 'at most'} {shown(limit, value)}"
            reason = f"{key} is {shown(value, limit)}; needed {needed}"
            reason += f" ({source})" if source else ""
        found = {"found": value, "allowed": limit, "verdict": verdict, "reason": reason}
        yield {"rule": f"{name} {key}", **found}


def told(checks: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The verdict and the reason of each check, of all that are skipped together at the end."""
    skipped: dict[str, list[str]] = {}
    for check in checks:
        if check["verdict"] == "skipped":
            name = check["rule"].partition(" ")[2]
            skipped.setdefault(check["reason"], []).append(BASELINES.get(name, name))
    said = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in skipped.items())
    found = [(of["verdict"], of["reason"]) for of in checks if of["verdict"] != "skipped"]
    return [*found, ("skipped", said)] if skipped else found


def _baseline_checks(
    scores: dict[str, Any], names: Iterable[str], rows: str
) -> Iterator[dict[str, Any]]:
    """How the scores that decide compare with those of these baselines on the same rows."""
    where = {"test": "test rows", "cross_validation": "cross-validated rows"}[rows]
    for name, key in product(names, scores.get("decides", [])):
        of = get_nested(scores, f"paired_difference.{rows}.{name}.{key}")
        if not of:  # one of them has none
            continue
        beyond = not of["low"] <= 0 <= of["high"]
        better = metric(key).greater_is_better == (of["low"] > 0)
        verdict = "level" if not beyond else "pass" if better else "fail"
        verb = {"pass": "is better than", "level": "is level with", "fail": "is worse than"}
        texts = shown_scores(scores, rows, key)
        difference, low, high = (shown(of[end]) for end in ("difference", "low", "high"))
        yield of | {
            "rule": f"beat_baselines {name}",
            "score": f"{rows}.{key}",
            "found": get_nested(scores[rows], key),
            "allowed": get_nested(scores["baseline"][name], f"{rows}.{key}".removeprefix("test.")),
            "verdict": verdict,
            "reason": (
                f"{metric(key).label} {texts['model']} on {scores[rows]['rows']:,} {where} "
                f"{verb[verdict]} {texts[name]} of {BASELINES[name]}: the difference of "
                f"{difference} is {'more than' if beyond else 'within'} chance "
                f"(95% interval {low} to {high})"
            ),
        }


def _rank(check: dict[str, Any]) -> tuple[int, float]:
    """The worst verdict first; among equal ones the baseline that does best."""
    sign = 1 if metric(check["score"]).greater_is_better else -1
    half = (check["high"] - check["low"]) / 2
    return ORDER.index(check["verdict"]), sign * check["difference"] / half if half else 0.0
