"""What choosing the best of many trials on the same rows is worth of its score."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.evaluation.scores import Outputs, scores_of
from tabular.evaluation.uncertainty import resampling_weights

DRAWS = 200


class Draws(NamedTuple):
    """A score in each of `DRAWS` bootstrap draws of the rows, and of the rows that it left out.

    NaN where these have no such score.
    """

    drawn: list[float]
    left_out: list[float]


def bootstrap_draws(found: Outputs, schema: Schema, metric: str) -> Draws:
    """The score of outputs; the draws are the same for all outputs for the same rows."""
    scores: Draws = Draws([], [])
    for times in resampling_weights(np.ones(len(found.y)), DRAWS):
        for values, weights in zip(scores, (times, times == 0), strict=True):
            values.extend(scores_of(found, weights * found.weight, schema)[metric].tolist())
    return scores


def expected_score(trials: Sequence[Draws], *, greater_is_better: bool) -> float:
    """The score to expect of the best of these trials on rows that took no part in choosing it.

    In each draw the best trial is chosen by the rows drawn, and scored on those left out: bias
    correction by the bootstrap, Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the
    out-of-sample predictions for efficient and accurate cross-validation" (2018). Of one trial it
    is its own score, without what choosing adds; NaN where no draw has a score.
    """
    drawn, left_out = (np.array(of) for of in zip(*trials, strict=True))
    worst = -np.inf if greater_is_better else np.inf
    drawn = np.where(np.isfinite(drawn), drawn, worst)
    best = drawn.argmax(axis=0) if greater_is_better else drawn.argmin(axis=0)
    scores = left_out[best, np.arange(left_out.shape[1])]
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")
