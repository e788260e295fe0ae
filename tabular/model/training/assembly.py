"""The model to save: preprocessing, and the weighted mean of the members."""

import platform

from tabular.config.schema import input_name
from tabular.model.backend import keras, tf
from tabular.model.metadata import REPRODUCIBLE_MACHINES, VERSION, Ensemble, ModelMetadata
from tabular.model.stacking import stack
from tabular.model.training.architecture import Architecture
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
        categories=setup.statistics.vocabularies,
    )


def assemble(setup: Setup, members: list[Member], weights: dict[str, float]) -> keras.Model:
    """Build the model to save: from raw rows to the mean of the members, weighted by their name."""
    inputs, columns = setup.preprocessing.input, setup.preprocessing.output
    if setup.text_encoders:
        encoders = setup.text_encoders.items()
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
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(inputs, output, name="model")


def _side_by_side(
    architecture: Architecture, members: list[Member], columns: keras.KerasTensor
) -> keras.KerasTensor:
    """Return the predictions of networks that cannot be stacked: (rows, members, outputs)."""
    predictions = []
    for number, member in enumerate(members, start=1):
        network = keras.models.clone_model(architecture.network)
        network.set_weights(member.weights)
        network.name = f"{member.name}-{number}"  # a scope of TensorFlow: no space
        predictions.append(network(architecture.features(columns)))
    return keras.ops.stack(predictions, axis=1)
