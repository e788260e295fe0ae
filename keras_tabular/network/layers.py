"""Preprocessing of raw columns as Keras layers."""

from collections.abc import Iterable
from itertools import chain

import numpy as np

from keras_tabular.config.schema import Column, Schema, input_name, part_name
from keras_tabular.config.sections import Train
from keras_tabular.network.backend import KerasTensor, keras
from keras_tabular.network.features import Place
from keras_tabular.network.statistics import (
    PERIODS,
    Scaling,
    Statistics,
    compute_parts,
    cyclic_encoding,
)

ops = keras.ops

# Limits of what a Keras `Normalization` layer computes in float64. It loads its mean
# and its variance as float32, and divides by 1e-7 at least.
MAX_RELATIVE_ERROR_OF_SHIFT = 1e-6
MIN_SCALE = 1e-6
MAX_SCALE = 1e18


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

    def build_inputs(names: Iterable[str]) -> dict[str, KerasTensor]:
        """Build an input with a name of its own for each feature, in their order."""
        inputs = {}
        for name, column in zip(names, schema.features.values(), strict=True):
            dtype = "string" if column.is_string else "float64"
            inputs[name] = keras.Input(
                (1,),
                name=name,
                dtype=dtype,
            )
        return inputs

    # A model within the model, so that a column may have the name of any layer.
    numbers = range(1, len(schema.features) + 1)
    inner = build_inputs(f"column {number}" for number in numbers)
    by_column = dict(zip(schema.features, inner.values(), strict=True))
    preprocessed = preprocess_columns(by_column, statistics, schema, train)
    preprocessing = keras.Model(inner, [preprocessed], name="preprocessing")
    raw = build_inputs(map(input_name, schema.features))
    inner_values = dict(zip(inner, raw.values(), strict=True))
    return keras.Model(raw, preprocessing(inner_values)[0])


def preprocess_columns(
    inputs: dict[str, KerasTensor],
    statistics: Statistics,
    schema: Schema,
    train: Train,
) -> KerasTensor:
    """Build the layers from the input of each column to all preprocessed columns."""
    columns = schema.columns
    with_missing = statistics.columns_with_missing
    # Number columns come before the parts of dates, as in `statistics.scalings`.
    numbers = {name: inputs[name] for name in statistics.scalings if name in inputs}
    is_missing_date = {}
    for name, date in statistics.dates.items():
        is_missing = ops.isnan(inputs[name])
        is_missing_date[name] = is_missing
        seconds = ops.where(is_missing, date.fill, inputs[name])
        parts = compute_parts(seconds, columns[name].timezone, date.first)
        for part in date.parts:
            numbers[part_name(name, part)] = parts[part]
    outputs = scale_numbers(numbers, statistics, schema, train) if numbers else []
    for name, date in statistics.dates.items():
        for part in PERIODS:
            if part in date.parts:
                outputs.append(cyclic_encoding(numbers[part_name(name, part)], part))
        if train.missing_indicators and name in with_missing:
            outputs.append(ops.cast(is_missing_date[name], "float32"))
    for name in statistics.one_hot_order:
        vocabulary = statistics.vocabularies[name]
        has_missing = name in with_missing
        encoded = one_hot(inputs[name], vocabulary, has_missing, columns[name])
        outputs.append(encoded)
    for name in statistics.texts:
        outputs.append(
            one_hot(inputs[name], [], True, columns[name]),
        )
    if len(outputs) == 1:
        return outputs[0]
    return keras.layers.Concatenate()(outputs)


def category_positions(
    statistics: Statistics,
    model: keras.Model,
) -> dict[str, Place]:
    """Return where the 0/1 columns of each category column begin and end.

    Args:
        statistics: Statistics of the training rows.
        model: The result of `build_preprocessing`, whose output has these columns.
    """
    positions = {}
    end = model.output_shape[1] - len(statistics.texts)
    for name in reversed(statistics.one_hot_order):
        first = end - statistics.one_hot_size(name)
        positions[name] = (first, end)
        end = first
    return positions


def scale_numbers(
    inputs: dict[str, KerasTensor],
    statistics: Statistics,
    schema: Schema,
    train: Train,
) -> list[KerasTensor]:
    """Fill and scale all number columns, and mark the missing values of columns.

    A column gets a mark if it had missing values in training.

    Args:
        inputs: Number columns, and parts of dates, in the order of
            `statistics.scalings`.
        statistics: Statistics of the training rows.
        schema: The table.
        train: The parameters.

    Returns:
        The scaled numbers, float32, shape (rows, numbers), and the marks, if any.
    """
    names = list(statistics.scalings)
    columns = [inputs[name] for name in names]
    numbers = columns[0]  # (rows, numbers)
    if len(columns) > 1:
        numbers = keras.layers.Concatenate(dtype="float64")(columns)
    sentinels = []
    for name in names:
        is_column = name in schema.columns  # and not a part of a date
        sentinels.append(schema.columns[name].sentinels if is_column else ())
    distinct = set(map(float, chain.from_iterable(sentinels)))
    is_missing = ops.isnan(numbers)
    for sentinel in sorted(distinct):
        has_sentinel = np.array([sentinel in values for values in sentinels])
        is_sentinel = ops.logical_and(ops.equal(numbers, sentinel), has_sentinel)
        is_missing = ops.logical_or(is_missing, is_sentinel)
    scalings = list(statistics.scalings.values())
    fill = np.array([scaling.fill for scaling in scalings])
    if train.imputation == "none":  # a row with a missing value has no prediction
        fill = np.full_like(fill, np.nan)
    if train.imputation != "none" or any(sentinels):
        numbers = ops.where(is_missing, fill, numbers)
    if train.normalization != "none":
        numbers = normalise(numbers, scalings)
    outputs = [ops.cast(numbers, "float32")]
    with_missing = statistics.columns_with_missing
    marked = [number for number, name in enumerate(names) if name in with_missing]
    if train.missing_indicators and marked:
        marks = ops.take(is_missing, np.array(marked), axis=1)
        outputs.append(ops.cast(marks, "float32"))
    return outputs


def normalise(
    numbers: KerasTensor,
    scalings: list[Scaling],
) -> KerasTensor:
    """Build (numbers - shift) / scale, as a `Normalization` layer if it is precise.

    Args:
        numbers: Float64, shape (rows, numbers).
        scalings: Scaling of each number.
    """
    shift = np.array([scaling.shift for scaling in scalings])
    scale = np.array([scaling.scale for scaling in scalings])
    error = np.abs(shift.astype(np.float32) - shift)
    is_precise = (
        (error <= MAX_RELATIVE_ERROR_OF_SHIFT * scale)
        & (scale >= MIN_SCALE)
        & (scale <= MAX_SCALE)
    )
    if not is_precise.all():
        return (numbers - shift) / scale
    # As float32, they are what Keras reads back from the file.
    return keras.layers.Normalization(
        dtype="float64",
        mean=shift.astype(np.float32),
        variance=(scale**2).astype(np.float32),
    )(numbers)


def one_hot(
    text: KerasTensor,
    categories: list[str],
    has_missing: bool,
    column: Column,
) -> KerasTensor:
    """Build a 0/1 column for each known category, and one for missing values.

    All columns are 0 for a category that training never saw.

    Args:
        text: Strings, shape (rows, 1).
        categories: The known categories.
        has_missing: Whether there is a column for missing values.
        column: The column of the schema.
    """
    count = len(categories)
    vocabulary = [*categories, "", *column.sentinels]
    # Keras refuses a repeated text.
    lookup = keras.layers.StringLookup(vocabulary=[*dict.fromkeys(vocabulary)])
    # 0 is an unseen category, then come the known ones, then everything that means
    # missing.
    position = ops.minimum(lookup(text), count + 1)
    flat = ops.reshape(position, (-1,))
    encoded = ops.one_hot(flat, count + 2)  # (rows, count + 2)
    n_columns = count + 1 if has_missing else count
    return encoded[:, 1 : n_columns + 1]
