"""The model to save: preprocessing, and the weighted mean of the members."""

import platform
from typing import Any

from tabular.model.backend import keras
from tabular.model.metadata import REPRODUCIBLE_MACHINES, model_metadata
from tabular.model.preprocessing import texts
from tabular.model.training.member import Member
from tabular.model.training.selection import Blend
from tabular.model.training.setup import Setup


def metadata(setup: Setup, members: list[Member], blend: Blend) -> dict[str, Any]:
    """What travels beside the model to save."""
    repeats = setup.train.exact and platform.machine() in REPRODUCIBLE_MACHINES
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
    columns = {fold: _encoded(setup, fold) for fold in sorted({m.fold for m in members})}
    outputs = []
    for kind, weight in weights.items():
        if not weight:
            continue
        features = setup.features(kind)
        of_kind = [member for member in members if member.kind == kind]
        each = []
        for number, member in enumerate(of_kind, start=1):
            member.model.name = f"{kind}-{number}"
            each.append(member.model(features(columns[member.fold])))
        mean = keras.layers.Average(name=f"{kind}-mean")(each) if len(each) > 1 else each[0]
        outputs.append(
            keras.layers.Rescaling(weight, name=f"{kind}-weight")(mean) if weight != 1 else mean
        )
    output = keras.layers.Add(name="weighted-mean")(outputs) if len(outputs) > 1 else outputs[0]
    if setup.schema.task == "regression":
        target = setup.statistics.target
        output = keras.layers.Rescaling(target.scale, target.shift, name="output-value")(output)
        output = keras.ops.clip(output, *setup.statistics.target_range)
    return keras.Model(setup.preprocessed.inputs, output, name="model")


def _encoded(setup: Setup, fold: int) -> keras.KerasTensor:
    """The columns that the members of a fold read, as layers of the model to save."""
    prepared, *codes = setup.preprocessed.read
    left_out = fold if setup.train.folds > 1 else None
    encoded = [
        keras.layers.Embedding(*table.shape[1:], weights=[table[-1]])(codes[0][:, column])
        for column, table in enumerate(setup.target_statistics(left_out))
    ]
    encoded += [
        texts.encoded(setup.preprocessed.tokens[name], encoder.table(left_out))
        for name, encoder in setup.encoders.items()
    ]
    return keras.layers.Concatenate()([*encoded, prepared]) if encoded else prepared
