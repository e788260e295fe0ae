"""Preprocessing of raw columns as Keras layers."""

from collections.abc import Iterable

import numpy as np

from keras_tabular.config.schema import Column, Schema, input_name
from keras_tabular.config.sections import Train
from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing import dates
from keras_tabular.preprocessing.statistics import Statistics, part_name
from keras_tabular.table.arrays import input_type


def build_preprocessing(statistics: Statistics, schema: Schema, train: Train) -> keras.Model:
    """Build the preprocessing: a model from raw columns to what networks read.

    It has an input for each column, named by `input_name`, of shape (rows, 1). Categories and texts
    are strings, "" for a missing value. Other columns are float64, NaN for a missing value; a
    datetime is in seconds since 1970 began, UTC. The output is float32, (rows, width), columns of
    numbers first. The encoded texts are not part of it, see `texts.TextEncoder`.
    """

    def build_inputs(names: Iterable[str]) -> dict[str, keras.KerasTensor]:
        types = map(input_type, schema.features.values())
        return {n: keras.Input((1,), name=n, dtype=t) for n, t in zip(names, types, strict=True)}

    # A model within the model, so that a column may have the name of any layer.
    inner = build_inputs(f"column {number}" for number in range(1, len(schema.features) + 1))
    by_column = dict(zip(schema.features, inner.values(), strict=True))
    columns = preprocessed_columns(by_column, statistics, schema, train)
    preprocessing = keras.Model(inner, [columns], name="preprocessing")
    raw = build_inputs(map(input_name, schema.features))
    outputs = preprocessing(dict(zip(inner, raw.values(), strict=True)))
    return keras.Model(raw, outputs[0])


def preprocessed_columns(
    inputs: dict[str, keras.KerasTensor], statistics: Statistics, schema: Schema, train: Train
) -> keras.KerasTensor:
    """Build the preprocessed columns, see `build_preprocessing`, from the input of each column."""
    ops, columns = keras.ops, schema.columns
    numbers = {name: inputs[name] for name in statistics.scalings if name in inputs}
    date_parts, missing = {}, {}
    for name, date in statistics.dates.items():
        missing[name] = ops.isnan(inputs[name])
        seconds = ops.where(missing[name], date.fill, inputs[name])
        parts = dates.parts(seconds, columns[name].timezone, date.first)
        date_parts[name] = {part: parts[part] for part in date.parts}
        numbers |= {part_name(name, part): parts[part] for part in date.parts}
    outputs = scaled_numbers(numbers, statistics, schema, train) if numbers else []
    for name, parts in date_parts.items():
        cyclic = [part for part in dates.PERIODS if part in parts]
        outputs += [dates.cyclic_encoding(parts[part], part) for part in cyclic]
        if train.missing_indicators and name in statistics.columns_with_missing:
            outputs.append(ops.cast(missing[name], "float32"))
    for name, vocabulary in statistics.vocabularies.items():
        with_gaps = name in statistics.columns_with_missing
        outputs.append(one_hot_category(inputs[name], vocabulary, with_gaps, columns[name]))
    outputs += [
        one_hot_category(inputs[name], [], True, columns[name]) for name in statistics.texts
    ]
    return outputs[0] if len(outputs) == 1 else keras.layers.Concatenate()(outputs)


def scaled_numbers(
    inputs: dict[str, keras.KerasTensor], statistics: Statistics, schema: Schema, train: Train
) -> list[keras.KerasTensor]:
    """Put all number columns side by side, and a 0/1 column for each one that has gaps.

    Args:
        inputs: Inputs of number columns, and parts of dates, as the keys of `statistics.scalings`.
    """
    ops, names = keras.ops, list(statistics.scalings)
    columns = [inputs[name] for name in names]
    numbers = keras.layers.Concatenate(dtype="float64")(columns) if len(columns) > 1 else columns[0]
    missing = ops.isnan(numbers)
    sentinels = [schema.columns[n].sentinels if n in schema.columns else () for n in names]
    for sentinel in sorted({float(value) for values in sentinels for value in values}):
        marked = np.array([sentinel in values for values in sentinels])
        missing = ops.logical_or(missing, ops.logical_and(ops.equal(numbers, sentinel), marked))
    scalings = statistics.scalings.values()
    if train.imputation != "none":
        numbers = ops.where(missing, np.array([scaling.fill for scaling in scalings]), numbers)
    if train.normalization != "none":
        shift = np.array([scaling.shift for scaling in scalings])
        scale = np.array([scaling.scale for scaling in scalings])
        numbers = _standardised(numbers, shift, scale)
    preprocessed = [ops.cast(numbers, "float32")]
    gaps = [index for index, name in enumerate(names) if name in statistics.columns_with_missing]
    if train.missing_indicators and gaps:
        preprocessed.append(ops.cast(ops.take(missing, np.array(gaps), axis=1), "float32"))
    return preprocessed


def _standardised(
    numbers: keras.KerasTensor, shift: np.ndarray, scale: np.ndarray
) -> keras.KerasTensor:
    """Subtract `shift` from float64 columns and divide them by `scale`."""
    # Keras loads both as float32, the scale squared, and divides by 1e-7 at least.
    is_exact = np.abs(shift.astype(np.float32) - shift) <= 1e-6 * scale
    if not np.all(is_exact & (scale >= 1e-6) & (scale <= 1e18)):
        return (numbers - shift) / scale
    return keras.layers.Normalization(dtype="float64", mean=shift, variance=scale**2)(numbers)


def one_hot_category(
    text: keras.KerasTensor, categories: list[str], with_gaps: bool, column: Column
) -> keras.KerasTensor:
    """Build a 0/1 column for each known category, and one for a gap where training had gaps.

    A category that training never saw gets zeros.
    """
    ops, count = keras.ops, len(categories)
    lookup = keras.layers.StringLookup(vocabulary=[*categories, "", *column.sentinels])
    # 0 is an unseen category, then come the known ones, then everything that means missing.
    position = ops.minimum(lookup(text), count + 1)
    one_hot = ops.one_hot(ops.reshape(position, (-1,)), count + 2)
    return one_hot[:, 1 : count + (2 if with_gaps else 1)]
