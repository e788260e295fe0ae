"""The model to save: preprocessing, and the weighted mean of the members."""

import platform

import numpy as np

from tabular.model.backend import keras, tf
from tabular.model.metadata import REPRODUCIBLE_MACHINES, VERSION, Ensemble, ModelMetadata
from tabular.model.preprocessing import texts
from tabular.model.stacking import stack
from tabular.model.training.selection import Blend, Member
from tabular.model.training.setup import Setup


def metadata(setup: Setup, members: list[Member], blend: Blend) -> ModelMetadata:
    """Collect the metadata of the model to save."""
    trained = {member.kind for member in members}
    exact = setup.train.exact and all(map(setup.stacks, trained))
    # Adafactor takes means of its own.
    exact &= all(setup.train.networks[kind].optimizer != "adafactor" for kind in trained)
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
    """The model to save: from raw rows to the mean of the members, weighted by their kind."""
    encoded = _encoded(setup)
    outputs, read = [], dict[str, list[keras.KerasTensor]]()
    for name, weight in weights.items():
        of_name = [member for member in members if member.name == name]
        kind = of_name[0].kind
        if not setup.stacks(kind):
            answers = _side_by_side(setup, of_name, encoded)
        else:
            if kind not in read:
                read[kind] = _features(setup, kind, encoded)
            answers = _stacked(setup, of_name, read[kind])
        mean = keras.layers.GlobalAveragePooling1D(name=f"{name}-mean")(answers)
        outputs.append(
            keras.layers.Rescaling(weight, name=f"{name}-weight")(mean) if weight != 1 else mean
        )
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(setup.preprocessed.inputs, output, name="model")


def _features(
    setup: Setup, kind: str, encoded: keras.KerasTensor | None
) -> list[keras.KerasTensor]:
    """What all stacked networks of a kind read."""
    prepared = setup.preprocessed.read[0]
    if encoded is None:
        return keras.tree.flatten(setup.features(kind)(prepared))
    return keras.tree.flatten(setup.features(kind, setup.train.folds)([encoded, prepared]))


def _stacked(
    setup: Setup, members: list[Member], read: list[keras.KerasTensor]
) -> keras.KerasTensor:
    """What the members of a name answer, as one network: (rows, members, outputs)."""
    model, count = setup.network(members[0].kind), len(members) // setup.train.folds
    apart = [len(one.shape) > len(i.shape) for one, i in zip(read, model.inputs, strict=True)]
    if count > 1:
        read = [
            keras.ops.repeat(tensor, count, axis=1) if own else tensor
            for tensor, own in zip(read, apart, strict=True)
        ]
    stacked = stack(model, [member.weights for member in members], apart)
    stacked.name = members[0].name
    return stacked(read)


def _side_by_side(
    setup: Setup, members: list[Member], encoded: keras.KerasTensor | None
) -> keras.KerasTensor:
    """See `_stacked`, of networks that have no such form."""
    kind, prepared, answers = members[0].kind, setup.preprocessed.read[0], []
    for number, member in enumerate(members, start=1):
        one = keras.models.clone_model(setup.network(kind))
        one.set_weights(member.weights)
        one.name = f"{members[0].name}-{number}"  # a scope of TensorFlow: no space
        columns = prepared
        if encoded is not None:
            columns = keras.layers.Concatenate()([encoded[:, member.fold], prepared])
        answers.append(one(setup.features(kind)(columns)))
    return keras.ops.stack(answers, axis=1)


def _encoded(setup: Setup) -> keras.KerasTensor | None:
    """What members read of categories and texts, as layers of the model to save.

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
    if len(by_fold) < 2:
        return by_fold[0] if by_fold else None
    return keras.layers.Concatenate()(by_fold)
