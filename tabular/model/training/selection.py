"""A network of a kind after its training, and how kinds are weighted by what they predict."""

from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.model import network
from tabular.model.backend import keras
from tabular.model.cycles import most_cycles
from tabular.model.network import layers_of
from tabular.model.preprocessing.statistics import describe_preprocessing
from tabular.model.training.setup import Setup
from tabular.model.training.trainer import Dataset
from tabular.table.arrays import predicted_classes

SAMPLE = 20_000  # rows from which the first scale is found


class Member(NamedTuple):
    """A trained network, and its predictions for the rows of its own fold.

    `kind` the name of its network; `weights` as `get_weights` gives them; `history` the logs of its
    epochs or cycles; `rows` (n,), int32, the numbers of its fold's rows over all parts, none
    without folds; `oof` (n, outputs), float32, its predictions for these rows, which it has not
    seen; `steps` after which it is a snapshot, 0 of a training in epochs; `state` what goes on from
    there, the `trainer.variables`.
    """

    kind: str
    fold: int
    weights: list[np.ndarray]
    history: list[dict[str, float]]
    rows: np.ndarray
    oof: np.ndarray
    steps: int = 0
    state: tuple[np.ndarray, ...] = ()

    @property
    def name(self) -> str:
        """That of its kind and steps, which all folds have."""
        return f"{self.kind}-{self.steps}" if self.steps else self.kind


class NetworkKind:
    """What the members of one kind of network share."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.network = setup.train.networks[name]
        self.features = setup.features(name)
        self._setup = setup
        rows = sum(setup.dataset.sizes) * max(setup.train.folds - 1, 1) / setup.train.folds
        self.most_steps = int(-(-rows // self.network.batch_size) * self.network.epochs)

    @property
    def cycles(self) -> int:
        """How many there may be, 1 at least; 0 of a kind that learns in epochs."""
        if self.network.learning_rate_schedule != "cycles":
            return 0
        return most_cycles(self.most_steps)

    def untrained(self, seed: int, rows: Dataset | None = None) -> tuple[keras.Model, keras.Model]:
        """A network, and the compiled model that trains its weights.

        Args:
            rows: to learn from; the first of them decide where a learnt scale starts.
        """
        keras.utils.set_random_seed(seed)
        read = [keras.Input(tensor.shape[1:]) for tensor in self.features.outputs]
        output = network.build(read, self.network, self._setup.schema)
        model = keras.Model(read, output)
        if rows and self.network.learnt_scale:
            x, y, *_, indices = rows[0]
            some = slice(SAMPLE) if indices is None else indices[:SAMPLE]
            outputs = relevant_outputs(np.asarray(y)[some], self._setup.schema)
            columns = self._setup.columns
            network.set_first_scale(model, columns, self.network, np.asarray(x)[some], outputs)
        return model, network.training_model(
            model,
            self.features,
            self.network,
            self._setup.train,
            self._setup.schema,
            self.most_steps,
        )


def relevant_outputs(y: np.ndarray, schema: Schema) -> np.ndarray:
    """What columns may say something of: (rows, outputs), a column for each of several classes.

    Args:
        y: as networks learn it, (rows, 1).
    """
    if schema.task == "multiclass":
        return np.eye(len(schema.classes))[y[:, 0].astype(int)]
    return network.smooth_clip(y, np) if schema.task == "regression" else y


def member_results(setup: Setup, members: list[Member], kind: str) -> dict[str, list[float]]:
    """What the members of a kind came to.

    Returns:
        `losses`, of each for its own fold, none without folds; `epochs`, how many its weights have
        learnt in.
    """
    of_kind = [member for member in members if member.kind == kind]
    stop = setup.train.networks[kind].early_stopping
    epochs = []
    for member in of_kind:
        kept = member.history[-1].get("epoch", len(member.history))
        if stop and stop.restore_best_weights:
            monitored = [logs[stop.monitor] for logs in member.history]
            best = max(monitored) if stop.monitor == "val_accuracy" else min(monitored)
            kept = monitored.index(best) + 1
        epochs.append(kept)
    losses = [
        setup.mean_loss(member.rows, setup.in_units(member.oof))
        for member in of_kind
        if len(member.rows)
    ]
    return {"losses": losses, "epochs": epochs}


def held_out_scores(
    setup: Setup, y: np.ndarray, outputs: np.ndarray, weight: np.ndarray
) -> dict[str, float]:
    """Compute the logs of rows that a member has not seen, as Keras does; none without rows.

    Args:
        y: Labels, for regression standardised as `outputs` are, shape (rows,).
        weight: Weights of the rows in training, shape (rows,).
    """
    if not len(y):
        return {}
    logs = {"val_loss": float((weight * setup.losses(y, outputs)).mean())}
    if setup.schema.task == "regression":
        name, scores = "val_mean_absolute_error", np.abs(outputs[:, 0] - y)
    else:
        name, scores = "val_accuracy", predicted_classes(outputs, setup.schema, 0.5) == y
    return logs | {name: float(np.average(scores, weights=weight))}


def out_of_fold(members: list[Member]) -> tuple[np.ndarray, np.ndarray]:
    """The mean predictions of members of one kind for the rows of their folds.

    Returns:
        The rows, sorted, (n,), and float32, (n, outputs).
    """
    by_fold: dict[int, list[Member]] = {}
    for member in members:
        by_fold.setdefault(member.fold, []).append(member)
    rows = np.concatenate([of_fold[0].rows for of_fold in by_fold.values()])
    means = [
        np.mean([member.oof for member in of_fold], axis=0, dtype=np.float64).astype(np.float32)
        for of_fold in by_fold.values()
    ]
    order = np.argsort(rows)
    return rows[order], np.concatenate(means)[order]


BAGS, PICKS, BAG_ROWS = 20, 20, 20_000  # see `select_weights`
MIN_WEIGHT = 0.1  # of what is saved


class Blend(NamedTuple):
    """How the members are weighted, by their names, and what decided it.

    `weights` of what is saved, they add up to 1; `losses` the mean loss of each name's out-of-fold
    predictions, in the units of the target, none without folds; `rows` (n,) those that were
    predicted, sorted, and `oof` (n, outputs), float32, the weighted predictions.
    """

    weights: dict[str, float]
    losses: dict[str, float]
    rows: np.ndarray
    oof: np.ndarray

    def summary(self, members: list[Member]) -> str:
        """How many networks of each name there are, their weight and loss, in words."""
        return "; ".join(
            f"{len(of)} of {of[0].kind}"
            + (f" after {of[0].steps} steps" if of[0].steps else "")
            + f", weight {self.weights[name]:.2f}"
            + (f", cross-validated loss {self.losses[name]:.4g}" if self.losses else "")
            for name, of in by_name(members).items()
            if name in self.weights
        )


def by_name(members: list[Member]) -> dict[str, list[Member]]:
    """The members of each name, in their order."""
    found: dict[str, list[Member]] = {}
    for member in members:
        found.setdefault(member.name, []).append(member)
    return found


def blended(setup: Setup, members: list[Member]) -> Blend:
    """Weigh the members by their out-of-fold predictions; without folds all kinds alike.

    Those of a small weight are left out, so that the model stays small.
    """
    named = by_name(members)
    found = {name: out_of_fold(of) for name, of in named.items()}
    rows = found[members[0].name][0]
    oof = {name: setup.in_units(outputs) for name, (_, outputs) in found.items()}
    if not len(rows):
        best = last_cycles(members)
        return Blend(dict.fromkeys(best, 1 / len(best)), {}, rows, oof[best[0]])
    y, weight = setup.y[rows, 0], setup.training_weights(rows)
    select = partial(select_weights, y, weight, losses_of=setup.losses, seed=setup.train.seed)
    weights = select(oof)
    least = min(MIN_WEIGHT, max(weights.values()))  # of many alike none may have so much
    weights = select({name: oof[name] for name in oof if weights[name] >= least})
    weights = {name: share for name, share in weights.items() if share}
    return Blend(
        weights,
        {name: setup.mean_loss(rows, oof[name]) for name in oof},
        rows,
        np.sum([np.float32(share) * oof[name] for name, share in weights.items()], axis=0),
    )


def last_cycles(members: list[Member]) -> list[str]:
    """Of each kind the name of the cycle with the lowest validation loss, or of the last one."""
    found: dict[str, tuple[float, str]] = {}
    for name, of in by_name(members).items():
        loss = float(np.mean([member.history[-1].get("val_loss", -np.inf) for member in of]))
        if of[0].kind not in found or loss <= found[of[0].kind][0]:
            found[of[0].kind] = (loss, name)
    return [name for _, name in found.values()]


def describe(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """What training came to: what `metrics/networks.json` holds."""
    train, kinds = setup.train, dict[str, dict[str, Any]]()
    for kind in dict.fromkeys(member.kind for member in members):
        named = by_name([member for member in members if member.kind == kind])
        weights = {name: blend.weights.get(name, 0.0) for name in named}
        best = min(named, key=lambda name: (blend.losses.get(name, 0), -weights[name]))
        cycles = [
            {"steps": of[0].steps, "loss": blend.losses.get(name), "weight": weights[name]}
            for name, of in named.items()
            if of[0].steps
        ]
        kinds[kind] = {
            "weight": sum(weights.values()),
            "members": sum(len(of) for name, of in named.items() if weights[name]),
            "loss": blend.losses.get(best),
            **({"cycles": cycles} if cycles else {}),
            "stacked": setup.stacks(kind),
            "params": train.networks[kind].model_dump(),
            "layers": layers_of(setup.features(kind), setup.network(kind)),
        } | member_results(setup, named[best], kind)
        if train.class_weight and blend.losses:
            loss = setup.mean_loss(*out_of_fold(named[best]), by_class=False)
            kinds[kind]["loss_without_class_weights"] = loss
    columns = describe_preprocessing(setup.statistics, setup.schema, train)
    curves = max(kinds, key=lambda kind: kinds[kind]["weight"])
    return {"folds": train.folds, "networks": kinds, "columns": columns, "curves": curves}


def mean_history(members: list[Member]) -> list[dict[str, float]]:
    """The logs of each epoch, averaged over the members that trained in it."""
    histories = [member.history for member in members if member.name == members[-1].name]
    return [
        {name: float(np.mean([logs[name] for logs in epoch if logs])) for name in histories[0][0]}
        for epoch in zip_longest(*histories)
    ]


def warnings(setup: Setup, members: list[Member], blend: Blend) -> list[str]:
    """A line for each kind of networks that learnt nothing, with what to try."""
    found, constant = {}, constant_loss(setup)
    for name, of in by_name(members).items():
        if name not in blend.weights:
            continue
        kind, ends = of[0].kind, [[member.history[n]["loss"] for member in of] for n in (0, -1)]
        first, last = map(np.mean, ends)
        if last > first:
            found[kind] = f"the loss rose from {first:.4g} in the first epoch to {last:.4g}"
        elif blend.losses.get(name, 0) >= constant:
            found[kind] = (
                f"the cross-validated loss {blend.losses[name]:.4g} is not below that of a "
                f"constant, {constant:.4g}"
            )
    return [
        f"{kind}: {what}; try a smaller learning_rate, other epochs or more dropout in "
        f"train.networks.{kind}, or fewer columns"
        for kind, what in found.items()
    ]


def constant_loss(setup: Setup) -> float:
    """Compute the mean loss of the best constant, with the weights of training."""
    y, rows = setup.y[:, 0], np.arange(len(setup.y))
    weight = setup.training_weights(rows)
    if setup.schema.task == "regression":
        constant = np.average(y, weights=weight)
        if setup.train.loss == "mean_absolute_error":
            constant = np.quantile(y, 0.5, weights=weight, method="inverted_cdf")
        return setup.mean_loss(rows, np.full((len(y), 1), constant))
    counts = np.bincount(y.astype(int), weight)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def select_weights(
    y: np.ndarray,
    weight: np.ndarray,
    oof: dict[str, np.ndarray],
    losses_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    seed: int,
) -> dict[str, float]:
    """The weights of kinds of networks by bagged ensemble selection.

    For each of `BAGS` samples of the rows the kinds are chosen one after the other, `PICKS` times,
    each time the one with which the mean of those chosen has the least loss; their shares are
    averaged over the samples, so that few rows, which cannot tell the kinds apart, weigh them
    alike: Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models"
    (2004).

    Args:
        y: labels, shape (rows,).
        weight: how much each row counts, shape (rows,).
        oof: of each kind the out-of-fold predictions, shape (rows, outputs).
        losses_of: Computes the losses of rows, (rows,), from labels and outputs.
    """
    if len(oof) == 1:
        return dict.fromkeys(oof, 1.0)
    rng = np.random.default_rng(seed)
    picked = dict.fromkeys(oof, 0)
    for _ in range(BAGS):
        rows = rng.integers(0, len(y), min(len(y), BAG_ROWS))
        if not weight[rows].any():
            rows = np.arange(len(y))
        of_rows = {kind: outputs[rows].astype(np.float64) for kind, outputs in oof.items()}
        total = np.zeros(())
        for number in range(1, PICKS + 1):
            losses = {
                kind: np.average(
                    losses_of(y[rows], (total + outputs) / number), weights=weight[rows]
                )
                for kind, outputs in of_rows.items()
            }
            best = min(losses, key=lambda kind: losses[kind])
            total = total + of_rows[best]
            picked[best] += 1
    return {kind: count / (BAGS * PICKS) for kind, count in picked.items()}
