"""How the kinds of networks are weighted, by their out-of-fold predictions."""

from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.model.network import layers_of
from tabular.model.preprocessing.statistics import describe_preprocessing
from tabular.model.training.member import Member, member_results, out_of_fold
from tabular.model.training.setup import Setup
from tabular.table.arrays import row_losses

BAGS, PICKS, BAG_ROWS = 20, 20, 20_000  # see `select_weights`


class Blend(NamedTuple):
    """How the kinds of networks are weighted, and what decided it.

    `weights` by kind, they add up to 1; `losses` the mean loss of each kind's out-of-fold
    predictions, in the units of the target, none without folds; `rows` (n,) those that were
    predicted, sorted, and `oof` (n, outputs), float32, the weighted predictions.
    """

    weights: dict[str, float]
    losses: dict[str, float]
    rows: np.ndarray
    oof: np.ndarray

    @property
    def heaviest(self) -> str:
        """The kind of the most weight."""
        return max(self.weights, key=lambda name: self.weights[name])

    def summary(self, members: list[Member]) -> str:
        """How many networks of each kind there are, their weight and loss, in words."""
        return "; ".join(
            f"{sum(member.kind == name for member in members)} of {name}, weight {weight:.2f}"
            + (f", cross-validated loss {self.losses[name]:.4g}" if self.losses else "")
            for name, weight in self.weights.items()
        )


def blended(setup: Setup, members: list[Member]) -> Blend:
    """Weigh the kinds of networks by their out-of-fold predictions; without folds all alike."""
    kinds = list(dict.fromkeys(member.kind for member in members))
    found = {kind: out_of_fold([m for m in members if m.kind == kind]) for kind in kinds}
    rows = found[kinds[0]][0]
    oof = {kind: setup.in_units(outputs) for kind, (_, outputs) in found.items()}
    if not len(rows):
        return Blend(dict.fromkeys(kinds, 1 / len(kinds)), {}, rows, oof[kinds[0]])
    weights = select_weights(
        setup.y[rows], setup.row_weights(rows), oof, setup.schema, setup.train.seed
    )
    return Blend(
        weights,
        {kind: setup.mean_loss(rows, oof[kind]) for kind in kinds},
        rows,
        np.sum([np.float32(weights[kind]) * oof[kind] for kind in kinds], axis=0),
    )


def describe(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """What training came to: what `metrics/networks.json` holds."""
    train = setup.train
    kinds = {
        name: {
            "weight": weight,
            "members": sum(member.kind == name for member in members),
            "loss": blend.losses.get(name),
            "stacked": setup.stacks(name),
            "params": train.networks[name].model_dump(),
            "layers": layers_of(setup.features(name), setup.network(name)),
        }
        | member_results(setup, members, name)
        for name, weight in blend.weights.items()
    }
    columns = describe_preprocessing(setup.statistics, setup.schema, train)
    return {"folds": train.folds, "networks": kinds, "columns": columns, "curves": blend.heaviest}


def mean_history(members: list[Member]) -> list[dict[str, float]]:
    """The logs of each epoch, averaged over the members that trained in it."""
    histories = [member.history for member in members]
    return [
        {name: float(np.mean([logs[name] for logs in epoch if logs])) for name in histories[0][0]}
        for epoch in zip_longest(*histories)
    ]


def warnings(setup: Setup, members: list[Member], blend: Blend) -> list[str]:
    """A line for each kind of networks that learnt nothing, with what to try."""
    found, constant = {}, constant_loss(setup)
    for kind in blend.weights:
        ends = [[m.history[n]["loss"] for m in members if m.kind == kind] for n in (0, -1)]
        first, last = map(np.mean, ends)
        if last > first:
            found[kind] = f"the loss rose from {first:.4g} in the first epoch to {last:.4g}"
        elif setup.train.class_weight is None and blend.losses.get(kind, 0) >= constant:
            found[kind] = (
                f"the cross-validated loss {blend.losses[kind]:.4g} is not below that of a "
                f"constant, {constant:.4g}"
            )
    return [
        f"{kind}: {what}; try a smaller learning_rate, other epochs or more dropout in "
        f"train.networks.{kind}, or fewer columns"
        for kind, what in found.items()
    ]


def constant_loss(setup: Setup) -> float:
    """The mean loss of the best constant: the entropy of the classes, or the target's variance."""
    weight = np.ones(len(setup.y)) if setup.weight is None else setup.weight
    if setup.schema.task == "regression":
        mean = np.average(setup.y[:, 0], weights=weight)
        return float(np.average((setup.y[:, 0] - mean) ** 2, weights=weight))
    counts = np.bincount(setup.y[:, 0].astype(int), weight)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def select_weights(
    y: np.ndarray,
    weight: np.ndarray | None,
    oof: dict[str, np.ndarray],
    schema: Schema,
    seed: int,
) -> dict[str, float]:
    """The weights of kinds of networks by bagged ensemble selection.

    For each of `BAGS` samples of the rows the kinds are chosen one after the other, `PICKS` times,
    each time the one with which the mean of those chosen has the least loss; their shares are
    averaged over the samples, so that few rows, which cannot tell the kinds apart, weigh them
    alike: Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models"
    (2004).

    Args:
        y: labels, shape (rows, 1).
        weight: how much each row counts, shape (rows,); None where all count alike.
        oof: of each kind the out-of-fold predictions, shape (rows, outputs).
    """
    if len(oof) == 1:
        return dict.fromkeys(oof, 1.0)
    rng = np.random.default_rng(seed)
    picked = dict.fromkeys(oof, 0)
    for _ in range(BAGS):
        rows = rng.integers(0, len(y), min(len(y), BAG_ROWS))
        if weight is not None and not weight[rows].any():
            rows = np.arange(len(y))
        of_rows = {kind: outputs[rows].astype(np.float64) for kind, outputs in oof.items()}
        total = np.zeros(())
        for number in range(1, PICKS + 1):
            losses = {
                kind: np.average(
                    row_losses(y[rows, 0], (total + outputs) / number, schema),
                    weights=None if weight is None else weight[rows],
                )
                for kind, outputs in of_rows.items()
            }
            best = min(losses, key=lambda kind: losses[kind])
            total = total + of_rows[best]
            picked[best] += 1
    return {kind: count / (BAGS * PICKS) for kind, count in picked.items()}
