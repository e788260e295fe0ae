"""What evaluate says at its end, in a line each."""

from collections.abc import Iterator
from typing import Any

from tabular.core.metrics import BASELINES, TASKS, get_nested, metric, shown, shown_scores

UNDEFINED = "–"


def closing_lines(
    scores: dict[str, Any], tests: dict[str, dict[str, Any]], task: str, *, chosen: bool
) -> Iterator[str]:
    """What is said of the other files, of the test rows, and of classes that are not found.

    Args:
        tests: what was found of each file of `evaluate.tests`, by its name.
        chosen: whether a choice is behind the threshold.
    """
    for name, found in tests.items():
        yield from (f"warn: {name}: {said}" for said in found["told"])
        yield f"{name}: {sentence(found, task)}"
    yield sentence(scores, task)
    if chosen:
        yield threshold_sentence(scores)
    if held := scores.get("interval"):
        yield (
            f"Intervals of {held['asked']:.0%} hold {shown(held['coverage'])} of the values of "
            f"test rows (95% interval {shown(held['coverage_low'])} to "
            f"{shown(held['coverage_high'])}); mean width {shown(held['mean_width'])}"
        )
    yield from (f"warn: {said}" for said in equal_rows_told(scores).values())
    if outside := scores.get("outside_training"):
        yield f"warn: {outside_told(outside)}"
    for name in scores["classes_not_found"]:
        yield f"warn: recall of {name} is 0: no test row of it is predicted to be of it"


def equal_rows_told(scores: dict[str, Any]) -> dict[str, str]:
    """How many rows equal others in training, and the score without them, by `metrics.ROWS`."""
    found = {}
    places = {
        "test": "test rows equal a training row",
        "cross_validation": "training rows equal one of another fold",
    }
    for rows, of in scores.get("equal_rows", {}).items():
        key = scores["decides"][0]
        without = get_nested(of, f"without.{key}")
        found[rows] = (
            f"{of['equal']:,} of {scores[rows]['rows']:,} {places[rows]}, "
            f"{of['equal_with_target']:,} of them with the same target; "
            f"{metric(key).label} without them: {UNDEFINED if without is None else shown(without)}"
        )
    return found


def outside_told(outside: dict[str, float]) -> str:
    """In which columns test rows lie outside of what training saw."""
    columns = ", ".join(f"{name} ({share:.0%})" for name, share in outside.items())
    return f"test rows lie outside what training saw in columns that matter: {columns}"


def sentence(scores: dict[str, Any], task: str) -> str:
    """The score that decides with its interval, cross-validated, and those of the baselines."""
    key, names = scores["decides"][0], TASKS[task].baselines
    held_out = ("test", "cross_validation", "forward_chaining")
    test, folds, later = (shown_scores(scores, rows, key) for rows in held_out)

    def both(name: str) -> str:
        crossed = f" and {folds[name]} cross-validated" if name in folds else ""
        return f"{BASELINES[name]} {test.get(name, UNDEFINED)}{crossed}"

    low, high = (shown(scores["test"][f"{key}_{end}"]) for end in ("low", "high"))
    crossed = f", {folds['model']} cross-validated" if "model" in folds else ""
    crossed += f", {later['model']} on later rows by models of earlier ones" if later else ""
    constant = names["constant"]
    others = [both(name) for name in names.values() if name != constant]
    return (
        f"{metric(key).label}: {test['model']} on {scores['test']['rows']:,} test rows "
        f"(95% interval {low} to {high}){crossed}; {', '.join(others)}, "
        f"{BASELINES[constant]} {test.get(constant, UNDEFINED)}"
    )


def threshold_sentence(scores: dict[str, Any]) -> str:
    """What a threshold that was chosen has come to."""

    def told(of: dict[str, Any], key: str) -> str:
        return shown(of[key]) if key in of else UNDEFINED

    found = [
        f"recall {told(of, 'recall')}, precision {told(of, 'precision')}, "
        f"F1 {told(of, 'f1')} {where}"
        for where, of in (
            ("on the test rows", scores["test"]),
            ("cross-validated", scores["cross_validation"]),
        )
    ]
    return f"Threshold {shown(scores['threshold'])}: {'; '.join(found)}"
