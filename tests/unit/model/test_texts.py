"""A text column says of the target what its words say, and never of the row itself."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tabular.model.backend import keras
from tabular.model.preprocessing import texts

BUCKETS = 4096
GOOD, BAD = ["fine", "great taste", "really good"], ["awful", "stale smell", "really bad"]


def token_model(known: list[str], length: int = 64, buckets: int = BUCKETS) -> keras.Model:
    read = keras.Input((1,), dtype="string")
    return keras.Model(read, texts.tokens(read, known, length, buckets))


def tokens_of(*written: str, known: str = "abcdefghijklmnopqrstuvwxyzAÉé ,.!\n") -> list[set[int]]:
    model = token_model(sorted(known))
    found = np.asarray(model(keras.ops.convert_to_tensor(np.array(written)[:, None])))
    return [set(row) - {0} for row in found]


def test_words_and_runs_whatever_their_case_place_and_the_marks_between_them() -> None:
    a, b, c, d, none = tokens_of("fresh bread", "Fresh, BREAD!", "bread", "fresh", "")
    assert a >= c | d  # the words, and the runs within them
    assert len(a & b) >= len(a) / 2  # the runs over the gap differ
    assert none == set()
    accented, plain = tokens_of("Été", "été", known="tTEeÉé")
    assert accented == plain
    (unknown,) = tokens_of("日本", known="abc")
    assert len(unknown) == 1


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
    monkeypatch.setattr(texts, "MAX_TOKENS", most)
    monkeypatch.setattr(texts, "ROWS", 100)
    written, y = sample(600)
    known, folds = sorted(set("".join(written))), np.arange(600) % 4
    model = token_model(known)
    encoder = texts.fit(model, [written[:200], written[200:]], y[:, None], folds, BUCKETS)
    predictions = encoder.predict(written, folds)
    assert predictions.shape == (600, 1)
    assert roc_auc_score(y, predictions[:, 0]) > 0.9

    # The layers of the saved model give new rows the same.
    new, of_new = sample(50, seed=1)
    read = keras.Input((1,), dtype="string")
    keras.Model(read, encoder.predict_tokens(model(read))).save(tmp_path / "m.keras")
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
    encoder = texts.fit(token_model(letters), [written], y[:, None], folds, BUCKETS)
    assert abs(roc_auc_score(y, encoder.predict(written, folds)[:, 0]) - 0.5) < 0.1
    assert roc_auc_score(y, encoder.predict(written)[:, 0]) > 0.9  # of rows that were learnt from
