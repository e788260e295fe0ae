"""A text column says of the target what its words say, and never of the row itself."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing import texts

GOOD, BAD = ["fine", "great taste", "really good"], ["awful", "stale smell", "really bad"]


def known(written: list[str], length: int = 64) -> texts.Vocabulary:
    return texts.fit_vocabulary([np.array(written, object)], 1000, length)


def tokens_of(model: keras.Model, *written: str) -> list[set[int]]:
    found = np.asarray(model(keras.ops.convert_to_tensor(np.array(written)[:, None])))
    return [set(row) - {0} for row in found]


def test_words_and_runs_whatever_their_case_place_and_the_marks_beside_them() -> None:
    model = known(["fresh bread", "Bread,", "a b"]).token_model()
    a, b, c, d, none, unknown = tokens_of(
        model, "fresh bread", "Bread: FRESH!", "bread", "fresh", "", "日本"
    )
    assert a >= c | d  # the words, and the runs within them
    assert b == c | d  # but no run over the gap
    assert len(a) == 2 + 7  # words, and runs of five in eleven characters
    assert none == unknown == set()


def test_the_most_frequent_words_are_known_and_the_start_of_a_text_is_read() -> None:
    table = pa.table({"x": ["b c a b c d b", None]})
    vocabulary = texts.fit_vocabulary(texts.read_texts([table], "x", 16), 2, 16)
    assert vocabulary.words == ["b", "c"]
    assert vocabulary.length == 16
    (read,) = tokens_of(vocabulary.token_model(), "d " * 7 + "c" + " b" * 100)
    assert read == {2}


@pytest.mark.parametrize("written", [["ab", "c d"], ["!", "?"], ["", ""]])
def test_texts_may_hold_no_runs_and_no_words(written: list[str]) -> None:
    first, second = tokens_of(known(written).token_model(), *written)
    assert len(first | second) == len({*" ".join(written).split()} - {"!", "?"})


def sample(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Texts whose words say what the row is, with noise words around them."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows)
    noise = [f"w{number}" for number in range(300)]
    written = [
        " ".join([*rng.choice(noise, 3), rng.choice(GOOD if of == 1 else BAD), rng.choice(noise)])
        for of in y
    ]
    return np.array(written, object), y.astype(float)


@pytest.mark.parametrize("most", [10**6, 500])
def test_unseen_rows_get_what_the_words_say(
    most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where memory is bounded, and so the first rows alone are learnt from."""
    monkeypatch.setattr(texts, "MAX_TOKENS_TO_FIT", most)
    monkeypatch.setattr(texts, "BATCH_ROWS", 100)
    written, y = sample(600)
    vocabulary, folds = known(written.tolist()), np.arange(600) % 4
    parts = [written[:200], written[200:]]
    encoder = texts.fit_encoder(vocabulary, parts, y[:, None], folds)
    predictions = encoder.predict(written, folds)
    assert predictions.shape == (600, 1)
    assert roc_auc_score(y, predictions[:, 0]) > 0.9

    # The layers of the saved model give new rows the same.
    new, of_new = sample(50, seed=1)
    read = keras.Input((1,), dtype="string")
    keras.Model(read, encoder.build_layers(read)).save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    outputs = np.asarray(loaded(keras.ops.convert_to_tensor(new[:, None])))
    np.testing.assert_allclose(outputs, encoder.predict(new), atol=1e-3)
    assert roc_auc_score(of_new, outputs[:, 0]) > 0.9


def test_labels_by_chance_are_not_learnt_from_the_row_itself() -> None:
    """Every text is unlike all others, so that only the row itself could tell its label."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    written = np.array(["".join(rng.choice(letters, 12)) for _ in range(400)], object)
    y, folds = rng.integers(0, 2, 400).astype(float), np.arange(400) % 4
    encoder = texts.fit_encoder(known(written.tolist()), [written], y[:, None], folds)
    assert abs(roc_auc_score(y, encoder.predict(written, folds)[:, 0]) - 0.5) < 0.1
    assert roc_auc_score(y, encoder.predict(written)[:, 0]) > 0.9  # of rows that were learnt from
