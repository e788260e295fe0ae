"""Texts encoded by out-of-fold predictions of the target: ridge regression of TF-IDF features.

A text is the set of its words and of its character n-grams, weighted by TF-IDF (Salton and Buckley,
"Term-weighting approaches in automatic text retrieval", 1988). Ridge regressions on these weights
predict the target. One is fitted to all training rows and encodes new rows. A training row is
encoded by a regression that was fitted without the row's fold, so its own target takes no part in
its encoding.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from keras_tabular.networks.backend import keras

ops = keras.ops
NGRAM_LENGTH = 5  # characters
MAX_WORD_LENGTH = 8  # characters on average, with the blank between two words
MAX_COUNTED = 5_000_000  # characters in which words are counted: bounded memory
RIDGE, STEPS = 1.0, 20  # penalty, and steps of conjugate gradients; more change hardly anything
MAX_TOKENS = 20_000_000  # of the texts that are learnt from: bounded memory and time
GRID = 2.0**-12  # sums of its multiples up to 2⁴¹ are exact in float64, in any order
ROWS = 1_024  # whose tokens are found at a time


class Vocabulary(NamedTuple):
    """The most frequent words and character n-grams of a text column.

    Attributes:
        length: Number of n-grams that are read of a text, and twice the number of words.
    """

    words: list[str]
    ngrams: list[str]
    length: int

    @property
    def size(self) -> int:
        """Number of different tokens, where 0 is none."""
        return 1 + len(self.words) + len(self.ngrams)

    def token_model(self) -> keras.Model:
        """Build the model from texts, (rows, 1), to tokens: int, (rows, n), each once, or 0."""
        text = keras.Input((1,), dtype="string")
        words = vectorizer("words", vocabulary=self.words, output_sequence_length=self.length // 2)
        ngrams = vectorizer("ngrams", vocabulary=self.ngrams, output_sequence_length=self.length)
        word, ngram = words(text) - 1, ngrams(text) - 1  # 0 is an unknown one
        ngram = ops.where(ngram > 0, ngram + len(self.words), 0)
        ordered = ops.sort(ops.maximum(ops.concatenate([word, ngram], axis=1), 0), axis=1)
        before = ops.pad(ordered[:, :-1], [[0, 0], [1, 0]])
        return keras.Model(text, ops.where(ops.equal(ordered, before), 0, ordered))


def fit_vocabulary(parts: Iterable[np.ndarray], max_tokens: int, length: int) -> Vocabulary:
    """Find the most frequent words and n-grams in the first texts, about `MAX_COUNTED` characters.

    Args:
        parts: Texts of each part, (rows,).
        max_tokens: Number of words, and of n-grams, to know at most.
        length: Number of n-grams of a text to read at most.
    """
    texts: list[str] = []
    characters = 0
    for text in chain.from_iterable(parts):
        texts.append(text)
        characters += len(text)
        if characters > MAX_COUNTED:
            break
    counted = ops.convert_to_tensor(np.array(texts, object)[:, None])
    vocabularies = []
    for tokens in ("words", "ngrams"):
        layer = vectorizer(tokens, max_tokens=max_tokens + 2)  # with unknown and no token
        layer.adapt(counted)
        # Keras takes no empty vocabulary; a blank is neither a word nor an n-gram.
        vocabularies.append(layer.get_vocabulary(include_special_tokens=False) or [" "])
    longest = max([16, *map(len, texts)])
    words, ngrams = vocabularies
    return Vocabulary(words, ngrams, min(1 << (longest - 1).bit_length(), length))


def vectorizer(tokens: str, **options: Any) -> keras.layers.TextVectorization:
    """Build the layer for `words`, without marks, or for `ngrams`, which may hold some."""
    if tokens == "ngrams":
        options |= {"standardize": "lower", "split": "character", "ngrams": (NGRAM_LENGTH,)}
    return keras.layers.TextVectorization(**options)


def read_texts(parts: Iterable[pa.Table], name: str, length: int) -> Iterator[np.ndarray]:
    """Read the texts of each part that has rows: object, (rows,).

    Args:
        length: Number of n-grams of a text that are read; what is far behind them is cut off.
    """
    for part in parts:
        if len(part):
            texts = pc.utf8_slice_codeunits(part[name], 0, MAX_WORD_LENGTH * length // 2)
            yield pc.fill_null(texts, "").to_numpy(zero_copy_only=False)


class TextEncoder(NamedTuple):
    """Ridge regressions of the target on the tokens of a text column.

    Attributes:
        model: The result of `Vocabulary.token_model`.
        inverse: Inverse document frequency of each token, a multiple of `GRID`, (tokens,).
        weights: Weights of the regression on all training rows, then of one without each fold:
            float32, (outputs, tokens, 1 + folds).
    """

    model: keras.Model
    inverse: np.ndarray
    weights: np.ndarray

    def predict(self, texts: np.ndarray, folds: np.ndarray | None = None) -> np.ndarray:
        """Predict the target from texts: float32, (rows, outputs).

        Args:
            texts: Texts, (rows,).
            folds: Fold of each training row, whose texts are predicted without that fold.
        """
        regressions = np.zeros(len(texts), int) if folds is None else folds + 1
        predictions = np.empty((len(texts), len(self.weights)), np.float32)
        for start in range(0, len(texts), ROWS):
            rows = slice(start, start + ROWS)
            matrix = tfidf(token_sets(self.model, texts[rows], len(self.inverse)), self.inverse)
            chosen = regressions[rows, None]
            for output, weights in enumerate(self.weights):
                of_all = matrix @ weights
                predictions[rows, output] = np.take_along_axis(of_all, chosen, axis=1)[:, 0]
        return predictions

    def build_layers(self, text: keras.KerasTensor) -> keras.KerasTensor:
        """Build the layers that predict new texts, (rows, 1): float32, (rows, outputs)."""
        weighted = self.inverse[:, None] * self.weights[:, :, 0].T
        table = np.column_stack([weighted, self.inverse**2])
        table = (np.rint(table / GRID) * GRID).astype(np.float32)
        tokens = keras.layers.Embedding(*table.shape, weights=[table])(self.model(text))
        sums = ops.sum(ops.cast(tokens, "float64"), axis=1)
        length = ops.sqrt(ops.maximum(sums[:, -1:], GRID))
        return ops.cast(sums[:, :-1] / length, "float32")


def token_sets(model: keras.Model, texts: np.ndarray, size: int) -> sparse.csr_array:
    """Find the tokens of texts, (rows,): a matrix of 1 in their columns, (rows, size)."""
    ids = np.asarray(model(ops.convert_to_tensor(texts[:, None])))
    is_token = ids > 0
    columns = ids[is_token]
    ends = np.concatenate([[0], np.cumsum(is_token.sum(axis=1))])
    return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), size))


def fit_encoder(
    vocabulary: Vocabulary, parts: Iterable[np.ndarray], y: np.ndarray, folds: np.ndarray
) -> TextEncoder:
    """Fit linear models to the texts of the training rows, or to the first of many rows.

    Args:
        parts: Texts of each part, (rows,).
        y: Targets, float64, (rows, outputs), see `regression_targets`.
        folds: Fold of each row.
    """
    model, size = vocabulary.token_model(), vocabulary.size
    blocks: list[sparse.csr_array] = []
    count = 0
    batches = (
        texts[start : start + ROWS] for texts in parts for start in range(0, len(texts), ROWS)
    )
    for texts in batches:
        blocks.append(token_sets(model, texts, size))
        count += blocks[-1].nnz
        if count >= MAX_TOKENS:
            break
    sets = sparse.vstack(blocks, format="csr")
    rows = sets.shape[0]
    with_token = np.bincount(sets.indices, minlength=size)
    inverse = np.rint((np.log((1 + rows) / (1 + with_token)) + 1) / GRID) * GRID
    inverse[0] = 0  # no token
    matrix = tfidf(sets, inverse)
    left_out = np.arange(-1, folds.max(initial=0) + 1)  # no fold, then each of them
    learns = (folds[:rows, None] != left_out).astype(np.float64)
    weights = [ridge(matrix, of_output, learns) for of_output in y[:rows].T]
    return TextEncoder(model, inverse, np.stack(weights).astype(np.float32))


def regression_targets(y: np.ndarray, classes: int) -> np.ndarray:
    """Return what the regressions learn: float64, (rows, outputs).

    Args:
        y: The value, or the index of a class, (rows, 1).
        classes: Number of classes; 0 for regression. Of two, only the second has an output.
    """
    if not classes:
        return y
    indicators = (y == np.arange(classes)).astype(np.float64)
    return indicators[:, 1:] if classes == 2 else indicators


def ridge(matrix: sparse.csr_array, y: np.ndarray, learns: np.ndarray) -> np.ndarray:
    """Fit several ridge regressions at once, by conjugate gradients.

    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952). No
    product here comes from a library for dense matrices, whose bits depend on the CPU, and all
    products are of values rounded by `singles`.

    Args:
        matrix: Features of each row, (rows, columns).
        y: Target of each row, (rows,).
        learns: 1 where a regression learns from a row, else 0, float64, (rows, regressions).

    Returns:
        The weights, float64, (columns, regressions). A regression predicts the difference from the
        mean target of the rows that it learns from, in standard deviations of these targets.
    """
    count = np.maximum(learns.sum(axis=0), 1)
    difference = learns * (y[:, None] - (learns * y[:, None]).sum(axis=0) / count)
    deviation = np.sqrt((difference**2).sum(axis=0) / count)
    transposed = matrix.T.tocsr()
    residual = transposed @ singles(difference / np.where(deviation > 0, deviation, 1))
    weights, direction = np.zeros_like(residual), singles(residual)
    squares = (residual**2).sum(axis=0)
    for _ in range(STEPS):
        product = transposed @ singles(learns * (matrix @ direction)) + RIDGE * direction
        curvature = (direction * product).sum(axis=0)
        step = squares / np.where(curvature > 0, curvature, 1)
        weights = weights + step * direction
        residual = residual - step * product
        before, squares = squares, (residual**2).sum(axis=0)
        direction = singles(residual + direction * (squares / np.where(before > 0, before, 1)))
    return weights


def singles(values: np.ndarray) -> np.ndarray:
    """Round values to float32, and return them as float64, whose products are then exact."""
    return values.astype(np.float32).astype(np.float64)


def tfidf(sets: sparse.csr_array, inverse: np.ndarray) -> sparse.csr_array:
    """Compute TF-IDF features of sets of tokens, each row scaled to length 1."""
    data = inverse[sets.indices]
    squares = sparse.csr_array((data**2, sets.indices, sets.indptr), shape=sets.shape).sum(axis=1)
    lengths = np.sqrt(np.maximum(squares, GRID))
    data = singles(data / np.repeat(lengths, np.diff(sets.indptr)))
    return sparse.csr_array((data, sets.indices, sets.indptr), shape=sets.shape)
