"""Texts encoded by out-of-fold predictions of the target: ridge regression of TF-IDF features.

A text is the set of its words and of its character n-grams, each hashed into one of a fixed number
of buckets; their weights are those of TF-IDF (Salton and Buckley, "Term-weighting approaches
in automatic text retrieval", 1988); the linear model is ridge regression, which is fitted without a
fold for each fold and without two for each pair of folds, so that a training row gets what the
folds that are neither its own nor left out say.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
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
    """The buckets of the words and runs of a text: int32, (rows, n), each once, 0 where none is.

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


class Encoder(NamedTuple):
    """The tokens of one text column, and what the linear models say of each bucket.

    `model` from texts (rows, 1) to `tokens`; `inverse` the inverse document frequencies
    (buckets,), on the `GRID`; `fits` the sets of folds that the linear models did not learn from;
    `weights` (outputs, buckets, fits).
    """

    model: keras.Model
    inverse: np.ndarray
    fits: list[frozenset[int]]
    weights: np.ndarray

    def table(self, folds: Sequence[int | None]) -> np.ndarray:
        """What rows that no linear model learnt from need: float32, (buckets, folds * outputs + 1).

        For each fold that is left out and each output the frequency times the weight; then the
        square of the frequency.
        """
        fits = [self.fits.index(frozenset() if f is None else frozenset([f])) for f in folds]
        values = self.inverse[:, None] * self.weights[:, :, fits]  # (outputs, buckets, folds)
        of_folds = values.transpose(1, 2, 0).reshape(len(self.inverse), -1)
        table = np.column_stack([of_folds, self.inverse**2])
        return (np.rint(table / GRID) * GRID).astype(np.float32)

    def values(self, texts: np.ndarray, folds: np.ndarray | None, all_folds: int) -> np.ndarray:
        """What rows get where each of the folds is left out.

        Args:
            folds: of each row, or its subfold where `all_folds` is 1; None of rows that are none of
                the training rows.

        Returns:
            Float32, (rows, all_folds, outputs).
        """
        places = {fit: place for place, fit in enumerate(self.fits)}
        left_out = [{fold} for fold in range(all_folds)] if all_folds > 1 else [set[int]()]
        owners = [set[int]()] if folds is None else [{n} for n in range(max(folds, default=0) + 1)]
        chosen = np.array([[places[frozenset(a | b)] for b in left_out] for a in owners])
        of_rows = np.zeros(len(texts), int) if folds is None else folds
        values = np.empty((len(texts), len(left_out), len(self.weights)), np.float32)
        for start in range(0, len(texts), ROWS):
            rows = slice(start, start + ROWS)
            matrix = tfidf(token_sets(self.model, texts[rows], len(self.inverse)), self.inverse)
            fits = chosen[of_rows[rows]]
            for output, weights in enumerate(self.weights):
                values[rows, :, output] = np.take_along_axis(matrix @ weights, fits, axis=1)
        return values


def encoded(ids: keras.KerasTensor, table: np.ndarray) -> keras.KerasTensor:
    """The layers for `Encoder.table`: from `tokens` to float32, (rows, outputs)."""
    rows = keras.layers.Embedding(*table.shape, weights=[table])(ids)
    sums = ops.sum(ops.cast(rows, "float64"), axis=1)
    length = ops.sqrt(ops.maximum(sums[:, -1:], GRID))
    return ops.cast(sums[:, :-1] / length, "float32")


def token_sets(model: keras.Model, texts: np.ndarray, buckets: int) -> sparse.csr_array:
    """The tokens of texts of shape (rows,): 1 in their columns, (rows, buckets)."""
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
    all_folds: int,
    buckets: int,
) -> Encoder:
    """Linear models of the texts of the training rows, of the first of them where they are many.

    Args:
        model: from texts, (rows, 1), to `tokens`.
        parts: the texts, (rows,) each.
        y: what they say something of, float64, (rows, outputs), see `target_statistics.targets`.
        folds: of each row; its subfold where `all_folds` is 1.
    """
    blocks: list[sparse.csr_array] = []
    count = 0
    some = (texts[start : start + ROWS] for texts in parts for start in range(0, len(texts), ROWS))
    for texts in some:
        blocks.append(token_sets(model, texts, buckets))
        count += blocks[-1].nnz
        if count >= MAX_TOKENS:
            break
    sets = sparse.vstack(blocks, format="csr")
    rows = sets.shape[0]
    y, folds = y[:rows], folds[:rows]
    with_token = np.bincount(sets.indices, minlength=buckets)
    inverse = np.rint((np.log((1 + rows) / (1 + with_token)) + 1) / GRID) * GRID
    inverse[0] = 0  # no token
    numbers = range(int(folds.max(initial=0)) + 1)
    fits = [frozenset(), *(frozenset([n]) for n in numbers)]
    if all_folds > 1:
        fits = [*fits[1:], *map(frozenset, combinations(numbers, 2))]
    learns = np.array([[n not in fit for fit in fits] for n in numbers], np.float64)[folds]
    matrix = tfidf(sets, inverse)
    weights = [ridge(matrix, of_output, learns) for of_output in y.T]
    return Encoder(model, inverse, fits, np.stack(weights).astype(np.float32))


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
