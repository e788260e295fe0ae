"""The model to save: preprocessing, and the weighted mean of the members."""

import platform
from typing import Any

import numpy as np

from tabular.model.backend import keras
from tabular.model.metadata import REPRODUCIBLE_MACHINES, model_metadata
from tabular.model.preprocessing import texts
from tabular.model.stacking import stack
from tabular.model.training.member import Member
from tabular.model.training.selection import Blend
from tabular.model.training.setup import Setup


def metadata(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """What travels beside the model to save."""
    exact = setup.train.exact and all(setup.stacks(kind) for kind in blend.weights)
    repeats = exact and platform.machine() in REPRODUCIBLE_MACHINES
    return {
        **model_metadata(setup.schema),
        "repeats": "any_cpu" if repeats else "same_cpu",
        **(fold_metadata(setup, members, blend) if setup.train.folds > 1 else {}),
        "categories": setup.statistics.categories,
    }


def fold_metadata(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """How a fold's answer is made of the members': see `saved_model.fold_predictions`."""
    used = {kind: weight for kind, weight in blend.weights.items() if weight}
    return {
        "weights": used,
        "folds": {kind: [m.fold for m in members if m.kind == kind] for kind in used},
        "target_range": list(setup.statistics.target_range),
    }


def assemble(setup: Setup, members: list[Member], weights: dict[str, float]) -> keras.Model:
    """The model to save: from raw rows to the mean of the members, weighted by their kind."""
    columns, apart = _encoded(setup)
    outputs = []
    for kind, weight in weights.items():
        if not weight:
            continue
        of_kind = [member for member in members if member.kind == kind]
        answers = _answers(setup, of_kind, columns, apart=apart)
        mean = keras.layers.GlobalAveragePooling1D(name=f"{kind}-mean")(answers)
        outputs.append(
            keras.layers.Rescaling(weight, name=f"{kind}-weight")(mean) if weight != 1 else mean
        )
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(setup.preprocessed.inputs, output, name="model")


def _answers(
    setup: Setup, members: list[Member], columns: keras.KerasTensor, *, apart: bool
) -> keras.KerasTensor:
    """What the members of a kind answer: (rows, members, outputs)."""
    kind, count = members[0].kind, len(members) // setup.train.folds
    model = setup.network(kind)
    if setup.stacks(kind):
        features = setup.features(kind, setup.train.folds if apart else None)
        read = keras.tree.flatten(features(columns))
        if apart and count > 1:
            read = [keras.ops.repeat(tensor, count, axis=1) for tensor in read]
        stacked = stack(model, [member.weights for member in members], shared=not apart)
        stacked.name = kind
        return stacked(read)
    features, each = setup.features(kind), []
    for number, member in enumerate(members, start=1):
        one = keras.models.clone_model(model)
        one.set_weights(member.weights)
        one.name = f"{kind}-{number}"
        each.append(one(features(columns[:, member.fold] if apart else columns)))
    return keras.ops.stack(each, axis=1)


def _encoded(setup: Setup) -> tuple[keras.KerasTensor, bool]:
    """The columns that members read, as layers of the model to save.

    Returns:
        (rows, width), or where those of each fold read others of their own (rows, folds, width);
        and whether they do.
    """
    prepared, *codes = setup.preprocessed.read
    folds, encoded = setup.train.folds, []
    left_out = list(range(folds)) if folds > 1 else [None]
    tables = zip(*(setup.target_statistics(fold) for fold in left_out), strict=True)
    for column, of_folds in enumerate(tables):
        table = np.concatenate([of_fold[-1] for of_fold in of_folds], axis=1)
        encoded.append(keras.layers.Embedding(*table.shape, weights=[table])(codes[0][:, column]))
    for name, encoder in setup.encoders.items():
        encoded.append(texts.encoded(setup.preprocessed.tokens[name], encoder.table(left_out)))
    if folds > 1 and encoded:
        by_fold = [keras.layers.Reshape((folds, -1))(values) for values in encoded]
        return keras.layers.Concatenate()(
            [*by_fold, keras.layers.RepeatVector(folds)(prepared)]
        ), True
    return keras.layers.Concatenate()([*encoded, prepared]) if encoded else prepared, False
