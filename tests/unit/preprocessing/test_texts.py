"""Encoded texts predict the target from their words, and never from the label of the row itself."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing import texts

GOOD, BAD = ["fine", "great taste", "really good"], ["awful", "stale smell", "really bad"]


def fit_vocabulary(rows: list[str]) -> texts.Vocabulary:
    return texts.fit_vocabulary([np.array(rows, object)], max_tokens=1000, length=64)


def find_tokens(model: keras.Model, *rows: str) -> list[set[int]]:
    tokens = np.asarray(model(keras.ops.convert_to_tensor(np.array(rows)[:, None])))
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


@pytest.mark.parametrize(("rows", "words"), [(["ab", "c d"], 3), (["!", "?"], 0), (["", ""], 0)])
def test_texts_may_have_no_ngrams_and_no_words(rows: list[str], words: int) -> None:
    first, second = find_tokens(fit_vocabulary(rows).token_model(), *rows)
    assert len(first | second) == words


def draw_reviews(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw texts with words that tell the label, between words of noise; and the labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    noise, reviews = [f"w{number}" for number in range(300)], []
    for label in y:
        phrase = rng.choice(GOOD if label else BAD)
        reviews.append(" ".join([*rng.choice(noise, 3), phrase, rng.choice(noise)]))
    return np.array(reviews, object), y.astype(float)


@pytest.mark.parametrize("max_tokens", [10**6, 500])
def test_rows_that_were_not_learnt_from_are_predicted_from_their_words(
    max_tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where memory is bounded, so that regressions are fitted to the first rows alone."""
    monkeypatch.setattr(texts, "MAX_TOKENS_TO_FIT", max_tokens)
    monkeypatch.setattr(texts, "BATCH_ROWS", 100)
    reviews, y = draw_reviews(600)
    vocabulary, folds = fit_vocabulary(reviews.tolist()), np.arange(600) % 4
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
    y, folds = rng.integers(0, 2, 400).astype(float), np.arange(400) % 4
    encoder = texts.fit_encoder(fit_vocabulary(rows.tolist()), [rows], y[:, None], folds)
    assert abs(roc_auc_score(y, encoder.predict(rows, folds)[:, 0]) - 0.5) < 0.1
    assert roc_auc_score(y, encoder.predict(rows)[:, 0]) > 0.9  # the regression on all rows
