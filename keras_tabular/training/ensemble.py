"""The ensemble: the weights of the members, and the model that is their weighted mean."""

import platform
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.config.schema import input_name
from keras_tabular.core.numbers import round_for_comparison
from keras_tabular.model_file.attribution import describe_training_rows
from keras_tabular.model_file.metadata import REPRODUCIBLE_MACHINES, Ensemble, ModelMetadata
from keras_tabular.model_file.saved_model import SavedModel, load_model, write_model
from keras_tabular.model_file.version import VERSION
from keras_tabular.networks.backend import keras, tf
from keras_tabular.networks.stacking import stack
from keras_tabular.preprocessing.statistics import describe_preprocessing
from keras_tabular.training.architecture import Architecture
from keras_tabular.training.checkpoint import Snapshot
from keras_tabular.training.fit import group_by, held_out_loss, out_of_fold
from keras_tabular.training.setup import Setup

BAGS, PICKS, BAG_ROWS = 20, 20, 20_000  # see `select_weights`
MIN_WEIGHT = 0.1  # of what is saved


class WeightedEnsemble(NamedTuple):
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

    def summary(self) -> str:
        """Format the weight and the loss of each name of members that is saved."""
        parts = []
        for name, weight in self.weights.items():
            loss = f", cross-validated loss {self.losses[name]:.4g}" if self.losses else ""
            parts.append(f"{name}, weight {weight:.2f}{loss}")
        return "; ".join(parts)


def weigh_snapshots(setup: Setup, members: list[Snapshot]) -> WeightedEnsemble:
    """Weigh the members by their out-of-fold predictions; without folds all architectures alike.

    Those of a small weight are left out, so that the model stays small.
    """
    named = group_by(members, "name")
    rows, _ = out_of_fold(setup, named[members[0].name])
    oof = {name: out_of_fold(setup, same)[1] for name, same in named.items()}
    if not len(rows):
        best = best_snapshots(setup, members)
        return WeightedEnsemble(dict.fromkeys(best, 1 / len(best)), {}, rows, oof[best[0]])
    weights = select_weights(setup, rows, oof)
    least = min(MIN_WEIGHT, max(weights.values()))  # of many alike none may have so much
    weights = select_weights(setup, rows, {n: oof[n] for n in oof if weights[n] >= least})
    weights = {name: share for name, share in weights.items() if share}
    losses = {name: setup.mean_loss(rows, outputs) for name, outputs in oof.items()}
    weighted = [np.float32(share) * oof[name] for name, share in weights.items()]
    return WeightedEnsemble(weights, losses, rows, np.sum(weighted, axis=0))


def best_snapshots(setup: Setup, members: list[Snapshot]) -> list[str]:
    """Name each architecture's snapshot with the lowest validation loss, or its last one."""
    best = []
    for same in group_by(members, "architecture").values():
        losses = {}
        for name, snapshots in group_by(same, "name").items():
            losses[name] = round_for_comparison(held_out_loss(setup, snapshots) or 0.0)
        best.append(min(reversed(losses), key=losses.__getitem__))  # the last one of equal ones
    return best


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


def save(setup: Setup, members: list[Snapshot], ensemble: WeightedEnsemble, file: Path) -> None:
    """Save the weighted networks as one model, with a summary of the training rows."""
    network = assemble(setup, members, ensemble.weights)
    content = metadata(setup, members, ensemble)
    model = SavedModel(file, network, content, b"")
    trained_on = describe_training_rows(model, setup.folder, setup.schema)
    write_model(network, file, content.model_copy(update={"trained_on": trained_on}))
    load_model(Path("the model that was trained"), file.read_bytes())  # later stages can load it


def assemble(setup: Setup, members: list[Snapshot], weights: dict[str, float]) -> keras.Model:
    """Build the model to save: from raw rows to the mean of the members, weighted by their name."""
    inputs, columns = setup.preprocessor.layers.input, setup.preprocessor.layers.output
    if setup.preprocessor.text_encoders:
        encoders = setup.preprocessor.text_encoders.items()
        texts = [encoder.build_layers(inputs[input_name(name)]) for name, encoder in encoders]
        columns = keras.layers.Concatenate()([columns, *texts])
    outputs, features_read = [], dict[str, list[keras.KerasTensor]]()
    for name, weight in weights.items():
        same = [member for member in members if member.name == name]
        architecture = setup.architectures[same[0].architecture]
        if not architecture.is_stackable:
            predictions = _side_by_side(architecture, same, columns)
        else:
            if architecture.name not in features_read:
                features_read[architecture.name] = architecture.features(columns)
            stacked = stack(architecture.network, [member.weights for member in same])
            stacked.name = name
            predictions = stacked(features_read[architecture.name])
        mean = keras.layers.GlobalAveragePooling1D(name=f"{name}-mean")(predictions)
        if weight != 1:
            mean = keras.layers.Rescaling(weight, name=f"{name}-weight")(mean)
        outputs.append(mean)
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.preprocessor.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.preprocessor.statistics.target_range)
    return keras.Model(inputs, output, name="model")


def _side_by_side(
    architecture: Architecture, members: list[Snapshot], columns: keras.KerasTensor
) -> keras.KerasTensor:
    """Return the predictions of networks that cannot be stacked: (rows, members, outputs)."""
    predictions = []
    for number, member in enumerate(members, start=1):
        network = keras.models.clone_model(architecture.network)
        network.set_weights(member.weights)
        network.name = f"{member.name}-{number}"  # a scope of TensorFlow: no space
        predictions.append(network(architecture.features(columns)))
    return keras.ops.stack(predictions, axis=1)


def metadata(setup: Setup, members: list[Snapshot], ensemble: WeightedEnsemble) -> ModelMetadata:
    """Collect the metadata of the model to save."""
    exact = setup.train.exact and all(
        # Adafactor takes means of its own.
        architecture.is_stackable and architecture.params.optimizer != "adafactor"
        for architecture in setup.architectures.values()
    )
    on_cpu = not tf.config.get_visible_devices("GPU")
    repeats = exact and on_cpu and platform.machine() in REPRODUCIBLE_MACHINES
    folds = {name: tuple(m.fold for m in members if m.name == name) for name in ensemble.weights}
    combination, preprocessor = None, setup.preprocessor
    if setup.schema.task == "regression" and setup.train.folds > 1:
        target_range = preprocessor.statistics.target_range
        combination = Ensemble(weights=ensemble.weights, folds=folds, target_range=target_range)
    return ModelMetadata.from_schema(
        setup.schema,
        loss=setup.train.loss,
        version=VERSION,
        repeats="any_cpu" if repeats else "same_cpu",
        ensemble=combination,
        class_weights=preprocessor.class_weights.tolist() if setup.train.class_weight else None,
        categories=preprocessor.statistics.vocabularies,
    )


def describe(setup: Setup, members: list[Snapshot], ensemble: WeightedEnsemble) -> dict[str, Any]:
    """Return the content of `metrics/networks.json`."""
    networks = {
        name: describe_architecture(setup.architectures[name], same, ensemble)
        for name, same in group_by(members, "architecture").items()
    }
    columns = describe_preprocessing(setup.preprocessor.statistics, setup.schema, setup.train)
    curves = max(networks, key=lambda name: networks[name]["weight"])
    return {"folds": setup.train.folds, "networks": networks, "columns": columns, "curves": curves}


def describe_architecture(
    architecture: Architecture, members: list[Snapshot], ensemble: WeightedEnsemble
) -> dict[str, Any]:
    """Describe the parameters of an architecture, and the loss and the weight of its members."""
    named = group_by(members, "name")
    weights = {name: ensemble.weights.get(name, 0.0) for name in named}
    rounded = {name: round_for_comparison(ensemble.losses.get(name, 0)) for name in named}
    best = min(named, key=lambda name: (rounded[name], -weights[name]))
    content: dict[str, Any] = {
        "weight": sum(weights.values()),
        "members": sum(len(same) for name, same in named.items() if weights[name]),
        "loss": ensemble.losses.get(best),
        "stacked": architecture.is_stackable,
        "params": architecture.params.model_dump(),
        "epochs": [member.epochs for member in named[best]],
    }
    if architecture.max_cycles:
        content["cycles"] = [
            {"steps": same[0].steps, "loss": ensemble.losses.get(name), "weight": weights[name]}
            for name, same in named.items()
        ]
    return content
