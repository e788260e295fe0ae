"""What evaluate says at its end, in a line each."""

from collections.abc import Iterator
from typing import Any

from tabular.core.metrics import BASELINES, TASKS, flat_numbers, metric

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
            f"Intervals of {held['asked']:.0%} hold {held['coverage']:.1%} of the values of test "
            f"rows (95% interval {held['coverage_low']:.1%} to {held['coverage_high']:.1%}); mean "
            f"width {held['mean_width']:.6g}"
        )
    yield from (f"warn: {said}" for said in equal_rows_told(scores, task))
    if outside := scores.get("outside_training"):
        yield f"warn: {outside_told(outside)}"
    for name in scores["classes_not_found"]:
        yield f"warn: recall of {name} is 0: no test row of it is predicted to be of it"


def equal_rows_told(scores: dict[str, Any], task: str) -> Iterator[str]:
    """How many rows equal others in training, and the score without them."""
    key = scores["decides"][0]
    places = {
        "test": "test rows equal a training row",
        "cross_validation": "training rows equal one of another fold",
    }
    for rows, of in scores.get("equal_rows", {}).items():
        without = flat_numbers(of.get("without", {})).get(key)
        yield (
            f"{of['equal']:,} of {scores[rows]['rows']:,} {places[rows]}, "
            f"{of['equal_with_target']:,} of them with the same target; "
            f"{metric(key).label} without them: {shown_score(without, task)}"
        )


def outside_told(outside: dict[str, float]) -> str:
    """In which columns test rows lie outside of what training saw."""
    columns = ", ".join(f"{name} ({share:.0%})" for name, share in outside.items())
    return f"test rows lie outside what training saw in columns that matter: {columns}"


def shown_score(value: float | None, task: str) -> str:
    """A score that decides: an error in its unit, or a share."""
    if value is None:
        return UNDEFINED
    return f"{value:.6g}" if task == "regression" else f"{value:.2%}"


def sentence(scores: dict[str, Any], task: str) -> str:
    """The score that decides with its interval, cross-validated, and those of the baselines."""
    key, names = scores["decides"][0], TASKS[task].baselines
    flat = flat_numbers(scores)

    def shown(of: str, score: str = key) -> str:
        return shown_score(flat.get(f"{of}.{score}"), task)

    def crossed(of: str) -> str:
        folds = shown(f"{of}cross_validation")
        return "" if folds == UNDEFINED else f"{' and' if of else ','} {folds} cross-validated"

    low, high = (shown("test", f"{key}_{end}") for end in ("low", "high"))
    constant = names["constant"]
    others = [name for name in names.values() if name != constant]
    return (
        f"{metric(key).label}: {shown('test')} on {scores['test']['rows']} test rows "
        f"(95% interval {low} to {high}){crossed('')}; "
        + ", ".join(
            f"{BASELINES[name]} {shown(f'baseline.{name}')}{crossed(f'baseline.{name}.')}"
            for name in others
        )
        + f", {BASELINES[constant]} {shown(f'baseline.{constant}')}"
    )


def threshold_sentence(scores: dict[str, Any]) -> str:
    """What a threshold that was chosen has come to."""

    def shown(of: dict[str, Any], key: str) -> str:
        return f"{of[key]:.2%}" if key in of else UNDEFINED

    found = [
        f"recall {shown(of, 'recall')}, precision {shown(of, 'precision')}, "
        f"F1 {shown(of, 'f1')} {where}"
        for where, of in (
            ("on the test rows", scores["test"]),
            ("cross-validated", scores["cross_validation"]),
        )
    ]
    return f"Threshold {scores['threshold']:.4f}: {'; '.join(found)}"
