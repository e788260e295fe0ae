"""What evaluate says at its end, in a line for the scores and one for a chosen threshold."""

from typing import Any

from tabular.core.metrics import BASELINES, TASKS, flat_numbers, metric

UNDEFINED = "–"


def sentence(scores: dict[str, Any], task: str) -> str:
    """The score that decides with its interval, cross-validated, and those of the baselines."""
    key, names = scores["decides"][0], TASKS[task].baselines
    flat = flat_numbers(scores)

    def shown(of: str, score: str = key) -> str:
        value = flat.get(f"{of}.{score}")
        if value is None:
            return UNDEFINED
        return f"{value:.6g}" if task == "regression" else f"{value:.2%}"

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


def threshold_sentence(threshold: float, scores: dict[str, Any]) -> str:
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
    return f"Threshold {threshold:.4f}: {'; '.join(found)}"
