"""Draw rows as real tables have them: alone, in groups, in time, or with huge errors.

All simulations draw their rows here. A `Kind` says how rows depend on each other and
how their errors are distributed. The distribution of a single row is always the same,
so that scores of very many independent rows are the true ones.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri, stdtrit

from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.table.groups import time_blocks
from keras_tabular.tasks.task import Binary, Regression

SIZES = (40, 300, 1000, 10_000)
LONG_SIZES = SIZES[1:]
CLUSTER_SIZE = 10
INTRACLASS_CORRELATION = 0.5
MANY_ROWS = 1_000_000
BINARY = Binary((0, 1))
REGRESSION = Regression()
# A missed positive row costs as much as 20 false alarms.
COSTS = ((0.0, 1.0), (20.0, 0.0))


class Kind(NamedTuple):
    """A kind of rows.

    Attributes:
        family: Column of the tables in which results are shown.
        sizes: Numbers of rows for which the kind is simulated.
        clusters: Sizes of the groups, `equal` or `Zipf`, if there are any.
        is_declared: Whether the schema declares the groups.
        autocorrelation: Correlation of a row with the one before.
        quantile: Turns normal errors into errors of mean 0 and variance 1.
        zeros: Share of rows whose target is 0; of regressions only if `has_zeros`.
        positives: Expected number of positive rows, instead of `zeros`.
    """

    family: str
    sizes: tuple[int, ...] = SIZES
    clusters: str = ""
    is_declared: bool = True
    autocorrelation: float = 0.0
    quantile: Callable[[np.ndarray], np.ndarray] | None = None
    zeros: float = 0.5
    positives: int = 0

    @property
    def has_zeros(self) -> bool:
        """Whether most targets are 0."""
        return self.zeros > 0.5 or self.positives > 0


def student_errors(normal: np.ndarray) -> np.ndarray:
    """Turn normal errors into those of Student's t with 2.5 degrees of freedom."""
    return stdtrit(2.5, ndtr(normal)) / 5**0.5


def pareto_errors(normal: np.ndarray) -> np.ndarray:
    """Turn normal errors into those of a Pareto distribution with exponent 2.5."""
    return (ndtr(-normal) ** -0.4 - 5 / 3) / (20 / 9) ** 0.5


def lognormal_errors(normal: np.ndarray) -> np.ndarray:
    """Turn normal errors into lognormal ones, whose logarithms have variance 1."""
    return (np.exp(normal) - np.e**0.5) / (np.e * (np.e - 1)) ** 0.5


KINDS = {
    "independent": Kind("independent"),
    "clusters": Kind("groups", LONG_SIZES, clusters="equal"),
    "Zipf": Kind("groups", LONG_SIZES, clusters="Zipf"),
    "four clusters": Kind("4 groups", SIZES[:1], clusters="equal"),
    "clusters, not declared": Kind(
        "undeclared",
        SIZES[:3],
        clusters="equal",
        is_declared=False,
    ),
    "AR 0.5": Kind("time", LONG_SIZES, autocorrelation=0.5),
    "AR 0.9": Kind("time", LONG_SIZES, autocorrelation=0.9),
    "AR 0.97": Kind("time", SIZES[2:], autocorrelation=0.97),
    "short AR 0.97": Kind("short time", SIZES[1:2], autocorrelation=0.97),
    "t": Kind("heavy tails", quantile=student_errors),
    "Pareto": Kind("heavy tails", quantile=pareto_errors),
    "lognormal": Kind("heavy tails", quantile=lognormal_errors),
    "90 % zeros": Kind("zeros", LONG_SIZES, zeros=0.9),
    "98 % zeros": Kind("zeros", SIZES[2:], zeros=0.98),
    "few of 10 %": Kind("few others", SIZES[:1], zeros=0.9),
    "few of 2 %": Kind("few others", SIZES[:2], zeros=0.98),
    "5 positives": Kind("5 positives", positives=5),
}
DEPENDENT = tuple(KINDS)[:9]
HEAVY_TAILS = ("t", "Pareto", "lognormal")
ZEROS = ("90 % zeros", "98 % zeros", "few of 10 %", "few of 2 %")
CLASS_KINDS = (*DEPENDENT, *ZEROS, "5 positives")
VALUE_KINDS = (*DEPENDENT, *HEAVY_TAILS, *ZEROS)


def tasks_of_kind(name: str) -> list[Binary | Regression]:
    """Return the tasks whose tables may have a kind of rows."""
    tasks: list[Binary | Regression] = []
    if name in CLASS_KINDS:
        tasks.append(BINARY)
    if name in VALUE_KINDS:
        tasks.append(REGRESSION)
    return tasks


class Rows:
    """Random rows of one table, whose values depend on each other as the kind says.

    Attributes:
        cluster: Number of the cluster of each row, shape (rows,); None without any.
        group: Groups for `Predictions`, which the schema declares or time makes.
    """

    def __init__(self, rng: np.random.Generator, kind: Kind, rows: int) -> None:
        self.rng = rng
        self.kind = kind
        self.rows = rows
        self.cluster: np.ndarray | None = None
        count = rows // CLUSTER_SIZE
        if kind.clusters == "equal":
            self.cluster = np.arange(rows) // CLUSTER_SIZE
        elif kind.clusters:
            shares = 1 / rng.permutation(np.arange(1, count + 1))
            self.cluster = np.sort(rng.choice(count, rows, p=shares / shares.sum()))
        self.group = self.cluster if kind.is_declared else None
        if kind.autocorrelation:
            self.group = time_blocks(np.arange(rows))

    def draw(self) -> np.ndarray:
        """Draw a standard normal value of each row: float64, shape (rows,)."""
        values = self.rng.normal(size=self.rows)
        if self.cluster is not None:
            shared = self.rng.normal(size=self.cluster.max() + 1)[self.cluster]
            return (shared + values) * INTRACLASS_CORRELATION**0.5
        correlation = self.kind.autocorrelation
        if correlation:
            values[1:] *= (1 - correlation**2) ** 0.5
            return lfilter([1.0], [1.0, -correlation], values)
        return values

    def draw_models(
        self,
        task: Binary | Regression,
        shares: Sequence[float],
    ) -> list[Predictions]:
        """Draw a target, and models that predict its expected value.

        What the models know is normal, and most of what the weakest one knows is common
        to all. A class is whether the target is above a limit. A regression with many
        zeros has lognormal values above the limit.

        Args:
            shares: Share of the target's variance that each model knows.
        """
        common = 0.8 * min(shares)
        shared = common**0.5 * self.draw()
        means = [shared + (share - common) ** 0.5 * self.draw() for share in shares]
        errors = self.draw()
        if self.kind.quantile and task is REGRESSION:
            errors = self.kind.quantile(errors)
        variance = 1 - sum(shares) + (len(shares) - 1) * common
        rest = shared * (1 - len(shares))
        y = np.sum(means, axis=0) + rest + variance**0.5 * errors
        y_pred = means
        threshold = 0.5
        costs = None
        if task is BINARY or self.kind.has_zeros:
            kind = self.kind
            zeros = 1 - kind.positives / self.rows if kind.positives else kind.zeros
            limit = ndtri(zeros)
            y = (y > limit).astype(np.float64)
            y_pred = [
                ndtr((mean - limit) / (1 - share) ** 0.5)
                for mean, share in zip(means, shares, strict=True)
            ]
        if task is REGRESSION and self.kind.has_zeros:
            y *= np.exp(self.draw() - 0.5)
        if task is BINARY:
            threshold = 1 - zeros
            costs = COSTS
        return [
            Predictions(
                task,
                y,
                values[:, None],
                np.ones(self.rows),
                threshold,
                self.group,
                costs=costs,
            )
            for values in y_pred
        ]


def true_scores(
    kind: Kind,
    rows: int,
    task: Binary | Regression,
    share: float,
) -> dict[str, float]:
    """Return the scores of a model of `draw_models` on very many rows."""
    positives = kind.positives * MANY_ROWS // rows
    alone = Kind("", quantile=kind.quantile, zeros=kind.zeros, positives=positives)
    return score_many_rows(alone, task, share)


@cache
def score_many_rows(
    kind: Kind,
    task: Binary | Regression,
    share: float,
) -> dict[str, float]:
    """Score a model on very many rows; squared errors have a known mean."""
    many = Rows(np.random.default_rng(1), kind, MANY_ROWS)
    scores = score(many.draw_models(task, (share, share))[0])
    if task is REGRESSION and not kind.has_zeros:
        scores |= {"loss": 1 - share, "rmse": (1 - share) ** 0.5, "r2": share}
    return scores
