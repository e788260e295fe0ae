"""The model to save: preprocessing, and the weighted mean of the members."""

import platform

import numpy as np

from tabular.model import network
from tabular.model.backend import keras, tf
from tabular.model.metadata import REPRODUCIBLE_MACHINES, VERSION, Ensemble, ModelMetadata
from tabular.model.preprocessing import texts
from tabular.model.stacking import stack
from tabular.model.training.selection import Blend, Member
from tabular.model.training.setup import Setup


def metadata(setup: Setup, members: list[Member], blend: Blend) -> ModelMetadata:
    """Collect the metadata of the model to save."""
    exact = setup.train.exact and all(
        # Adafactor takes means of its own.
        architecture.is_stackable and architecture.params.optimizer != "adafactor"
        for architecture in setup.architectures.values()
    )
    on_cpu = not tf.config.get_visible_devices("GPU")
    repeats = exact and on_cpu and platform.machine() in REPRODUCIBLE_MACHINES
    folds = {name: tuple(m.fold for m in members if m.name == name) for name in blend.weights}
    ensemble = None
    if setup.schema.task == "regression" and setup.train.folds > 1:
        target_range = setup.statistics.target_range
        ensemble = Ensemble(weights=blend.weights, folds=folds, target_range=target_range)
    return ModelMetadata.from_schema(
        setup.schema,
        loss=setup.train.loss,
        version=VERSION,
        repeats="any_cpu" if repeats else "same_cpu",
        ensemble=ensemble,
        class_weights=setup.class_weights.tolist() if setup.train.class_weight else None,
        categories=setup.statistics.categories,
    )


def assemble(setup: Setup, members: list[Member], weights: dict[str, float]) -> keras.Model:
    """Build the model to save: from raw rows to the mean of the members, weighted by their name."""
    encoded, prepared = _encoded(setup), setup.preprocessed.read[0]
    outputs, features_read = [], dict[str, list[keras.KerasTensor]]()
    for name, weight in weights.items():
        same = [member for member in members if member.name == name]
        architecture = setup.architectures[same[0].architecture]
        if not architecture.is_stackable:
            predictions = _side_by_side(setup, same, encoded)
        else:
            if architecture.name not in features_read:
                features, inputs = architecture.features, prepared
                if encoded is not None:  # which members of other folds read differently
                    folds, inputs = setup.train.folds, [encoded, prepared]
                    features = network.features(setup.columns, architecture.params, folds)
                    features.name = architecture.features.name
                features_read[architecture.name] = keras.tree.flatten(features(inputs))
            predictions = _stacked(setup, same, features_read[architecture.name])
        mean = keras.layers.GlobalAveragePooling1D(name=f"{name}-mean")(predictions)
        if weight != 1:
            mean = keras.layers.Rescaling(weight, name=f"{name}-weight")(mean)
        outputs.append(mean)
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(setup.preprocessed.inputs, output, name="model")


def _stacked(
    setup: Setup, members: list[Member], features: list[keras.KerasTensor]
) -> keras.KerasTensor:
    """Return what the members of a name predict, as one network: (rows, members, outputs)."""
    model, per_fold = (
        setup.architectures[members[0].architecture].network,
        len(members) // setup.train.folds,
    )
    inputs, apart = [], []
    for tensor, of_one in zip(features, model.inputs, strict=True):
        by_fold = len(tensor.shape) > len(of_one.shape)
        apart.append(by_fold)
        inputs.append(keras.ops.repeat(tensor, per_fold, 1) if by_fold and per_fold > 1 else tensor)
    stacked = stack(model, [member.weights for member in members], apart)
    stacked.name = members[0].name
    return stacked(inputs)


def _side_by_side(
    setup: Setup, members: list[Member], encoded: keras.KerasTensor | None
) -> keras.KerasTensor:
    """Return the same as `_stacked`, of networks that cannot be stacked."""
    architecture = setup.architectures[members[0].architecture]
    prepared, predictions = setup.preprocessed.read[0], []
    for number, member in enumerate(members, start=1):
        one = keras.models.clone_model(architecture.network)
        one.set_weights(member.weights)
        one.name = f"{member.name}-{number}"  # a scope of TensorFlow: no space
        columns = prepared
        if encoded is not None:
            columns = keras.layers.Concatenate()([encoded[:, member.fold], prepared])
        predictions.append(one(architecture.features(columns)))
    return keras.ops.stack(predictions, axis=1)


def _encoded(setup: Setup) -> keras.KerasTensor | None:
    """Build the layers of the model to save from which members read categories and texts.

    Returns:
        (rows, folds, width); None where there is nothing of that kind.
    """
    _, *codes = setup.preprocessed.read
    folds, encoded = setup.train.folds, []
    left_out = list(range(folds)) if folds > 1 else [None]
    tables = zip(*(setup.target_statistics(fold) for fold in left_out), strict=True)
    for column, of_folds in enumerate(tables):
        table = np.concatenate([of_fold[-1] for of_fold in of_folds], axis=1)
        encoded.append(keras.layers.Embedding(*table.shape, weights=[table])(codes[0][:, column]))
    for name, encoder in setup.encoders.items():
        encoded.append(texts.encoded(setup.preprocessed.tokens[name], encoder.table(left_out)))
    by_fold = [keras.layers.Reshape((folds, -1))(values) for values in encoded]
    if len(by_fold) > 1:
        return keras.layers.Concatenate()(by_fold)
    return by_fold[0] if by_fold else None
