"""Texts encoded by out-of-fold predictions of the target: ridge regression of TF-IDF features.

A text is the set of its words and of its character n-grams. Each of them is hashed into one of a
fixed number of buckets and weighted by TF-IDF (Salton and Buckley, "Term-weighting approaches in
automatic text retrieval", 1988). Ridge regressions on these weights predict the target. One is
fitted to all training rows and encodes new rows. A training row is encoded by a regression that was
fitted without the row's fold, so its own target takes no part in its encoding.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from tabular.model.backend import keras

ops = keras.ops
MAX_WORD_LENGTH, NGRAM_LENGTH = 16, 5  # the last letters of a word that count; characters in a row
MAX_CHARACTERS = 5_000  # different ones; others are one
SEPARATOR = ord(" ")  # what every character but letters and digits becomes
PRIME = 2**31 - 1  # products of two remainders fit 64 bits
FACTORS = (1_000_003, 69_069_069)  # of the hashes of words and of runs
RIDGE, STEPS = 1.0, 20  # the penalty, and steps of conjugate gradients, which hardly change later
MAX_TOKENS = 20_000_000  # to learn from: bounded memory and time
GRID = 2.0**-12  # sums of its multiples up to 2⁴¹ are exact in float64, in any order
ROWS = 1_024  # at a time


def most_frequent(counts: Counter[str], most: int) -> list[str]:
    """Return the most frequent characters or categories in alphabetical order, at most so many."""
    by_frequency = sorted(counts, key=lambda value: (-counts[value], value))
    return sorted(by_frequency[:most])


def tokens(text: keras.KerasTensor, alphabet: list[str], length: int, buckets: int) -> Any:
    """Hash the words and character n-grams of texts: int32, (rows, n), each once, padded with 0.

    Args:
        text: shape (rows, 1).
        alphabet: the characters that are told apart, see `most_frequent`.
        length: so many characters of a text are read.
    """
    characters = keras.layers.TextVectorization(
        standardize="lower",
        split="character",
        output_mode="int",
        output_sequence_length=length,
        vocabulary=alphabet,
    )(text)
    lower = [character.lower()[:1] for character in alphabet]
    codes = [ord(character) if character.isalnum() else SEPARATOR for character in lower]
    symbols = ops.take(np.array([0, 2**21, *codes]), characters)  # a gap, an unknown character
    of_both = [_words(symbols, buckets), _char_ngrams(symbols, buckets)]
    ordered = ops.sort(ops.concatenate(of_both, axis=1), axis=1)
    return ops.where(ops.equal(ordered, _before(ordered, 1)), 0, ordered)


def _before(values: Any, places: int) -> Any:
    """What stands so many places before; 0 at the start."""
    return ops.pad(values[:, :-places], [[0, 0], [places, 0]])


def _bucket(hashes: Any, factor: int, buckets: int) -> Any:
    """Return the bucket of each hash, from 1."""
    return ops.cast(1 + hashes * factor % PRIME % (buckets - 1), "int32")


def _words(symbols: Any, buckets: int) -> Any:
    """The bucket of each word where it ends, else 0.

    The hash of a place is its symbol and a factor times the hash before it, which is 0 between
    words: a linear recurrence, in steps that double.
    """
    letters = ops.greater(symbols, SEPARATOR)
    hashes = ops.where(letters, symbols, 0)
    factors = ops.where(letters, FACTORS[0], 0)
    step = 1
    while step < MAX_WORD_LENGTH:
        hashes = (hashes + factors * _before(hashes, step)) % PRIME
        factors = factors * _before(factors, step) % PRIME
        step *= 2
    following = ops.pad(letters[:, 1:], [[0, 0], [0, 1]])
    ends = ops.logical_and(letters, ops.logical_not(following))
    return ops.where(ends, _bucket(hashes, FACTORS[0], buckets), 0)


def _char_ngrams(symbols: Any, buckets: int) -> Any:
    """The bucket of each run of `NGRAM_LENGTH` characters where it ends, else 0."""
    hashes = symbols
    for places in range(1, NGRAM_LENGTH):
        hashes = (hashes * FACTORS[1] + _before(symbols, places)) % PRIME
    within = ops.logical_and(symbols > 0, _before(symbols, NGRAM_LENGTH - 1) > 0)
    return ops.where(within, _bucket(hashes, FACTORS[1], buckets), 0)


class TextEncoder(NamedTuple):
    """Ridge regressions of the target on the tokens of a text column.

    Attributes:
        model: From texts, (rows, 1), to their `tokens`.
        inverse: Inverse document frequency of each bucket, a multiple of `GRID`, (buckets,).
        weights: Weights of the regression on all training rows, then of one without each fold:
            float32, (outputs, buckets, 1 + folds).
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

    def predict_tokens(self, ids: keras.KerasTensor) -> keras.KerasTensor:
        """Build the layers that predict new texts from their `tokens`: float32, (rows, outputs)."""
        weighted = self.inverse[:, None] * self.weights[:, :, 0].T
        table = np.column_stack([weighted, self.inverse**2])
        table = (np.rint(table / GRID) * GRID).astype(np.float32)
        tokens = keras.layers.Embedding(*table.shape, weights=[table])(ids)
        sums = ops.sum(ops.cast(tokens, "float64"), axis=1)
        length = ops.sqrt(ops.maximum(sums[:, -1:], GRID))
        return ops.cast(sums[:, :-1] / length, "float32")


def token_sets(model: keras.Model, texts: np.ndarray, buckets: int) -> sparse.csr_array:
    """Find the tokens of texts of shape (rows,): 1 in their columns, (rows, buckets)."""
    ids = np.asarray(model(ops.convert_to_tensor(texts[:, None])))
    is_token = ids > 0
    columns = ids[is_token]
    ends = np.concatenate([[0], np.cumsum(is_token.sum(axis=1))])
    return sparse.csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), buckets))


def fit(
    model: keras.Model,
    parts: Iterable[np.ndarray],
    y: np.ndarray,
    folds: np.ndarray,
    buckets: int,
) -> TextEncoder:
    """Fit linear models to the texts of the training rows, or to the first of many rows.

    Args:
        model: From texts, (rows, 1), to their `tokens`.
        parts: Texts of each part, (rows,).
        y: Targets, float64, (rows, outputs), see `regression_targets`.
        folds: Fold of each row.
    """
    blocks: list[sparse.csr_array] = []
    count = 0
    batches = (
        texts[start : start + ROWS] for texts in parts for start in range(0, len(texts), ROWS)
    )
    for texts in batches:
        blocks.append(token_sets(model, texts, buckets))
        count += blocks[-1].nnz
        if count >= MAX_TOKENS:
            break
    sets = sparse.vstack(blocks, format="csr")
    rows = sets.shape[0]
    with_token = np.bincount(sets.indices, minlength=buckets)
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
    """The weights of several ridge regressions at once, by conjugate gradients.

    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems" (1952). No
    product here is one of a library for dense matrices, whose bits depend on the CPU, and all of
    matrices are of `singles`.

    Args:
        y: shape (rows,).
        learns: 1 where a regression learns from a row, else 0, float64, (rows, regressions).

    Returns:
        Float64, (columns, regressions), for the difference from the mean of the rows that each one
        learns from, in their standard deviations.
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
    """Rounded to float32, as float64, whose products are exact: ARM64 rounds only what they add."""
    return values.astype(np.float32).astype(np.float64)


def tfidf(sets: sparse.csr_array, inverse: np.ndarray) -> sparse.csr_array:
    """TF-IDF of sets of tokens, each row of length 1."""
    data = inverse[sets.indices]
    squares = sparse.csr_array((data**2, sets.indices, sets.indptr), shape=sets.shape).sum(axis=1)
    lengths = np.sqrt(np.maximum(squares, GRID))
    data = singles(data / np.repeat(lengths, np.diff(sets.indptr)))
    return sparse.csr_array((data, sets.indices, sets.indptr), shape=sets.shape)
