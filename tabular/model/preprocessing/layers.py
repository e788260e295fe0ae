"""Preprocessing of raw columns as Keras layers."""

from typing import NamedTuple

import numpy as np

from tabular.config.schema import Column, Schema, input_name
from tabular.config.sections import Train
from tabular.model.backend import keras
from tabular.model.preprocessing import dates, texts
from tabular.model.preprocessing.statistics import BINS, Date, Statistics, part_name
from tabular.table.arrays import input_type


class Preprocessed(NamedTuple):
    """The inputs of the model to be, and what its networks read of them.

    `inputs` by `input_name` of the column, each of shape (rows, 1): text for a category or a text
    ("" is missing), else float64 in the column's own units, a moment in seconds since 1970 began,
    UTC (NaN is missing). `read` the preprocessed columns, float32, (rows, width), those of numbers
    first; and where there are columns with target statistics their categories, int32,
    (rows, columns): 0 for one that training never saw, then `Statistics.encoded` or the hashes,
    then a gap. `texts` for each text column the model from texts to `texts.tokens`, and `tokens`
    what it gives for the inputs.
    """

    inputs: dict[str, keras.KerasTensor]
    read: list[keras.KerasTensor]
    texts: dict[str, keras.Model]
    tokens: dict[str, keras.KerasTensor]


def build(statistics: Statistics, schema: Schema, train: Train) -> Preprocessed:
    """The preprocessing as a Keras model, called on the inputs of the model to be.

    It is a model within the model, so that a column may have the name of any layer.
    """
    within_names = {name: f"column {n}" for n, name in enumerate(schema.features, start=1)}

    def inputs(names: dict[str, str]) -> dict[str, keras.KerasTensor]:
        return {
            column: keras.Input((1,), name=name, dtype=input_type(schema.columns[column]))
            for column, name in names.items()
        }

    within = inputs(within_names)
    preprocessing = keras.Model(
        {within_names[name]: tensor for name, tensor in within.items()},
        prepared(within, statistics, schema, train),
        name="preprocessing",
    )
    raw = inputs({name: input_name(name) for name in schema.features})
    of_texts: dict[str, keras.Model] = {}
    for name, text in statistics.texts.items():
        read = keras.Input((1,), dtype="string")
        found = texts.tokens(read, text.alphabet, text.length, train.text_buckets)
        of_texts[name] = keras.Model(read, found, name=f"tokens-{len(of_texts) + 1}")
    return Preprocessed(
        {input_name(name): tensor for name, tensor in raw.items()},
        keras.tree.flatten(preprocessing({within_names[name]: raw[name] for name in raw})),
        of_texts,
        {name: model(raw[name]) for name, model in of_texts.items()},
    )


def prepared(
    inputs: dict[str, keras.KerasTensor], statistics: Statistics, schema: Schema, train: Train
) -> list[keras.KerasTensor]:
    """The columns side by side, and where there are target statistics the categories.

    See `Preprocessed.read`.

    Args:
        inputs: by column.
    """
    number_columns = {n: inputs[n] for n in statistics.scalings if n in inputs}
    moments = {
        name: datetime_parts(inputs[name], date, schema.columns[name].timezone)
        for name, date in statistics.dates.items()
    }
    for name, (of_date, _) in moments.items():
        number_columns |= {part_name(name, part): values for part, values in of_date.items()}
    parts = scaled_numbers(number_columns, statistics, schema, train) if number_columns else []
    for name, (of_date, missing) in moments.items():
        parts += [
            dates.cyclic_encoding(of_date[part], part) for part in dates.PERIODS if part in of_date
        ]
        if train.missing_indicators and name in statistics.with_gaps:
            parts.append(keras.ops.cast(missing, "float32"))
    parts += [
        one_hot_category(inputs[name], known, name in statistics.with_gaps, schema.columns[name])
        for name, known in statistics.vocabularies.items()
    ]
    parts += [
        one_hot_category(inputs[name], [], True, schema.columns[name]) for name in statistics.texts
    ]
    outputs = [_side_by_side(parts)]
    if statistics.encoded:
        codes = [
            category_code(inputs[name], known, schema.columns[name], name in statistics.hashed)
            for name, known in statistics.encoded.items()
        ]
        outputs.append(keras.ops.cast(_side_by_side(codes), "int32"))
    return outputs


def _side_by_side(parts: list[keras.KerasTensor]) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)


def datetime_parts(
    seconds: keras.KerasTensor, date: Date, timezone: str | None
) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """Those parts of a moment that vary, and where it is missing; (rows, 1) each."""
    missing = keras.ops.isnan(seconds)
    parts = dates.parts(keras.ops.where(missing, date.fill, seconds), timezone, date.first)
    return {part: parts[part] for part in date.parts}, missing


def category_code(
    text: keras.KerasTensor, known: list[str], column: Column, hashed: bool
) -> keras.KerasTensor:
    """The code of a category that gets target statistics, see `Preprocessed.read`."""
    ops = keras.ops
    gaps = ["", *column.sentinels]
    if not hashed:
        place = keras.layers.StringLookup(vocabulary=[*known, *gaps])(text)
        return ops.minimum(place, len(known) + 1)
    gap = keras.layers.StringLookup(vocabulary=gaps)(text) > 0
    return ops.where(gap, BINS + 1, keras.layers.Hashing(BINS)(text) + 1)


def scaled_numbers(
    inputs: dict[str, keras.KerasTensor], statistics: Statistics, schema: Schema, train: Train
) -> list[keras.KerasTensor]:
    """All number columns side by side, and a 0/1 column for each one that has gaps.

    Args:
        inputs: of the columns, and the parts of dates.
    """
    ops = keras.ops
    names = list(statistics.scalings)
    fill, shift, scales = (
        np.array([getattr(scaling, key) for scaling in statistics.scalings.values()])
        for key in ("fill", "shift", "scale")
    )
    columns = [inputs[name] for name in names]
    numbers = columns[0]
    if len(columns) > 1:
        numbers = keras.layers.Concatenate(dtype="float64")(columns)
    missing = ops.isnan(numbers)
    sentinels = [schema.columns[n].sentinels if n in schema.columns else () for n in names]
    for sentinel in sorted({float(value) for values in sentinels for value in values}):
        marked = np.array([sentinel in values for values in sentinels])
        missing = ops.logical_or(missing, ops.logical_and(ops.equal(numbers, sentinel), marked))
    if train.imputation != "none":
        numbers = ops.where(missing, fill, numbers)
    if train.normalization != "none":
        numbers = _standardised(numbers, shift, scales)
    preprocessed = [ops.cast(numbers, "float32")]
    gaps = [index for index, name in enumerate(names) if name in statistics.with_gaps]
    if train.missing_indicators and gaps:
        preprocessed.append(ops.cast(ops.take(missing, np.array(gaps), axis=1), "float32"))
    return preprocessed


def _standardised(
    numbers: keras.KerasTensor, shift: np.ndarray, scales: np.ndarray
) -> keras.KerasTensor:
    """Float64 columns without `shift`, divided by `scales`."""
    # Keras loads both as float32, the scale squared, and divides by 1e-7 at least.
    held = np.abs(shift.astype(np.float32) - shift) <= 1e-6 * scales
    if np.all(held & (scales >= 1e-6) & (scales <= 1e18)):
        return keras.layers.Normalization(dtype="float64", mean=shift, variance=np.square(scales))(
            numbers
        )
    return (numbers - shift) / scales


def one_hot_category(
    text: keras.KerasTensor, known: list[str], with_gaps: bool, column: Column
) -> keras.KerasTensor:
    """A 0/1 column for each known category, and one for a gap where training had gaps.

    A category that training never saw gets zeros.
    """
    ops = keras.ops
    lookup = keras.layers.StringLookup(vocabulary=[*known, "", *column.sentinels])
    # 0 is an unseen category, then come the known ones, then everything that means missing.
    position = ops.minimum(lookup(text), len(known) + 1)
    last = len(known) + (2 if with_gaps else 1)
    one_hot = ops.one_hot(ops.reshape(position, (-1,)), len(known) + 2)
    return one_hot[:, 1:last]
