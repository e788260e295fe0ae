"""Measure how often intervals contain the true value, in simulations of random tables.

Nothing is trained: labels and predictions are drawn from distributions whose true
scores are known. Each line of the output is a measured share with its limit. The names
of the lines begin with the simulation:

- `rare class`: 200 draws of 200 rows, for a model of noise and for three good ones. An
  interval has to contain the score of very many rows. A perfect score has no interval.
- `noise`: two models of pure noise predict the same 200 rows, in 400 draws. The share
  is that of significant differences in ROC AUC.
- `groups`: 200 draws of rows in groups of ten. Half of the variance of the errors is
  common to a group. Five groups have intervals of means over the rows only.
- `mean`: 1,000 draws of rows that are right with a probability of 0.98, or of lognormal
  errors. The logarithm of these has a standard deviation of 1.25, so the interval of
  few rows is too narrow.
- `tails`: 1,000 draws of a regression with lognormal errors, for which few rows are too
  few.
- `cost`: 1,000 draws for a model with a ROC AUC of 0.85 and for an equal one on the
  same rows, when it is 20 times as bad to miss a positive row as to raise a false
  alarm.
- `skewed`: 2,000 draws of the losses of two equally good models with errors of other
  shapes. The share is that of draws in which the first model is significantly worse, or
  that of draws in which it is significantly better, whichever is larger. It should be
  0.025. Two better models follow, with the share of draws in which they are
  significantly better.

The figures in benchmarks/EVIDENCE.md are from this script. The exit code is 1 if a
limit is exceeded.

    python -m benchmarks.intervals
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from itertools import product

import numpy as np
from scipy.special import expit, ndtri

from benchmarks.simulations import (
    BINARY,
    REGRESSION,
    Measurement,
    at_least,
    at_most,
    simulate,
)
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.evaluation.uncertainty import (
    mean_difference,
    mean_interval,
    score_and_resample,
    share_interval,
)

MANY_ROWS = 400_000
CLASS_SCORES = ("roc_auc", "average_precision", "recall", "precision", "f1")
MAX_SHARE_OF_DIFFERENCES = 0.08


def predict_ranked(y: np.ndarray, area: float, errors: np.ndarray) -> Predictions:
    """Predict labels so that the area under the ROC curve is `area` in very many rows.

    Args:
        y: Labels 0 or 1; shape (rows,).
        errors: Standard normal errors of the logits; shape (rows,).
    """
    share = y.mean()
    logits = 2**0.5 * ndtri(area) * (y - 0.5) + errors + np.log(share / (1 - share))
    return Predictions(BINARY, y, expit(logits)[:, None], np.ones(len(y)), share)


def draw_ranked_rows(
    rng: np.random.Generator,
    positive: int,
    area: float,
    rows: int = 200,
) -> Predictions:
    """Draw predictions for rows of which a number is positive."""
    y = np.repeat([1.0, 0.0], [positive, rows - positive])
    return predict_ranked(y, area, rng.normal(size=rows))


def true_scores(
    rng: np.random.Generator,
    positive_share: float,
    area: float,
) -> dict[str, float]:
    """Return the scores of very many rows."""
    return score(
        draw_ranked_rows(rng, int(positive_share * MANY_ROWS), area, MANY_ROWS),
    )


def measure_rare_classes(draws: int = 200) -> Iterator[Measurement]:
    for (positive, least), area in product(
        ((10, 0.88), (20, 0.9), (50, 0.9)),
        (0.5, 0.8, 0.95, 0.99),
    ):
        rng = np.random.default_rng(0)
        inside = defaultdict[str, list[bool]](list)
        truth = true_scores(rng, positive / 200, area)
        for _ in range(draws):
            rows = draw_ranked_rows(rng, positive, area)
            limits = score_and_resample(rows).intervals(CLASS_SCORES)
            for key in limits.keys() & {*CLASS_SCORES}:
                inside[key].append(limits[key][0] <= truth[key] <= limits[key][1])
        for key, each in sorted(inside.items()):
            if len(each) >= draws / 4:
                name = f"rare class, {positive} positive, ROC AUC {area}: {key}"
                yield at_least(name, float(np.mean(each)), least)


def measure_differences_of_noise(draws: int = 400) -> Iterator[Measurement]:
    for positive in (10, 20, 50):
        rng = np.random.default_rng(0)
        different = 0
        for _ in range(draws):
            first, second = (
                score_and_resample(draw_ranked_rows(rng, positive, 0.5))
                for _ in range(2)
            )
            different += not first.differences(second)["roc_auc"].within_chance
        name = f"noise, {positive} positive: ROC AUC differs"
        yield at_most(name, different / draws, MAX_SHARE_OF_DIFFERENCES)


def measure_groups(draws: int = 200) -> Iterator[Measurement]:
    settings = product(((5, 0.83), (20, 0.87), (100, 0.9)), (False, True))
    for (groups, least), is_weighted in settings:
        rng = np.random.default_rng(0)
        rows = 10 * groups
        group = np.repeat(np.arange(groups), 10)
        inside = defaultdict[str, list[bool]](list)
        truth = {"mae": (2 / np.pi) ** 0.5, "rmse": 1.0, "squared error": 1.0}
        truth |= true_scores(rng, 0.5, 0.8)
        for _ in range(draws):
            weight = (
                rng.choice([1.0, 3.0], groups)[group] if is_weighted else np.ones(rows)
            )
            errors = (rng.normal(size=groups)[group] + rng.normal(size=rows)) / 2**0.5
            classes = predict_ranked(
                rng.permutation(np.repeat([1.0, 0.0], rows // 2)),
                0.8,
                errors,
            )
            values = Predictions(REGRESSION, errors, np.zeros((rows, 1)), weight)
            for predictions in (classes, values):
                in_groups = predictions._replace(weight=weight, group=group)
                for key, (low, high) in (
                    score_and_resample(in_groups).intervals().items()
                ):
                    name = (
                        "squared error"
                        if predictions is values and key == "loss"
                        else key
                    )
                    if name in truth:
                        inside[name].append(low <= truth[name] <= high)
        for key, each in sorted(inside.items()):
            name = f"groups, {groups}{', weighted' if is_weighted else ''}: {key}"
            yield at_least(name, float(np.mean(each)), least)


def measure_means(draws: int = 1000) -> Iterator[Measurement]:
    errors = {20: 0.89, 100: 0.93, 1000: 0.94}
    shares = {20: 0.92, 50: 0.92, 200: 0.92}
    for rows, least in errors.items():
        rng = np.random.default_rng(0)
        truth = np.exp(1.25**2 / 2)
        inside = 0
        for _ in range(draws):
            low, high = mean_interval(rng.lognormal(0, 1.25, rows), np.ones(rows))
            inside += low <= truth <= high
        yield at_least(f"mean, {rows} lognormal errors", inside / draws, least)
    for rows, least in shares.items():
        rng = np.random.default_rng(0)
        inside = 0
        for _ in range(draws):
            low, high = share_interval((rng.random(rows) < 0.98) * 1.0, np.ones(rows))
            inside += low <= 0.98 <= high
        name = f"mean, {rows} rows with an accuracy of 0.98"
        yield at_least(name, inside / draws, least)


def measure_heavy_tails(draws: int = 1000) -> Iterator[Measurement]:
    """Yield how often intervals of RMSE and R² are right, with lognormal errors."""
    variance = (np.e - 1) * np.e  # of the errors
    for (rows, least), deviation in product(((30, 0.8), (300, 0.87)), (0.7, 3.0, 30.0)):
        rng = np.random.default_rng(0)
        inside = Counter[str]()
        truth = {"rmse": variance**0.5, "r2": 1 - variance / (variance + deviation**2)}
        for _ in range(draws):
            mean = deviation * rng.normal(size=rows)
            errors = rng.lognormal(size=rows) - np.e**0.5
            test = Predictions(REGRESSION, mean + errors, mean[:, None], np.ones(rows))
            for key, (low, high) in score_and_resample(test).intervals(truth).items():
                inside[key] += low <= truth[key] <= high
        for key in truth:
            yield at_least(
                f"tails, {rows} rows, R² {truth['r2']:.2f}: {key}",
                inside[key] / draws,
                least,
            )


def measure_costs(draws: int = 1000) -> Iterator[Measurement]:
    matrix = ((0.0, 1.0), (20.0, 0.0))
    for (rows, positive), least in {
        (100, 20): 0.91,
        (250, 25): 0.91,
        (1000, 50): 0.92,
        (4000, 200): 0.93,
    }.items():
        rng = np.random.default_rng(0)
        inside = 0
        different = 0
        many = draw_ranked_rows(rng, positive * MANY_ROWS // rows, 0.85, MANY_ROWS)
        truth = many._replace(threshold=1 / 21, costs=matrix).row_costs().mean()
        for _ in range(draws):
            pair = []
            for _ in range(2):
                predictions = draw_ranked_rows(rng, positive, 0.85, rows)
                pair.append(predictions._replace(threshold=1 / 21, costs=matrix))
            first, second = map(score_and_resample, pair)
            low, high = first.intervals(["cost"])["cost"]
            inside += low <= truth <= high
            different += not first.differences(second)["cost"].within_chance
        name = f"cost 20:1, {rows} rows, {positive} positive"
        yield at_least(name, inside / draws, least)
        yield at_most(f"{name}: equal models differ", different / draws, 0.06)


def draw_losses(
    rng: np.random.Generator,
    case: str,
    rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the losses of two models for the same rows.

    Except for classes and normal errors, the target is the product of two lognormal
    factors. They are features of the models, and the first one is common to the ten
    rows of a group. The standard deviation of the logarithm of the target is 1.

    Args:
        case: A key of `PAIRS_OF_MODELS`.
    """
    is_grouped = case.endswith("in groups")
    first = rng.lognormal(0, 0.5**0.5, rows // 10 if is_grouped else rows)
    first = np.repeat(first, 10) if is_grouped else first
    second = rng.lognormal(0, 0.5**0.5, rows)
    # of each factor
    y = first * second
    mean = np.exp(0.25)
    match case.removesuffix(", in groups"):
        case "too low or too high, squared errors":
            return np.square(y - 0.7 * mean**2), np.square(y - 1.3 * mean**2)
        case "too low or too high, absolute errors":
            # The expected errors are 1.24374.
            return np.abs(y - 0.5), np.abs(y - 1.59781)
        case "a feature each, squared errors":
            return np.square(y - first * mean), np.square(y - second * mean)
        case "too low or too high, log loss":  # 4.5 % of the rows are positive
            probability = expit(rng.normal(-3.5, 1, rows))
            positive = rng.random(rows) < probability
            # The loss is 0.17751.
            pair = np.clip(np.outer((0.4, 1.92508), probability), 0, 0.99)
            low, high = -np.log(np.where(positive, pair, 1 - pair))
            return low, high
        case "normal errors, squared":
            errors = rng.normal(size=rows) + rng.normal(0, 0.5, (2, rows))
            return np.square(errors[0]), np.square(errors[1])
        case "normal and lognormal errors, squared":
            return np.square(rng.normal(size=rows)), rng.lognormal(-1.125, 1.5, rows)
        case "a feature better than none, squared errors":
            return np.square(y - first * mean), np.square(y - mean**2)
        case _:  # "too low better than too high, squared errors"
            return np.square(y - 0.7 * mean**2), np.square(y - 1.5 * mean**2)


# The largest allowed share of each side with up to 100 rows, and with more.
EQUAL_MODELS = {
    "too low or too high, squared errors": (0.06, 0.04),
    "too low or too high, squared errors, in groups": (0.1, 0.045),
    "too low or too high, absolute errors": (0.04, 0.04),
    "a feature each, squared errors": (0.04, 0.04),
    "too low or too high, log loss": (0.13, 0.04),
    "normal errors, squared": (0.04, 0.04),
    "normal and lognormal errors, squared": (0.09, 0.06),
}
BETTER_MODELS = (
    "a feature better than none, squared errors",
    "too low better than too high, squared errors",
)


def measure_skewed_errors(draws: int = 2000) -> Iterator[Measurement]:
    for case, rows in product(
        (*EQUAL_MODELS, *BETTER_MODELS),
        (50, 100, 250, 1000, 4000),
    ):
        rng = np.random.default_rng(0)
        weight = np.ones(rows)
        counts = Counter[str]()
        group = np.arange(rows) // 10 if case.endswith("in groups") else None
        for _ in range(draws):
            losses = draw_losses(rng, case, rows)
            _, low, high = mean_difference(losses[0] - losses[1], weight, group, False)
            counts["worse"] += low > 0
            counts["better"] += high < 0
        name = f"skewed, {rows} rows, {case}"
        if case in EQUAL_MODELS:
            limit = EQUAL_MODELS[case][rows > 100]
            yield at_most(name, max(counts.values()) / draws, limit)
        else:
            yield at_least(name, counts["better"] / draws, 0.1)


main = partial(simulate, __name__)

if __name__ == "__main__":
    main()
