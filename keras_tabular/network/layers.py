"""Preprocessing of raw columns as Keras layers."""

from collections.abc import Iterable

import numpy as np

from keras_tabular.config.schema import Column, Schema, input_name, part_name
from keras_tabular.config.sections import Train
from keras_tabular.network.backend import keras
from keras_tabular.network.statistics import (
    PERIODS,
    Statistics,
    compute_parts,
    cyclic_encoding,
)

ops = keras.ops


def build_preprocessing(
    statistics: Statistics,
    schema: Schema,
    train: Train,
) -> keras.Model:
    """Build the preprocessing: a model from raw columns to what networks read.

    It has an input for each column, named by `input_name`, of shape (rows, 1).
    Categories and texts are strings, "" for a missing value. Other columns are float64,
    NaN for a missing value; a datetime is in seconds since 1970 began, UTC. The output
    is float32, (rows, width), columns of numbers first. It does not contain the encoded
    texts: `texts.TextEncoder` builds their layers.
    """

    def build_inputs(names: Iterable[str]) -> dict[str, keras.KerasTensor]:
        types = [
            "string" if c.is_string else "float64" for c in schema.features.values()
        ]
        return {
            n: keras.Input((1,), name=n, dtype=t)
            for n, t in zip(names, types, strict=True)
        }

    # A model within the model, so that a column may have the name of any layer.
    inner = build_inputs(
        f"column {number}" for number in range(1, len(schema.features) + 1)
    )
    by_column = dict(zip(schema.features, inner.values(), strict=True))
    columns = preprocess_columns(by_column, statistics, schema, train)
    preprocessing = keras.Model(inner, [columns], name="preprocessing")
    raw = build_inputs(map(input_name, schema.features))
    outputs = preprocessing(dict(zip(inner, raw.values(), strict=True)))
    return keras.Model(raw, outputs[0])


def preprocess_columns(
    inputs: dict[str, keras.KerasTensor],
    statistics: Statistics,
    schema: Schema,
    train: Train,
) -> keras.KerasTensor:
    """Build the layers from the input of each column to all preprocessed columns."""
    columns = schema.columns
    with_missing = statistics.columns_with_missing
    numbers = {name: inputs[name] for name in statistics.scalings if name in inputs}
    date_parts = {}
    is_missing = {}
    for name, date in statistics.dates.items():
        is_missing[name] = ops.isnan(inputs[name])
        seconds = ops.where(is_missing[name], date.fill, inputs[name])
        parts = compute_parts(seconds, columns[name].timezone, date.first)
        date_parts[name] = {part: parts[part] for part in date.parts}
        numbers |= {part_name(name, part): parts[part] for part in date.parts}
    outputs = scale_numbers(numbers, statistics, schema, train) if numbers else []
    for name, parts in date_parts.items():
        cyclic = [part for part in PERIODS if part in parts]
        outputs += [cyclic_encoding(parts[part], part) for part in cyclic]
        if train.missing_indicators and name in with_missing:
            outputs.append(ops.cast(is_missing[name], "float32"))
    for name in statistics.one_hot_order:
        vocabulary = statistics.vocabularies[name]
        has_missing = name in with_missing
        outputs.append(one_hot(inputs[name], vocabulary, has_missing, columns[name]))
    outputs += [
        one_hot(inputs[name], [], True, columns[name]) for name in statistics.texts
    ]
    return outputs[0] if len(outputs) == 1 else keras.layers.Concatenate()(outputs)


def category_positions(
    statistics: Statistics,
    model: keras.Model,
) -> dict[str, tuple[int, int]]:
    """Return where the 0/1 columns of each category column begin and end.

    Args:
        model: The result of `build_preprocessing`, whose output has these columns.
    """
    positions = {}
    end = model.output_shape[1] - len(statistics.texts)
    for name in reversed(statistics.one_hot_order):
        first = end - statistics.one_hot_size(name)
        positions[name], end = (first, end), first
    return positions


def scale_numbers(
    inputs: dict[str, keras.KerasTensor],
    statistics: Statistics,
    schema: Schema,
    train: Train,
) -> list[keras.KerasTensor]:
    """Fill and scale all number columns, and mark the missing values of each column that has some.

    Args:
        inputs: Number columns, and parts of dates, in the order of
            `statistics.scalings`.
    """
    names = list(statistics.scalings)
    columns = [inputs[name] for name in statistics.scalings]
    numbers = (
        keras.layers.Concatenate(dtype="float64")(columns)
        if len(columns) > 1
        else columns[0]
    )
    is_missing = ops.isnan(numbers)
    sentinels = [
        schema.columns[n].sentinels if n in schema.columns else () for n in names
    ]
    for sentinel in sorted({float(value) for values in sentinels for value in values}):
        has_sentinel = np.array([sentinel in values for values in sentinels])
        is_sentinel = ops.logical_and(ops.equal(numbers, sentinel), has_sentinel)
        is_missing = ops.logical_or(is_missing, is_sentinel)
    fill, shift, scale = np.array(list(statistics.scalings.values())).T
    if train.imputation == "none":  # a row with a missing value has no prediction
        fill = np.full_like(fill, np.nan)
    if train.imputation != "none" or any(sentinels):
        numbers = ops.where(is_missing, fill, numbers)
    if train.normalization != "none":
        # Keras loads both as float32, the scale squared, and divides by 1e-7 at least.
        is_precise = np.abs(shift.astype(np.float32) - shift) <= 1e-6 * scale
        if np.all(is_precise & (scale >= 1e-6) & (scale <= 1e18)):
            normalise = keras.layers.Normalization(
                dtype="float64",
                mean=shift,
                variance=scale**2,
            )
            numbers = normalise(numbers)
        else:
            numbers = (numbers - shift) / scale
    preprocessed = [ops.cast(numbers, "float32")]
    marked = [
        n for n, name in enumerate(names) if name in statistics.columns_with_missing
    ]
    if train.missing_indicators and marked:
        preprocessed.append(
            ops.cast(ops.take(is_missing, np.array(marked), axis=1), "float32"),
        )
    return preprocessed


def one_hot(
    text: keras.KerasTensor,
    categories: list[str],
    has_missing: bool,
    column: Column,
) -> keras.KerasTensor:
    """Build a 0/1 column for each known category, and one for missing values if training had some.

    All columns are 0 for a category that training never saw.
    """
    count = len(categories)
    lookup = keras.layers.StringLookup(vocabulary=[*categories, "", *column.sentinels])
    # 0 is an unseen category, then come the known ones, then everything that means
    # missing.
    position = ops.minimum(lookup(text), count + 1)
    encoded = ops.one_hot(ops.reshape(position, (-1,)), count + 2)
    return encoded[:, 1 : count + (2 if has_missing else 1)]
