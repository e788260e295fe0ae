"""Dates, texts, features and the layers of the preprocessing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.signal import find_peaks
from sklearn.metrics import roc_auc_score

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.network import statistics, texts
from keras_tabular.network.backend import keras
from keras_tabular.network.features import LEAST_SCALE, relevance
from keras_tabular.network.layers import build_preprocessing, category_positions
from keras_tabular.network.statistics import Statistics, adapt, describe_steps
from keras_tabular.table.arrays import feature_arrays
from keras_tabular.training.architecture import build_optimizer, check_safe_mode
from keras_tabular.training.setup import resolve_auto
from tests.helpers import BINARY, build_schema, load_train_params


# The layers compute the same calendar as pandas, in any time zone.
@pytest.mark.parametrize(
    "zone",
    [None, "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"],
)
def test_the_parts_equal_those_of_pandas(zone: str | None) -> None:
    first, last = (0, 4_000_000_000) if zone else (-5_000_000_000, 8_000_000_000)
    drawn = np.random.default_rng(0).integers(first, last, 5_000)
    edges = pd.date_range("1999-12-31 23:59:59", "2024-03-01", freq="73D")
    edges_in_seconds = edges.astype("int64") // 10**9
    timestamps = np.concatenate([drawn, edges_in_seconds]).astype(float)
    seconds = keras.Input((1,), dtype="float64")
    outputs = statistics.compute_parts(seconds, zone, first=86_400.0)
    parts = keras.Model(seconds, outputs)(timestamps[:, None])
    local = pd.to_datetime(
        timestamps,
        unit="s",
        utc=True,
    ).tz_convert(zone or "UTC")
    expected: dict[str, Any] = {
        "time": timestamps / 86_400 - 1,
        "year": local.year,
        "month": local.month,
        "day": local.day,
        "day of the year": local.day_of_year,
        "weekday": local.day_of_week,
        "time of day": local.hour * 60 + local.minute,
    }
    assert parts.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(
            np.asarray(parts[name])[:, 0],
            np.asarray(values, float),
            rtol=1e-12,
            err_msg=name,
        )


# Encoded texts predict the target from their words, and never from the label of the row
# itself.
GOOD = ["fine", "great taste", "really good"]
BAD = ["awful", "stale smell", "really bad"]


def fit_vocabulary(rows: list[str]) -> texts.Vocabulary:
    return texts.fit_vocabulary(
        [np.array(rows, object)],
        max_tokens=1000,
        length=64,
    )


def find_tokens(model: keras.Model, *rows: str) -> list[set[int]]:
    column = keras.ops.convert_to_tensor(np.array(rows)[:, None])
    tokens = np.asarray(model(column))
    return [set(row) - {0} for row in tokens]


def test_tokens_do_not_depend_on_case_order_and_punctuation() -> None:
    model = fit_vocabulary(["fresh bread", "Bread,", "a b"]).token_model()
    rows = ("fresh bread", "Bread: FRESH!", "bread", "fresh", "", "日本")
    both, swapped, bread, fresh, empty, unknown = find_tokens(model, *rows)
    assert both > swapped == bread | fresh  # without the n-grams that span both words
    assert empty == unknown == set()


def test_the_most_frequent_words_are_known_and_the_start_of_a_text_is_read() -> None:
    table = pa.table({"x": ["b c a b c d b", None]})
    vocabulary = texts.fit_vocabulary(texts.read_texts([table], "x", 16), 2, 16)
    assert vocabulary.words == ["b", "c"]
    (tokens,) = find_tokens(vocabulary.token_model(), "d " * 7 + "c" + " b" * 100)
    assert tokens == {2}


@pytest.mark.parametrize(
    ("rows", "words"),
    [(["ab", "c d"], 3), (["!", "?"], 0), (["", ""], 0)],
)
def test_texts_may_have_no_ngrams_and_no_words(rows: list[str], words: int) -> None:
    first, second = find_tokens(fit_vocabulary(rows).token_model(), *rows)
    assert len(first | second) == words


def draw_reviews(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels, and texts with words that tell them between noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    noise = [f"w{number}" for number in range(300)]
    reviews = []
    for label in y:
        phrase = rng.choice(GOOD if label else BAD)
        words = [*rng.choice(noise, 3), phrase, rng.choice(noise)]
        reviews.append(" ".join(words))
    return np.array(reviews, object), y.astype(float)


@pytest.mark.parametrize("max_tokens", [10**6, 500])
def test_rows_that_were_not_learnt_from_are_predicted_from_their_words(
    max_tokens: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where memory is bounded, and regressions fit the first rows alone."""
    monkeypatch.setattr(texts, "MAX_TOKENS_TO_FIT", max_tokens)
    monkeypatch.setattr(texts, "BATCH_ROWS", 100)
    reviews, y = draw_reviews(600)
    vocabulary = fit_vocabulary(reviews.tolist())
    folds = np.arange(600) % 4
    parts = [reviews[:200], reviews[200:]]
    encoder = texts.fit_encoder(vocabulary, parts, y[:, None], folds)
    predictions = encoder.predict(reviews, folds)
    assert predictions.shape == (600, 1)
    assert roc_auc_score(y, predictions[:, 0]) > 0.9

    # The layers of the saved model predict the same for new rows.
    new_reviews, new_y = draw_reviews(50, seed=1)
    inputs = keras.Input((1,), dtype="string")
    keras.Model(inputs, encoder.build_layers(inputs)).save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    outputs = np.asarray(loaded(keras.ops.convert_to_tensor(new_reviews[:, None])))
    np.testing.assert_allclose(outputs, encoder.predict(new_reviews), atol=1e-3)
    assert roc_auc_score(new_y, outputs[:, 0]) > 0.9


def test_a_random_label_is_not_predicted_from_the_row_itself() -> None:
    """No two texts are alike, so that only the row itself could reveal its label."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    rows = np.array(["".join(rng.choice(letters, 12)) for _ in range(400)], object)
    y = rng.integers(0, 2, 400).astype(float)
    folds = np.arange(400) % 4
    vocabulary = fit_vocabulary(rows.tolist())
    encoder = texts.fit_encoder(
        vocabulary,
        [rows],
        y[:, None],
        folds,
    )
    of_other_rows = encoder.predict(rows, folds)
    assert roc_auc_score(y, of_other_rows[:, 0]) == pytest.approx(0.5, abs=0.1)
    of_all_rows = encoder.predict(rows)
    assert roc_auc_score(y, of_all_rows[:, 0]) > 0.9


# A learnt scale starts at the relevance of each column, and learning rates follow a
# schedule.
RNG = np.random.default_rng(1)


def test_columns_of_noise_start_with_a_lower_scale_than_useful_columns() -> None:
    noise = RNG.normal(size=(500, 300))
    y = RNG.normal(size=(500, 2))
    informative = y + 0.5 * RNG.normal(size=(500, 2))
    scales = relevance(np.column_stack([informative, noise, np.ones(500)]), y)
    assert (scales[:2] == 1).all()
    assert np.mean(scales[2:-1]) < 0.25
    assert scales[-1] == LEAST_SCALE


def test_the_relevance_of_columns_has_the_same_bits_in_any_order_of_rows() -> None:
    x = RNG.normal(size=(5000, 7))
    y = RNG.normal(size=(5000, 1))
    order = RNG.permutation(5000)
    np.testing.assert_array_equal(relevance(x, y), relevance(x[order], y[order]))


@pytest.mark.parametrize(
    ("schedule", "cycles"),
    [("cosine", 0), ("cosine_restarts", 4)],
)
def test_a_learning_rate_may_follow_a_schedule(schedule: str, cycles: int) -> None:
    rate = 0.5
    steps = 450
    network = {"learning_rate": rate, "learning_rate_schedule": schedule}
    train = resolve_auto(load_train_params({"plain": network}), 100, BINARY, 8)
    optimizer = build_optimizer(train.networks["plain"], steps)
    rates = []
    for step in range(steps + 1):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert max(rates) == pytest.approx(rate, rel=0.01)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
    peaks, _ = find_peaks(rates)
    assert len(peaks) == cycles


class Twice(keras.layers.Layer):
    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return 2 * x


@keras.saving.register_keras_serializable()
class RegisteredTwice(Twice):
    """A class that Keras finds in the process that trains, but nowhere else."""


@pytest.mark.parametrize(
    "layer",
    [keras.layers.Lambda(lambda x: 2 * x), Twice(), RegisteredTwice()],
    ids=repr,
)
def test_a_layer_that_keras_cannot_load_is_refused(layer: keras.layers.Layer) -> None:
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(1)(layer(inputs)))
    where = (
        r"^network\.py: the network plain may only have layers and functions of"
        r" keras, .*"
    )
    with pytest.raises(UserError, match=where + type(layer).__name__) as refused:
        check_safe_mode(network, "plain")
    assert "register" not in str(refused.value)  # it would not help
    check_safe_mode(keras.Model(inputs, keras.layers.Dense(1)(inputs)), "plain")
    assert "Custom>RegisteredTwice" in keras.saving.get_custom_objects()


# The preprocessing is a part of the model, and is fitted to the training rows.
SCHEMA = build_schema(
    "binary",
    a={
        "kind": "real",
        "missing_values": [0, -1],
        "nullable": True,
    },
    b="integer",
)
RAW = pa.table(
    {
        "a": [1.0, 0.0, 3.0, 8.0, None],
        "b": [0, 1, 2, 3, 4],
        "y": [0, 1, 0, 1, 0],
    },
)
INGESTED = pa.array([1.0, None, 3.0, 8.0, None])
TABLE = RAW.set_column(0, "a", INGESTED)


def fit(rows: pa.Table, schema: Schema, train: Train) -> tuple[Statistics, keras.Model]:
    """Fit the preprocessing to training rows in two parts."""

    def read(names: list[str] | None) -> list[pa.Table]:
        columns = rows.select(names or rows.column_names)
        return [columns[:2], columns[2:]]

    statistics = adapt(read, schema, train)
    return statistics, build_preprocessing(statistics, schema, train)


def preprocess(
    train: Train,
    rows: pa.Table = RAW,
    fitted_to: pa.Table = TABLE,
) -> np.ndarray:
    _, model = fit(fitted_to, SCHEMA, train)
    return np.asarray(model(feature_arrays(rows, SCHEMA)))


def test_missing_values_become_the_mean_and_are_marked() -> None:
    train = load_train_params(
        imputation="mean",
        normalization="standard",
        missing_indicators=True,
    )
    a = np.array([1, 4, 3, 8, 4]) - 4
    b = np.arange(5) - 2
    expected = np.column_stack([a / np.sqrt(26 / 3), b / np.sqrt(2), [0, 1, 0, 0, 1]])
    np.testing.assert_allclose(preprocess(train), expected, atol=1e-6)
    unseen = pa.table(
        {
            "a": [-1.0],
            "b": [2],
            "y": [0],
        },
    )
    np.testing.assert_allclose(preprocess(train, unseen), [[0, 0, 1]], atol=1e-6)


def test_the_columns_of_a_category_are_found() -> None:
    kinds = {"a": "real", "colour": "category", "size": "category", "note": "text"}
    # An empty or repeated text changes nothing.
    keys = {"nullable": True, "missing_values": ["", "?", "?"]}
    columns = {name: {"kind": kind, **keys} for name, kind in kinds.items()}
    schema = build_schema("binary", **columns)
    values = {
        "a": [1.0, None, 3.0],
        "colour": ["red", None, "blue"],
        "size": ["s", "m", "s"],
    }
    rows = pa.table(values | {"note": ["one", "two", None], "y": [0, 1, 0]})
    statistics, model = fit(rows, schema, load_train_params())
    x = np.asarray(model(feature_arrays(rows, schema)))
    positions = category_positions(statistics, model)
    parts = {name: x[:, first:end].tolist() for name, (first, end) in positions.items()}
    blue, red, missing = np.eye(3).tolist()
    assert parts == {"colour": [red, missing, blue], "size": [[0, 1], [1, 0], [0, 1]]}


def test_median_and_min_max() -> None:
    scaling: dict[str, Any] = {"imputation": "median", "normalization": "min_max"}
    train = load_train_params(**scaling, missing_indicators=False)
    expected = np.column_stack([np.array([0, 2, 2, 7, 2]) / 7, np.arange(5) / 4])
    np.testing.assert_allclose(preprocess(train), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "start"),
    [(1e36, 0), (1e27, 1e9), (1e20, 0), (1, 1e9), (1e-12, 0)],
)
def test_a_column_of_any_unit_is_scaled_by_the_saved_model_too(
    unit: float,
    start: float,
    tmp_path: Path,
) -> None:
    part = TABLE.set_column(1, "b", pa.array((np.arange(5) + start) * unit))
    schema = build_schema(
        "binary",
        a={"kind": "real", "nullable": True},
        b="real",
    )
    train = load_train_params(imputation="mean", normalization="standard")
    _, saved = fit(part, schema, train)
    saved.save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    scaled = np.asarray(model(feature_arrays(part, schema)))[:, 1]
    np.testing.assert_allclose(scaled, (np.arange(5) - 2) / np.sqrt(2), atol=1e-5)


def test_raw_columns_stay_as_they_are_and_may_not_have_missing_values() -> None:
    train = load_train_params(
        imputation="none",
        normalization="none",
        missing_indicators=False,
    )
    message = r"column a has missing values.*train\.imputation"
    with pytest.raises(UserError, match=message):
        preprocess(train)
    with pytest.raises(UserError, match=r"column a .* missing_values are 0, -1"):
        preprocess(train, RAW[:4], TABLE[:4])
    raw = preprocess(train, RAW[:4], TABLE[2:4])
    np.testing.assert_array_equal(raw, [[1, 0], [np.nan, 1], [3, 2], [8, 3]])
    empty = TABLE.set_column(0, "a", pa.nulls(5, pa.float64()))
    with pytest.raises(UserError, match=r"column a has no value"):
        preprocess(load_train_params(), empty, empty)


def test_the_varying_parts_of_a_date_become_columns_and_a_missing_date_is_marked() -> (
    None
):
    """The year and the time of day are the same in all rows."""
    schema = build_schema("binary", day={"kind": "datetime", "nullable": True})
    moments = pa.array(["2024-05-31", "2024-06-03", None]).cast(pa.timestamp("us"))
    part = pa.table({"day": moments.cast(pa.timestamp("us", "UTC")), "y": [0, 1, 0]})
    statistics, model = fit(part, schema, load_train_params())
    assert statistics.dates["day"].parts == (
        "time",
        "month",
        "day",
        "day of the year",
        "weekday",
    )
    train = resolve_auto(load_train_params(), 3, BINARY, 1)
    steps = describe_steps(statistics, schema, train)["day"]
    assert "without year: the same in all training rows" in steps
    prepared = np.asarray(model(feature_arrays(part, schema)))
    assert prepared.shape == (3, 5 + 2 * 2 + 1)
    expected = [[-1, -1, 1, -1, 1], [1, 1, -1, 1, -1]]
    np.testing.assert_allclose(prepared[:2, :5], expected)
    assert prepared[:, -1].tolist() == [0, 0, 1]
    assert prepared[2, 0] == pytest.approx(0, abs=1e-6)
