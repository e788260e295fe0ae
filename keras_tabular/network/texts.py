"""Texts encoded by out-of-fold predictions of the target: ridge regression of TF-IDF features.

A text is the set of its words and of its character n-grams, weighted by TF-IDF (Salton
and Buckley, "Term-weighting approaches in automatic text retrieval", 1988). Ridge
regressions on these weights predict the target. One is fitted to all training rows and
encodes new rows. A training row is encoded by a regression that was fitted without the
row's fold, so its own target takes no part in its encoding.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from keras_tabular.network.backend import keras

ops = keras.ops
Item = TypeVar("Item")
NGRAM_LENGTH = 5  # characters
MAX_WORD_LENGTH = 8  # characters on average, with the space between two words
MAX_CHARACTERS_COUNTED = (
    5_000_000  # of the texts in which words are counted: bounded memory
)
MAX_TOKENS_TO_FIT = (
    20_000_000  # of the texts to which regressions are fitted: bounded memory
)
# of the ridge regressions; more steps change hardly anything
L2_PENALTY = 1.0
GRADIENT_STEPS = 20
GRID = 2.0**-12  # sums of its multiples up to 2⁴¹ are exact in float64, in any order
BATCH_ROWS = 1_024  # whose tokens are found at a time


class Vocabulary(NamedTuple):
    """The most frequent words and character n-grams of a text column.

    Attributes:
        length: Number of n-grams of a text that are read, and twice the number of
            words.
    """

    words: list[str]
    ngrams: list[str]
    length: int

    def token_model(self) -> keras.Model:
        """Build the model from texts, shape (rows, 1), to their distinct tokens and zeros.

        Its output is int, shape (rows, n).
        """
        text = keras.Input((1,), dtype="string")
        words = vectorizer(
            "words",
            vocabulary=self.words,
            output_sequence_length=self.length // 2,
        )
        ngrams = vectorizer(
            "ngrams",
            vocabulary=self.ngrams,
            output_sequence_length=self.length,
        )
        # 0 is an unknown one
        word = words(text) - 1
        ngram = ngrams(text) - 1
        ngram = ops.where(ngram > 0, ngram + len(self.words), 0)
        ordered = ops.sort(
            ops.maximum(ops.concatenate([word, ngram], axis=1), 0),
            axis=1,
        )
        previous = ops.pad(ordered[:, :-1], [[0, 0], [1, 0]])
        return keras.Model(text, ops.where(ops.equal(ordered, previous), 0, ordered))


def fit_vocabulary(
    parts: Iterable[np.ndarray],
    max_tokens: int,
    length: int,
) -> Vocabulary:
    """Find the most frequent words and n-grams in the first `MAX_CHARACTERS_COUNTED` characters.

    Args:
        parts: Texts of each part, shape (rows,).
        max_tokens: Largest number of words, and of n-grams, in the vocabulary.
        length: Largest number of n-grams of a text to read.
    """
    texts = list(first_items(chain.from_iterable(parts), len, MAX_CHARACTERS_COUNTED))
    tensor = ops.convert_to_tensor(np.array(texts, object)[:, None])
    vocabularies = []
    for tokens in ("words", "ngrams"):
        layer = vectorizer(
            tokens,
            max_tokens=max_tokens + 2,
        )  # with unknown and no token
        layer.adapt(tensor)
        # Keras does not take an empty vocabulary. A space is neither a word nor an
        # n-gram.
        vocabularies.append(layer.get_vocabulary(include_special_tokens=False) or [" "])
    words, ngrams = vocabularies
    longest = max([16, *map(len, texts)])
    return Vocabulary(words, ngrams, min(1 << (longest - 1).bit_length(), length))


def first_items(
    items: Iterable[Item],
    size: Callable[[Item], int],
    limit: int,
) -> Iterator[Item]:
    """Yield the first items, until the sum of their sizes is at least `limit`."""
    total = 0
    for item in items:
        yield item
        total += size(item)
        if total >= limit:
            return


def vectorizer(tokens: str, **options: Any) -> keras.layers.TextVectorization:
    """Build the layer for "words", without punctuation, or for "ngrams", with it."""
    if tokens == "ngrams":
        options |= {
            "standardize": "lower",
            "split": "character",
            "ngrams": (NGRAM_LENGTH,),
        }
    return keras.layers.TextVectorization(**options)


def read_texts(
    parts: Iterable[pa.Table],
    name: str,
    length: int,
) -> Iterator[np.ndarray]:
    """Read the texts of each part that has rows: object, shape (rows,).

    Args:
        length: Number of n-grams of a text that are read. The text far behind them is
            cut off.
    """
    for part in parts:
        if len(part):
            texts = pc.utf8_slice_codeunits(
                part[name],
                0,
                MAX_WORD_LENGTH * length // 2,
            )
            yield pc.fill_null(texts, "").to_numpy(zero_copy_only=False)


class TextEncoder(NamedTuple):
    """Ridge regressions of the target on the tokens of a text column.

    Attributes:
        model: The result of `Vocabulary.token_model`.
        inverse_frequency: Inverse document frequency of each token, a multiple of
            `GRID`, shape (tokens,).
        weights: Weights of the regression on all training rows, then of one without
            each fold: float32, shape (outputs, tokens, 1 + folds).
    """

    model: keras.Model
    inverse_frequency: np.ndarray
    weights: np.ndarray

    def predict(self, texts: np.ndarray, folds: np.ndarray | None = None) -> np.ndarray:
        """Predict the target from texts: float32, shape (rows, outputs).

        Args:
            texts: Texts, shape (rows,).
            folds: Fold of each training row, whose text is predicted without that fold;
                None for new rows.
        """
        regressions = np.zeros(len(texts), int) if folds is None else folds + 1
        predictions = np.empty((len(texts), len(self.weights)), np.float32)
        for start in range(0, len(texts), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            tokens = token_matrix(self.model, texts[rows], len(self.inverse_frequency))
            matrix = tfidf(tokens, self.inverse_frequency)
            for output, weights in enumerate(self.weights):
                by_regression = matrix @ weights
                chosen = np.take_along_axis(
                    by_regression,
                    regressions[rows, None],
                    axis=1,
                )
                predictions[rows, output] = chosen[:, 0]
        return predictions

    def build_layers(self, text: keras.KerasTensor) -> keras.KerasTensor:
        """Build the layers that predict new texts, (rows, 1): float32, shape (rows, outputs)."""
        weighted = self.inverse_frequency[:, None] * self.weights[:, :, 0].T
        table = np.column_stack([weighted, self.inverse_frequency**2])
        table = (np.rint(table / GRID) * GRID).astype(np.float32)
        tokens = keras.layers.Embedding(*table.shape, weights=[table])(self.model(text))
        sums = ops.sum(ops.cast(tokens, "float64"), axis=1)
        length = ops.sqrt(ops.maximum(sums[:, -1:], GRID))
        return ops.cast(sums[:, :-1] / length, "float32")


def fit_encoder(
    vocabulary: Vocabulary,
    parts: Iterable[np.ndarray],
    y: np.ndarray,
    folds: np.ndarray,
) -> TextEncoder:
    """Fit regressions to the texts of the training rows, up to `MAX_TOKENS_TO_FIT` tokens.

    Args:
        parts: Texts of each part, shape (rows,).
        y: What each output should be, see `Task.indicators`: float64, shape (rows,
            outputs).
        folds: Fold of each row.
    """
    model = vocabulary.token_model()
    size = 1 + len(vocabulary.words) + len(vocabulary.ngrams)  # where 0 means no token
    batches = (
        part[n : n + BATCH_ROWS]
        for part in parts
        for n in range(0, len(part), BATCH_ROWS)
    )
    blocks = (token_matrix(model, texts, size) for texts in batches)
    fitted_blocks = first_items(blocks, lambda block: block.nnz, MAX_TOKENS_TO_FIT)
    tokens = sparse.vstack(list(fitted_blocks), format="csr")
    rows = tokens.shape[0]
    rows_with_token = np.bincount(tokens.indices, minlength=size)
    inverse_frequency = np.log((1 + rows) / (1 + rows_with_token)) + 1
    inverse_frequency = np.rint(inverse_frequency / GRID) * GRID
    inverse_frequency[0] = 0  # no token
    matrix = tfidf(tokens, inverse_frequency)
    left_out = np.arange(-1, folds.max(initial=0) + 1)  # no fold, then each of them
    learns = (folds[:rows, None] != left_out).astype(np.float64)
    weights = [fit_ridge(matrix, output, learns) for output in y[:rows].T]
    return TextEncoder(model, inverse_frequency, np.stack(weights).astype(np.float32))


def token_matrix(model: keras.Model, texts: np.ndarray, size: int) -> sparse.csr_array:
    """Build a matrix with a 1 for each token of each text, shape (rows, size)."""
    ids = np.asarray(model(ops.convert_to_tensor(texts[:, None])))
    is_token = ids > 0
    columns = ids[is_token]
    ends = np.concatenate([[0], np.cumsum(is_token.sum(axis=1))])
    return sparse.csr_array(
        (np.ones(len(columns)), columns, ends),
        shape=(len(texts), size),
    )


def tfidf(tokens: sparse.csr_array, inverse_frequency: np.ndarray) -> sparse.csr_array:
    """Compute the TF-IDF features of a `token_matrix`, each row scaled to length 1."""
    data = inverse_frequency[tokens.indices]
    squares = sparse.csr_array(
        (data**2, tokens.indices, tokens.indptr),
        shape=tokens.shape,
    )
    lengths = np.sqrt(np.maximum(squares.sum(axis=1), GRID))
    data = round_to_float32(data / np.repeat(lengths, np.diff(tokens.indptr)))
    return sparse.csr_array((data, tokens.indices, tokens.indptr), shape=tokens.shape)


def fit_ridge(
    matrix: sparse.csr_array,
    y: np.ndarray,
    learns: np.ndarray,
) -> np.ndarray:
    """Fit several ridge regressions at once, by conjugate gradients.

    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems"
    (1952). No product here comes from a library for dense matrices, whose bits depend
    on the CPU. The operands of all products are rounded to float32, so that a product
    is exact in float64.

    Args:
        matrix: Features of each row, shape (rows, columns).
        y: Target of each row, shape (rows,).
        learns: 1 where a regression learns from a row, else 0: float64, shape (rows,
            regressions).

    Returns:
        The weights: float64, shape (columns, regressions). A regression predicts the
        difference from the mean target of the rows that it learns from, in standard
        deviations of these targets.
    """
    count = np.maximum(learns.sum(axis=0), 1)
    difference = learns * (y[:, None] - (learns * y[:, None]).sum(axis=0) / count)
    deviation = np.sqrt((difference**2).sum(axis=0) / count)
    transposed = matrix.T.tocsr()
    residual = transposed @ round_to_float32(
        difference / np.where(deviation > 0, deviation, 1),
    )
    weights = np.zeros_like(residual)
    direction = round_to_float32(residual)
    squares = (residual**2).sum(axis=0)
    for _ in range(GRADIENT_STEPS):
        fitted = round_to_float32(learns * (matrix @ direction))
        product = transposed @ fitted + L2_PENALTY * direction
        curvature = (direction * product).sum(axis=0)
        step = squares / np.where(curvature > 0, curvature, 1)
        weights = weights + step * direction
        residual = residual - step * product
        previous = squares
        squares = (residual**2).sum(axis=0)
        growth = squares / np.where(previous > 0, previous, 1)
        direction = round_to_float32(residual + direction * growth)
    return weights


def round_to_float32(values: np.ndarray) -> np.ndarray:
    """Round float64 values to float32, and return them as float64."""
    return values.astype(np.float32).astype(np.float64)
