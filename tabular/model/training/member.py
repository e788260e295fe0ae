"""One network of the ensemble: untrained, and trained with its predictions."""

from typing import NamedTuple

import numpy as np

from tabular.config.schema import Schema
from tabular.model import network
from tabular.model.backend import keras
from tabular.model.cycles import most_cycles
from tabular.model.training.setup import Setup
from tabular.model.training.trainer import Dataset
from tabular.table.arrays import predicted_classes, row_losses

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


def held_out_scores(y: np.ndarray, outputs: np.ndarray, schema: Schema) -> dict[str, float]:
    """The logs of rows that a member has not seen, as Keras names them; none without rows.

    Args:
        y: the labels, a regression's standardised as `outputs` are, shape (rows,).
    """
    if not len(y):
        return {}
    found = {"val_loss": float(row_losses(y, outputs, schema).mean())}
    if schema.task == "regression":
        return found | {"val_mean_absolute_error": float(np.abs(outputs[:, 0] - y).mean())}
    right = predicted_classes(outputs, schema, 0.5) == y
    return found | {"val_accuracy": float(right.mean())}


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
