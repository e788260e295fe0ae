"""Members after their training, and how they are weighted by their out-of-fold predictions."""

from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from tabular.config.sections import EarlyStopping
from tabular.core.numbers import round_for_comparison
from tabular.model.network import layers_of
from tabular.model.preprocessing.statistics import describe_preprocessing
from tabular.model.training.setup import Setup

Logs = dict[str, float]
BAGS, PICKS, BAG_ROWS = 20, 20, 20_000  # see `select_weights`
MIN_WEIGHT = 0.1  # of what is saved


@dataclass(frozen=True)
class Member:
    """A network after some rounds of training, and its predictions for the rows of its own fold.

    Attributes:
        architecture: Name of the network in `train.networks`.
        fold: The fold that it does not learn from.
        number: Its number among the networks of its architecture, which decides its seed.
        weights: Its weights as `get_weights` returns them; none before the first snapshot.
        history: Logs of its rounds.
        rows: Numbers of its fold's rows over all parts, (n,), int32; none without folds.
        oof: Its predictions for these rows, which it has not seen: (n, outputs), float32.
        steps: Number of steps after which it is a snapshot; 0 if it trains in epochs.
        state: The `trainer.variables` after the last round, to continue from.
        best_state: The variables after the best round, if early stopping may return to it.
    """

    architecture: str
    fold: int
    number: int
    weights: list[np.ndarray] = field(default_factory=list)
    history: list[Logs] = field(default_factory=list)
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int32))
    oof: np.ndarray = field(default_factory=lambda: np.empty((0, 1), np.float32))
    steps: int = 0
    state: list[np.ndarray] = field(default_factory=list)
    best_state: list[np.ndarray] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of the snapshot, the same in every fold: architecture and number of steps."""
        return f"{self.architecture}-{self.steps}" if self.steps else self.architecture


def members_by(members: list[Member], attribute: str) -> dict[Any, list[Member]]:
    """Group members by an attribute; groups and members stay in their order."""
    groups: dict[Any, list[Member]] = {}
    for member in members:
        groups.setdefault(getattr(member, attribute), []).append(member)
    return groups


def best_round(history: list[Logs], stop: EarlyStopping, best: int = 0) -> int:
    """Return the number of the round that no later one improves by more than `min_delta`.

    Args:
        history: Logs of the rounds.
        best: Number of a round that no earlier one equals, so that the search starts there.
    """
    sign = -1 if stop.monitor == "val_accuracy" else 1
    for number in range(best + 1, len(history)):
        before, after = (round_for_comparison(history[n][stop.monitor]) for n in (best, number))
        if round_for_comparison(sign * (before - after)) > stop.min_delta:
            best = number
    return best


def out_of_fold(setup: Setup, members: list[Member]) -> tuple[np.ndarray, np.ndarray]:
    """Average the predictions of members of one architecture for the rows of their folds.

    Returns:
        The rows, sorted, (n,), and the predictions in units of the target, float32, (n, outputs).
    """
    folds = members_by(members, "fold").values()
    rows = np.concatenate([fold[0].rows for fold in folds])
    means = [np.mean([member.oof for member in fold], axis=0, dtype=np.float64) for fold in folds]
    order = np.argsort(rows)
    return rows[order], setup.in_units(np.concatenate(means).astype(np.float32)[order])


class Blend(NamedTuple):
    """The ensemble weights of the members, and what decided them.

    Attributes:
        weights: Weight of each name of members that is saved; they add up to 1.
        losses: Mean out-of-fold loss of each name, in the units of the target; none without folds.
        rows: Rows that were predicted, sorted, (n,).
        oof: Weighted predictions for them, (n, outputs), float32.
    """

    weights: dict[str, float]
    losses: dict[str, float]
    rows: np.ndarray
    oof: np.ndarray

    def summary(self, members: list[Member]) -> str:
        """Format the number of networks, the weight and the loss of each name."""
        named, parts = members_by(members, "name"), []
        for name, weight in self.weights.items():
            member, count = named[name][0], len(named[name])
            steps = f" after {member.steps} steps" if member.steps else ""
            loss = f", cross-validated loss {self.losses[name]:.4g}" if self.losses else ""
            parts.append(f"{count} of {member.architecture}{steps}, weight {weight:.2f}{loss}")
        return "; ".join(parts)


def blended(setup: Setup, members: list[Member]) -> Blend:
    """Weigh the members by their out-of-fold predictions; without folds all architectures alike.

    Those of a small weight are left out, so that the model stays small.
    """
    named = members_by(members, "name")
    rows, _ = out_of_fold(setup, named[members[0].name])
    oof = {name: out_of_fold(setup, same)[1] for name, same in named.items()}
    if not len(rows):
        best = best_snapshots(members)
        return Blend(dict.fromkeys(best, 1 / len(best)), {}, rows, oof[best[0]])
    weights = select_weights(setup, rows, oof)
    least = min(MIN_WEIGHT, max(weights.values()))  # of many alike none may have so much
    weights = select_weights(setup, rows, {n: oof[n] for n in oof if weights[n] >= least})
    weights = {name: share for name, share in weights.items() if share}
    losses = {name: setup.mean_loss(rows, outputs) for name, outputs in oof.items()}
    weighted = [np.float32(share) * oof[name] for name, share in weights.items()]
    return Blend(weights, losses, rows, np.sum(weighted, axis=0))


def best_snapshots(members: list[Member]) -> list[str]:
    """Name each architecture's snapshot with the lowest validation loss, or its last one."""
    losses: dict[str, dict[str, float]] = {}
    for name, same in members_by(members, "name").items():
        loss = np.mean([member.history[-1].get("val_loss", -np.inf) for member in same])
        losses.setdefault(same[0].architecture, {})[name] = round_for_comparison(float(loss))
    # The last one of equal ones.
    return [min(reversed(by_name), key=by_name.__getitem__) for by_name in losses.values()]


def describe(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """Return the content of `metrics/networks.json`."""
    networks = {
        name: describe_architecture(setup, same, blend)
        for name, same in members_by(members, "architecture").items()
    }
    columns = describe_preprocessing(setup.statistics, setup.schema, setup.train)
    curves = max(networks, key=lambda name: networks[name]["weight"])
    return {"folds": setup.train.folds, "networks": networks, "columns": columns, "curves": curves}


def describe_architecture(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """Describe an architecture: its parameters and layers, and what its members came to."""
    architecture = setup.architectures[members[0].architecture]
    named = members_by(members, "name")
    weights = {name: blend.weights.get(name, 0.0) for name in named}
    rounded = {name: round_for_comparison(blend.losses.get(name, 0)) for name in named}
    best = min(named, key=lambda name: (rounded[name], -weights[name]))
    stop = architecture.params.early_stopping
    content = {
        "weight": sum(weights.values()),
        "members": sum(len(same) for name, same in named.items() if weights[name]),
        "loss": blend.losses.get(best),
        "stacked": architecture.is_stackable,
        "params": architecture.params.model_dump(),
        "layers": layers_of(architecture.features, architecture.network),
        "losses": [
            setup.mean_loss(*out_of_fold(setup, [member])) for member in named[best] if blend.losses
        ],
        "epochs": [learnt_epochs(member.history, stop) for member in named[best]],
    }
    if architecture.max_cycles:
        content["cycles"] = [
            {"steps": same[0].steps, "loss": blend.losses.get(name), "weight": weights[name]}
            for name, same in named.items()
        ]
    if setup.train.class_weight and blend.losses:
        rows, oof = out_of_fold(setup, named[best])
        losses = setup.losses(setup.y[rows, 0], oof)
        content["loss_without_class_weights"] = float(
            np.average(losses, weights=setup.weight[rows])
        )
    return content


def learnt_epochs(history: list[Logs], stop: EarlyStopping | None) -> float:
    """Return the number of epochs in which a member has learnt the weights that it keeps."""
    if stop and stop.restore_best_weights and stop.monitor in history[-1]:
        return best_round(history, stop) + 1
    return history[-1].get("epoch", len(history))


def mean_history(members: list[Member]) -> list[Logs]:
    """The logs of each epoch, averaged over the members that trained in it."""
    histories = [member.history for member in members if member.name == members[-1].name]
    return [
        {name: float(np.mean([logs[name] for logs in epoch if logs])) for name in histories[0][0]}
        for epoch in zip_longest(*histories)
    ]


def select_weights(
    setup: Setup, predicted_rows: np.ndarray, oof: dict[str, np.ndarray]
) -> dict[str, float]:
    """Choose the weights of names of members by bagged ensemble selection.

    For each of `BAGS` samples of the rows, names are chosen one after the other, `PICKS` times,
    each time the one with which the mean of those chosen has the lowest loss. Their shares are
    averaged over the samples. So few rows, which cannot tell the names apart, weigh them alike:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models" (2004).

    Args:
        predicted_rows: Numbers of the training rows that were predicted, (rows,).
        oof: Out-of-fold predictions of each name, shape (rows, outputs).
    """
    if len(oof) == 1:
        return dict.fromkeys(oof, 1.0)
    y, weight = setup.y[predicted_rows, 0], setup.dataset.weight[predicted_rows]
    rng = np.random.default_rng(setup.train.seed)
    picked = dict.fromkeys(oof, 0)
    for _ in range(BAGS):
        rows = rng.integers(0, len(y), min(len(y), BAG_ROWS))
        if not weight[rows].any():
            rows = np.arange(len(y))
        labels, weights = y[rows], weight[rows]
        outputs = {name: values[rows].astype(np.float64) for name, values in oof.items()}
        total = np.zeros(())
        for number in range(1, PICKS + 1):
            losses = {}
            for name, values in outputs.items():
                row_losses = setup.losses(labels, (total + values) / number)
                losses[name] = round_for_comparison(np.average(row_losses, weights=weights))
            best = min(losses, key=losses.__getitem__)  # the first of equal ones
            total = total + outputs[best]
            picked[best] += 1
    return {name: count / (BAGS * PICKS) for name, count in picked.items()}
