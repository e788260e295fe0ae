"""The ensemble: weigh snapshots, build their weighted mean as a model, describe both.

The snapshots of all networks and folds that have the same name, which is the
architecture and the number of steps, have one weight together. Those whose weight is
not 0 are the members of the model.
"""

import math
import platform
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.core import VERSION
from keras_tabular.core.files import atomic_write, write_json, write_points
from keras_tabular.network.attribution import Permutations, contributions
from keras_tabular.network.backend import KerasTensor, keras, tf
from keras_tabular.network.record import (
    Ensemble,
    TrainingRecord,
    TrainingRows,
    replace_metadata,
)
from keras_tabular.network.reproducible import ExactModel
from keras_tabular.network.stacking import stack
from keras_tabular.network.statistics import describe_steps
from keras_tabular.table import parquet
from keras_tabular.table.arrays import feature_arrays, round_for_comparison
from keras_tabular.table.out_of_fold import FoldPredictions
from keras_tabular.table.profile import ColumnSummary
from keras_tabular.training.architecture import Architecture
from keras_tabular.training.checkpoint import Logs, Snapshot
from keras_tabular.training.setup import Setup

# Snapshots by an attribute.
Groups = dict[Any, list[Snapshot]]
# Number of samples of rows, for each of which `select_weights` chooses an ensemble: for
# the weights of the model, and for the loss after a cycle.
SAMPLES = 20
SAMPLES_AFTER_A_CYCLE = 4
# Number of candidates that are picked for each sample.
PICKS = 20
# Number of rows of a sample.
MAX_ROWS_OF_SAMPLE = 20_000
# Weight of a candidate that is saved.
MIN_WEIGHT = 0.1
# Kinds of machines that tests have shown to give equal bytes.
REPRODUCIBLE_MACHINES = ("x86_64", "AMD64", "aarch64")
# Packages whose versions are recorded. They are imported already.
RECORDED_PACKAGES = ("keras", "tensorflow", "pyarrow", "numpy")
# Number of training rows, in random order, and of their cells, that are summarized.
MAX_ROWS_SUMMARIZED = 200_000
MAX_CELLS_SUMMARIZED = 20_000_000
# Number of rows over which shares of attribution are averaged.
MAX_ROWS_FOR_SHARES = 32
# Number of rows for which the predictions of the folds' networks are compared.
MAX_ROWS_COMPARED = 2000
# Number of multiply-adds of the model for the shares, and as many for the comparison.
MAX_MULTIPLY_ADDS = 20_000_000_000


class WeightedEnsemble(NamedTuple):
    """The ensemble weights, and what decided them.

    Attributes:
        weights: Weight of each candidate that is saved, by name; they add up to 1.
        losses: Mean out-of-fold loss of each candidate, in units of the target; empty
            without folds.
        out_of_fold: Weighted predictions for the training rows; empty without folds.
    """

    weights: dict[str, float]
    losses: dict[str, float]
    out_of_fold: FoldPredictions

    def summary(self) -> str:
        """Format the weight and the loss of each candidate that is saved."""
        parts = []
        for name, weight in self.weights.items():
            part = f"{name}, weight {weight:.2f}"
            if self.losses:
                part += f", cross-validated loss {self.losses[name]:.4g}"
            parts.append(part)
        return "; ".join(parts)


def weigh_snapshots(setup: Setup, snapshots: list[Snapshot]) -> WeightedEnsemble:
    """Choose the weights of snapshots by the loss of the out-of-fold predictions.

    The weights have the lowest loss. Candidates with a small weight are left out, so
    that the model stays small. Without folds, the candidates with the lowest validation
    loss of each architecture get the same weight. Without validation rows, these are
    the last ones.
    """
    rows, predictions, by_architecture = find_candidates(setup, snapshots)
    fold = np.concatenate(setup.folds)[rows]
    if not len(rows):
        # Of equal ones the last.
        best = [
            min(
                reversed(by_name),
                key=lambda name: round_for_comparison(by_name[name].mean()),
            )
            for by_name in by_architecture.values()
        ]
        weights = dict.fromkeys(best, 1 / len(best))
        return WeightedEnsemble(
            weights,
            {},
            FoldPredictions(predictions[best[0]], fold),
        )
    weights = select_weights(setup, rows, predictions)
    # If many candidates are alike, all weights are small.
    least = min(MIN_WEIGHT, max(weights.values()))
    heavy = [name for name, weight in weights.items() if weight >= least]
    heavy_predictions = {name: predictions[name] for name in heavy}
    picked = select_weights(setup, rows, heavy_predictions)
    weights = {name: picked[name] for name in heavy if picked[name]}
    losses = dict[str, float]()
    for by_name in by_architecture.values():
        losses |= {name: float(each.mean()) for name, each in by_name.items()}
    out_of_fold = FoldPredictions(weigh(predictions, weights), fold)
    return WeightedEnsemble(weights, losses, out_of_fold)


def group_by(snapshots: list[Snapshot], attribute: str) -> Groups:
    """Group snapshots by an attribute; all stay in their order."""
    groups = Groups()
    for snapshot in snapshots:
        groups.setdefault(getattr(snapshot, attribute), []).append(snapshot)
    return groups


class EnsembleCandidates(NamedTuple):
    """Candidates for the ensemble: snapshots of the same name, which get one weight.

    Attributes:
        rows: Numbers of the held-out rows among the training rows, sorted, shape (n,);
            empty without folds.
        predictions: For these rows in units of the target, the mean over the networks
            of a fold, float32, shape (n, outputs), by the name of the candidate.
        losses: Loss of each row by these predictions, times its weight, by architecture
            and by name, shape (n,); without folds, the mean loss of the validation rows
            alone, or 0 if there are none, shape (1,).
    """

    rows: np.ndarray
    predictions: dict[str, np.ndarray]
    losses: dict[str, dict[str, np.ndarray]]


def find_candidates(setup: Setup, snapshots: list[Snapshot]) -> EnsembleCandidates:
    """Group snapshots into candidates by `Snapshot.name`, in their order."""
    predictions = {}
    losses = dict[str, dict[str, np.ndarray]]()
    for name, same in group_by(snapshots, "name").items():
        rows, outputs = join_folds(same)  # the rows are the same for all names
        predictions[name] = setup.in_units(outputs)
        if len(rows):
            row_losses = setup.weighted_losses(rows, predictions[name])
        else:
            val_losses = [each.history[-1].get("val_loss", 0.0) for each in same]
            row_losses = np.array([np.mean(val_losses)])
        losses.setdefault(same[0].architecture, {})[name] = row_losses
    return EnsembleCandidates(rows, predictions, losses)


def join_folds(
    snapshots: list[Snapshot],
) -> tuple[np.ndarray, np.ndarray]:
    """Join the predictions of all folds, each the mean of the networks of a fold.

    Returns:
        Numbers of the rows, sorted, shape (n,); their outputs, float32, shape (n,
        outputs).
    """
    folds = group_by(snapshots, "fold").values()
    rows = np.concatenate([networks[0].rows for networks in folds])
    means = []
    for networks in folds:
        fold_outputs = [network.outputs for network in networks]
        means.append(np.mean(fold_outputs, axis=0, dtype=np.float64))
    outputs = np.concatenate(means).astype(np.float32)
    order = np.argsort(rows)
    return rows[order], outputs[order]


def ensemble_losses(setup: Setup, candidates: EnsembleCandidates) -> np.ndarray:
    """Compute the losses of an ensemble of candidates, selected on few samples.

    Without folds, it is the mean of the lowest validation losses of the architectures.

    Returns:
        The same as `EnsembleCandidates.losses`.
    """
    rows, predictions, losses = candidates
    if not len(rows):
        lowest = [min(by_name.values(), key=np.mean) for by_name in losses.values()]
        return np.mean(lowest, axis=0)
    weights = select_weights(setup, rows, predictions, SAMPLES_AFTER_A_CYCLE)
    return setup.weighted_losses(rows, weigh(predictions, weights))


def constant_losses(setup: Setup, rows: np.ndarray) -> np.ndarray:
    """Compute the losses of the best constant prediction for some training rows."""
    targets = setup.task.indicators(setup.y[rows])
    constant = np.average(targets, axis=0, weights=setup.dataset.weight[rows])
    if setup.train.loss == "mean_absolute_error":
        constant = np.median(targets, axis=0)
    return setup.weighted_losses(rows, np.broadcast_to(constant, targets.shape))


def weigh(
    predictions: dict[str, np.ndarray],
    weights: dict[str, float],
) -> np.ndarray:
    """Add up the predictions of names with their weights."""
    weighted = [
        np.float32(weight) * predictions[name] for name, weight in weights.items()
    ]
    return np.sum(weighted, axis=0)


def select_weights(
    setup: Setup,
    rows: np.ndarray,
    predictions: dict[str, np.ndarray],
    samples: int = SAMPLES,
) -> dict[str, float]:
    """Choose the weights of names by bagged ensemble selection.

    For each of some random samples of the rows, names are picked one after the other,
    `PICKS` times, with replacement. Each pick is the name that gives the mean of the
    picks so far the lowest loss. The weight of a name is its share of all picks. On few
    rows, where chance decides which name is better, the weights come out nearly equal:
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of
    models" (2004).

    Args:
        rows: Numbers of the training rows that were predicted, shape (rows,).
        predictions: Out-of-fold predictions of each name, shape (rows, outputs).
        samples: Number of samples.
    """
    if len(predictions) == 1:
        return dict.fromkeys(predictions, 1.0)
    y = setup.y[rows, 0]
    weight = setup.dataset.weight[rows]
    rng = np.random.default_rng(setup.train.seed)
    n_rows = min(len(y), MAX_ROWS_OF_SAMPLE)
    picks = dict.fromkeys(predictions, 0)
    for _ in range(samples):
        sample = rng.integers(0, len(y), n_rows)
        sampled = {
            name: y_pred[sample].astype(np.float64)
            for name, y_pred in predictions.items()
        }
        total = np.zeros(())
        for n_picks in range(1, PICKS + 1):
            losses = {}
            for name, y_pred in sampled.items():
                row_losses = setup.losses(y[sample], (total + y_pred) / n_picks)
                loss = np.average(row_losses, weights=weight[sample])
                losses[name] = round_for_comparison(loss)
            best = min(losses, key=losses.__getitem__)  # of equal ones the first
            total = total + sampled[best]
            picks[best] += 1
    return {name: count / (samples * PICKS) for name, count in picks.items()}


def build_model(
    setup: Setup,
    snapshots: list[Snapshot],
    weights: dict[str, float],
) -> ExactModel:
    """Build the model to save: from raw rows to the weighted mean of the members.

    Args:
        weights: Weight of each name of snapshots that are members.
    """
    preprocessor = setup.preprocessor
    inputs = preprocessor.layers.input
    columns = preprocessor.layers.output
    texts = [
        encoder.build_layers(inputs[input_name(name)])
        for name, encoder in preprocessor.text_encoders.items()
    ]
    if texts:
        columns = keras.layers.Concatenate()([columns, *texts])
    means = []
    features = {}
    for name, weight in weights.items():
        members = [snapshot for snapshot in snapshots if snapshot.name == name]
        architecture = setup.architectures[members[0].architecture]
        if architecture.is_stackable:
            if architecture.name not in features:
                features[architecture.name] = architecture.features(columns)
            member_weights = [member.weights for member in members]
            stacked = stack(architecture.network, member_weights)
            stacked.name = name
            predictions = stacked(features[architecture.name])
        else:
            predictions = build_one_by_one(architecture, members, columns)
        mean = keras.layers.GlobalAveragePooling1D(name=f"{name}-mean")(predictions)
        if weight != 1:
            mean = keras.layers.Rescaling(weight, name=f"{name}-weight")(mean)
        means.append(mean)
    output = means[0]
    if len(means) > 1:
        output = keras.layers.Add(name="weighted-mean")(means)
    if not setup.task.classes:
        statistics = preprocessor.statistics
        in_units = keras.layers.Rescaling(
            statistics.target.scale,
            statistics.target.shift,
            name="output-value",
        )
        lowest, highest = statistics.target_range
        output = keras.ops.clip(in_units(output), lowest, highest)
    return ExactModel(keras.Model(inputs, output, name="model"))


def build_one_by_one(
    architecture: Architecture,
    members: list[Snapshot],
    columns: KerasTensor,
) -> KerasTensor:
    """Build members that cannot be stacked, to outputs of shape (rows, members, n)."""
    outputs = []
    for number, member in enumerate(members, start=1):
        network = keras.models.clone_model(architecture.network)
        network.set_weights(member.weights)
        # It becomes a scope of TensorFlow, which may not have a space.
        network.name = f"{member.name}-{number}"
        outputs.append(network(architecture.features(columns)))
    return keras.ops.stack(outputs, axis=1)


def build_record(
    setup: Setup,
    snapshots: list[Snapshot],
    weights: dict[str, float],
    model: ExactModel,
) -> TrainingRecord:
    """Record what the training did, and how the model predicts its training rows.

    The commit is not part of it, since a commit contains the hash of its own model.
    `git log -S` with the model's MD5 in dvc.lock finds the commit.

    Args:
        weights: Weight of each name of snapshots that are members.
        model: The result of `build_model`.
    """
    statistics = setup.preprocessor.statistics
    combination = None
    if setup.train.folds > 1:
        named = group_by(snapshots, "name")
        folds = {name: tuple(member.fold for member in named[name]) for name in weights}
        target_range = (0.0, 1.0) if setup.task.classes else statistics.target_range
        combination = Ensemble(weights=weights, folds=folds, target_range=target_range)
    # As tests have shown on the CPUs of these machines.
    repeats_on_any_cpu = (
        setup.train.exact
        and all(network.is_stackable for network in setup.architectures.values())
        and not tf.config.get_visible_devices("GPU")
        and platform.machine() in REPRODUCIBLE_MACHINES
    )
    return TrainingRecord(
        task=setup.schema.task,
        target=setup.schema.target,
        classes=list(setup.task.classes),
        loss=setup.train.loss,
        version=VERSION,
        repeats="any_cpu" if repeats_on_any_cpu else "same_cpu",
        ensemble=combination,
        categories=statistics.vocabularies,
        ignore=setup.train.ignore,
        trained_on=summarize_rows(setup, model, combination),
    )


def summarize_rows(
    setup: Setup,
    model: ExactModel,
    ensemble: Ensemble | None,
) -> TrainingRows:
    """Summarize the training rows, and how the model and its members predict them."""
    schema = setup.schema
    categories = setup.preprocessor.statistics.vocabularies
    limit = min(MAX_ROWS_SUMMARIZED, MAX_CELLS_SUMMARIZED // len(schema.columns))
    rows = parquet.read_first_rows(setup.folder, limit)
    summaries = {
        name: ColumnSummary.from_values(rows[name], column, categories.get(name))
        for name, column in schema.features.items()
    }
    disagreement = None
    if ensemble and not schema.classes:
        disagreement = measure_disagreement(model, ensemble, rows, schema)
    return TrainingRows(
        rows=sum(parquet.count_rows(setup.folder)),
        md5=parquet.hash_parts(setup.folder),
        packages={name: import_module(name).__version__ for name in RECORDED_PACKAGES},
        summaries=summaries,
        attribution=share_attribution(model, rows, summaries, schema),
        disagreement=disagreement,
    )


def share_attribution(
    model: ExactModel,
    rows: pa.Table,
    summaries: dict[str, ColumnSummary],
    schema: Schema,
) -> dict[str, float]:
    """Compute the share of attribution of each column, see `TrainingRows`."""
    permutations = Permutations.from_summaries(summaries, schema, list(schema.features))
    affordable = affordable_rows(model, permutations.evaluations_per_row)
    n_rows = max(min(MAX_ROWS_FOR_SHARES, affordable), 4)
    explained = feature_arrays(rows[:n_rows], schema)
    values = contributions(model.predict, explained, permutations)
    effects = np.abs(np.nan_to_num(values))  # (rows, columns, outputs)
    sizes = effects.mean(axis=(0, 2))
    shares = sizes / sizes.sum() if sizes.any() else sizes
    rounded = np.round(shares, 6).tolist()
    return dict(zip(schema.features, rounded, strict=True))


def measure_disagreement(
    model: ExactModel,
    ensemble: Ensemble,
    rows: pa.Table,
    schema: Schema,
) -> float:
    """Compute the mean variance between the predictions of the folds' networks."""
    n_rows = max(min(MAX_ROWS_COMPARED, affordable_rows(model, 1)), 10)
    members = model.predict_members(feature_arrays(rows[:n_rows], schema))
    means, weights = ensemble.fold_means(members, 1)
    # From (names, folds, rows, outputs) to (folds, rows, outputs).
    by_fold = np.average(means, axis=0, weights=weights)
    return float(by_fold.var(axis=0, ddof=1).mean())


def affordable_rows(model: ExactModel, evaluations_per_row: int) -> int:
    """Return for how many rows a model can be evaluated with `MAX_MULTIPLY_ADDS`."""
    work = max(model.multiply_adds, 1)
    return int(MAX_MULTIPLY_ADDS / (work * evaluations_per_row))


def write_model(
    model: keras.Model,
    path: Path,
    record: TrainingRecord,
) -> None:
    """Save a model; the same model gives the same bytes."""
    with TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        model.save(saved)
        replace_metadata(saved, path, record)


def write_description(
    folder: Path,
    setup: Setup,
    snapshots: list[Snapshot],
    ensemble: WeightedEnsemble,
) -> None:
    """Write `networks.json` and the learning curve to the folder `metrics`."""
    networks = {
        name: describe_architecture(setup.architectures[name], same, ensemble)
        for name, same in group_by(snapshots, "architecture").items()
    }
    statistics = setup.preprocessor.statistics
    heaviest = max(networks, key=lambda name: networks[name]["weight"])
    content = {
        "folds": setup.train.folds,
        "networks": networks,
        "columns": describe_steps(statistics, setup.schema, setup.train),
        "curves": heaviest,
    }
    write_json(folder / "networks.json", content)
    write_curve(folder / "curves", snapshots, heaviest)


def describe_architecture(
    architecture: Architecture,
    snapshots: list[Snapshot],
    ensemble: WeightedEnsemble,
) -> dict[str, Any]:
    """Describe an architecture, and the loss and the weight of its snapshots."""
    named = group_by(snapshots, "name")
    weights = {name: ensemble.weights.get(name, 0.0) for name in named}
    best = min(
        named,
        key=lambda name: (
            round_for_comparison(ensemble.losses.get(name, 0)),
            -weights[name],
        ),
    )
    return {
        "weight": sum(weights.values()),
        "members": sum(each.name in ensemble.weights for each in snapshots),
        "loss": ensemble.losses.get(best),
        "stacked": architecture.is_stackable,
        "params": architecture.params.model_dump(),
        "epochs": [snapshot.epochs for snapshot in named[best]],
        "cycles": len(snapshots[-1].history),
        "max_cycles": architecture.max_cycles,
        "ended": snapshots[-1].ended,
    }


def write_curve(
    folder: Path,
    snapshots: list[Snapshot],
    architecture: str,
) -> None:
    """Write the learning curve: the mean loss over the networks after each round.

    The file has the columns epoch, train and validation. Validation is empty if no rows
    are held out.

    Args:
        snapshots: All snapshots of the training.
        architecture: The architecture whose longest trainings are shown.
    """
    same = group_by(snapshots, "architecture")[architecture]
    longest = group_by(same, "name")[same[-1].name]
    histories = [snapshot.history for snapshot in longest]
    # Some networks stop early.
    rounds = [[*filter(None, logs)] for logs in zip_longest(*histories)]
    columns = {
        "epoch": [logs[0]["epoch"] for logs in rounds],
        "train": [mean(logs, "loss") for logs in rounds],
        "validation": [mean(logs, "val_loss") for logs in rounds],
    }
    with atomic_write(folder) as partial:
        write_points(partial / "loss.csv", columns)


def mean(logs: list[Logs], key: str) -> float:
    """Return the mean of a loss over some networks, NaN if they do not have it.

    It has six decimals, with which it is the same on every CPU.
    """
    values = [log.get(key, math.nan) for log in logs]
    return round(float(np.mean(values)), 6)
