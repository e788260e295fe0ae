"""Texts encoded by predictions of the target: ridge regression of TF-IDF features.

A text is the set of its words and of its character n-grams, weighted by TF-IDF (Salton
and Buckley, "Term-weighting approaches in automatic text retrieval", 1988). Ridge
regressions on these weights predict the target. One is fitted to all training rows and
encodes new rows. A training row is encoded by a regression that was fitted without the
row's fold, so its own target takes no part in its encoding.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from keras_tabular.network.backend import KerasTensor, keras

ops = keras.ops
Item = TypeVar("Item")

# Number of characters of an n-gram.
NGRAM_LENGTH = 5
# Characters of a word on average, with the space between two words.
MAX_WORD_LENGTH = 8
# Shorter texts are read as if they had as many n-grams as this.
MIN_LENGTH = 16
# Of the texts in which words are counted, which are in memory.
MAX_CHARACTERS_COUNTED = 5_000_000
# Of the texts to which regressions are fitted; their matrix is in memory.
MAX_TOKENS_TO_FIT = 20_000_000
# Of the ridge regressions; more steps change hardly anything.
L2_PENALTY = 1.0
GRADIENT_STEPS = 20
# Sums of its multiples up to 2⁴¹ are exact in float64, in any order.
GRID = 2.0**-12
# Number of rows whose tokens are found at a time.
BATCH_ROWS = 1_024


class Vocabulary(NamedTuple):
    """The most frequent words and character n-grams of a text column.

    Attributes:
        words: The words, with the tokens from 1 on.
        ngrams: The n-grams, with the tokens that follow.
        length: Number of n-grams of a text that are read, and twice the number of
            words.
    """

    words: list[str]
    ngrams: list[str]
    length: int

    def token_model(self) -> keras.Model:
        """Build the model from texts, shape (rows, 1), to their distinct tokens.

        Its output is int, shape (rows, n). A 0 is no token.
        """
        text = keras.Input((1,), dtype="string")
        find_words = vectorizer(
            "words",
            vocabulary=self.words,
            output_sequence_length=self.length // 2,
        )
        find_ngrams = vectorizer(
            "ngrams",
            vocabulary=self.ngrams,
            output_sequence_length=self.length,
        )
        # Keras returns 0 after the end of the text, and 1 for what is not in the
        # vocabulary. Both become a 0 here.
        word_tokens = find_words(text) - 1  # (rows, length // 2)
        ngram_numbers = find_ngrams(text) - 1  # (rows, length)
        ngram_tokens = ops.where(
            ngram_numbers > 0,
            ngram_numbers + len(self.words),
            0,
        )
        tokens = ops.concatenate([word_tokens, ngram_tokens], axis=1)
        tokens = ops.sort(ops.maximum(tokens, 0), axis=1)
        # Equal tokens are neighbours now. The first of them stays.
        one_more_first = [[0, 0], [1, 0]]
        previous = ops.pad(tokens[:, :-1], one_more_first)
        is_repeated = ops.equal(tokens, previous)
        return keras.Model(text, ops.where(is_repeated, 0, tokens))


def fit_vocabulary(
    parts: Iterable[np.ndarray],
    max_tokens: int,
    length: int,
) -> Vocabulary:
    """Find the most frequent words and n-grams in the first texts.

    These have `MAX_CHARACTERS_COUNTED` characters together.

    Args:
        parts: Texts of each part, shape (rows,).
        max_tokens: Largest number of words, and of n-grams, in the vocabulary.
        length: Largest number of n-grams of a text to read.
    """
    all_texts = chain.from_iterable(parts)
    texts = list(first_items(all_texts, len, MAX_CHARACTERS_COUNTED))
    column = np.array(texts, object)[:, None]
    tensor = ops.convert_to_tensor(column)
    longest = max(map(len, texts))
    # The length becomes a power of two.
    power = math.ceil(math.log2(max(longest, MIN_LENGTH)))
    return Vocabulary(
        words=most_frequent_tokens("words", tensor, max_tokens),
        ngrams=most_frequent_tokens("ngrams", tensor, max_tokens),
        length=min(2**power, length),
    )


def most_frequent_tokens(
    kind: str,
    texts: Any,
    max_tokens: int,
) -> list[str]:
    """Return the most frequent "words" or "ngrams" of texts, shape (rows, 1)."""
    # Keras counts two more: no token, and the unknown one.
    layer = vectorizer(kind, max_tokens=max_tokens + 2)
    layer.adapt(texts)
    # Keras does not take an empty vocabulary. A space is neither a word nor an n-gram.
    return layer.get_vocabulary(include_special_tokens=False) or [" "]


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


def vectorizer(kind: str, **options: Any) -> keras.layers.TextVectorization:
    """Build the layer for "words", without punctuation, or for "ngrams", with it."""
    if kind == "ngrams":
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
            n_characters = MAX_WORD_LENGTH * length // 2
            texts = pc.utf8_slice_codeunits(part[name], 0, n_characters)
            yield pc.fill_null(texts, "").to_numpy()


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

    def predict(
        self,
        texts: np.ndarray,
        folds: np.ndarray | None = None,
    ) -> np.ndarray:
        """Predict the target from texts: float32, shape (rows, outputs).

        Args:
            texts: Texts, shape (rows,).
            folds: Fold of each training row, whose text is predicted without that fold;
                None for new rows.
        """
        # The regression that predicts a row; the first one was fitted to all rows.
        regression = np.zeros(len(texts), int)
        if folds is not None:
            regression = folds + 1
        n_outputs, n_tokens, _ = self.weights.shape
        predictions = np.empty((len(texts), n_outputs), np.float32)
        for start in range(0, len(texts), BATCH_ROWS):
            rows = slice(start, start + BATCH_ROWS)
            tokens = token_matrix(self.model, texts[rows], n_tokens)
            matrix = tfidf(tokens, self.inverse_frequency)  # (batch, tokens)
            for output, weights in enumerate(self.weights):
                by_regression = matrix @ weights  # (batch, 1 + folds)
                row_numbers = np.arange(len(by_regression))
                chosen = by_regression[row_numbers, regression[rows]]
                predictions[rows, output] = chosen
        return predictions

    def build_layers(self, text: KerasTensor) -> KerasTensor:
        """Build the layers that predict new texts, (rows, 1): float32, (rows, outputs).

        A token adds its weight times its inverse frequency to each output. The sum is
        divided by the length of the vector of inverse frequencies.
        """
        weights = self.weights[:, :, 0].T  # (tokens, outputs), for all rows
        weighted = self.inverse_frequency[:, None] * weights
        squares = self.inverse_frequency**2  # (tokens,)
        table = np.column_stack([weighted, squares])  # (tokens, outputs + 1)
        table = round_to_grid(table).astype(np.float32)
        embedding = keras.layers.Embedding(*table.shape, weights=[table])
        tokens = self.model(text)  # (rows, tokens of a text)
        terms = ops.cast(embedding(tokens), "float64")
        sums = ops.sum(terms, axis=1)  # (rows, outputs + 1)
        squared_length = ops.maximum(sums[:, -1:], GRID)  # (rows, 1)
        length = ops.sqrt(squared_length)
        return ops.cast(sums[:, :-1] / length, "float32")


def fit_encoder(
    vocabulary: Vocabulary,
    parts: Iterable[np.ndarray],
    y: np.ndarray,
    folds: np.ndarray,
) -> TextEncoder:
    """Fit regressions to the texts of the first training rows.

    These have `MAX_TOKENS_TO_FIT` tokens together.

    Args:
        vocabulary: Words and n-grams of the column.
        parts: Texts of each part, shape (rows,).
        y: What each output should be, see `Task.indicators`: float64, shape (rows,
            outputs).
        folds: Fold of each row.
    """
    model = vocabulary.token_model()
    size = 1 + len(vocabulary.words) + len(vocabulary.ngrams)  # where 0 means no token
    blocks = (
        token_matrix(model, texts[start : start + BATCH_ROWS], size)
        for texts in parts
        for start in range(0, len(texts), BATCH_ROWS)
    )
    fitted_blocks = first_items(blocks, lambda block: block.nnz, MAX_TOKENS_TO_FIT)
    tokens = sparse.vstack(list(fitted_blocks), format="csr")
    n_rows = tokens.shape[0]
    rows_with_token = np.bincount(tokens.indices, minlength=size)
    ratio = (1 + n_rows) / (1 + rows_with_token)
    inverse_frequency = round_to_grid(np.log(ratio) + 1)
    inverse_frequency[0] = 0  # no token
    matrix = tfidf(tokens, inverse_frequency)
    n_folds = folds.max(initial=0) + 1
    left_out = np.arange(-1, n_folds)  # no fold is -1
    learns = folds[:n_rows, None] != left_out  # (rows, 1 + folds)
    learns = learns.astype(np.float64)
    weights = [fit_ridge(matrix, target, learns) for target in y[:n_rows].T]
    stacked = np.stack(weights).astype(np.float32)  # (outputs, tokens, 1 + folds)
    return TextEncoder(model, inverse_frequency, stacked)


def token_matrix(
    model: keras.Model,
    texts: np.ndarray,
    size: int,
) -> sparse.csr_array:
    """Build a matrix with a 1 for each token of each text, shape (rows, size)."""
    tensor = ops.convert_to_tensor(texts[:, None])
    tokens = np.asarray(model(tensor))
    is_token = tokens > 0  # (rows, n)
    columns = tokens[is_token]
    tokens_of_row = is_token.sum(axis=1)  # (rows,)
    # Where the tokens of each row begin in `columns`, and where the last ones end.
    starts = np.cumsum([0, *tokens_of_row])
    return sparse.csr_array(
        (np.ones(len(columns)), columns, starts),
        shape=(len(texts), size),
    )


def tfidf(
    tokens: sparse.csr_array,
    inverse_frequency: np.ndarray,
) -> sparse.csr_array:
    """Compute the TF-IDF features of a `token_matrix`, each row scaled to length 1.

    Example:
        >>> tokens = sparse.csr_array([[1.0, 0.0, 1.0]])
        >>> tfidf(tokens, np.array([3.0, 2.0, 4.0])).toarray().round(3).tolist()
        [[0.6, 0.0, 0.8]]
    """
    weights = inverse_frequency[tokens.indices]  # of each token of each row
    squares = replace_values(tokens, weights**2)
    squared_lengths = np.maximum(squares.sum(axis=1), GRID)  # (rows,)
    lengths = np.sqrt(squared_lengths)
    tokens_of_row = np.diff(tokens.indptr)
    scaled = weights / np.repeat(lengths, tokens_of_row)
    return replace_values(tokens, round_to_float32(scaled))


def replace_values(
    matrix: sparse.csr_array,
    values: np.ndarray,
) -> sparse.csr_array:
    """Return a matrix with the same places and other values."""
    return sparse.csr_array(
        (values, matrix.indices, matrix.indptr),
        shape=matrix.shape,
    )


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
    standardised = standardise(y, learns)  # (rows, regressions)
    transposed = matrix.T.tocsr()
    residual = transposed @ round_to_float32(standardised)  # (columns, regressions)
    weights = np.zeros_like(residual)
    direction = round_to_float32(residual)
    squares = (residual**2).sum(axis=0)  # (regressions,)
    for _ in range(GRADIENT_STEPS):
        fitted = round_to_float32(learns * (matrix @ direction))
        product = transposed @ fitted + L2_PENALTY * direction
        curvature = (direction * product).sum(axis=0)
        step = squares / replace_zeros(curvature)
        weights = weights + step * direction
        residual = residual - step * product
        previous = squares
        squares = (residual**2).sum(axis=0)
        growth = squares / replace_zeros(previous)
        direction = round_to_float32(residual + direction * growth)
    return weights


def standardise(y: np.ndarray, learns: np.ndarray) -> np.ndarray:
    """Standardise the target of the rows that each regression learns from; 0 elsewhere.

    Args:
        y: Target of each row, shape (rows,).
        learns: 1 where a regression learns from a row, else 0, shape (rows,
            regressions).

    Returns:
        Float64, shape (rows, regressions).

    Example:
        >>> learns = np.array([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        >>> standardise(np.array([1.0, 3.0, 2.0]), learns).round(2).tolist()
        [[-1.22, -1.0], [1.22, 1.0], [0.0, 0.0]]
    """
    n_rows = np.maximum(learns.sum(axis=0), 1)  # (regressions,)
    y = y[:, None]
    mean = (learns * y).sum(axis=0) / n_rows
    difference = learns * (y - mean)  # (rows, regressions)
    variance = (difference**2).sum(axis=0) / n_rows
    return difference / replace_zeros(np.sqrt(variance))


def replace_zeros(values: np.ndarray) -> np.ndarray:
    """Return the values, with 1 for a 0, so that they can be divisors.

    Example:
        >>> replace_zeros(np.array([0.0, 2.0])).tolist()
        [1.0, 2.0]
    """
    return np.where(values > 0, values, 1)


def round_to_grid(values: np.ndarray) -> np.ndarray:
    """Round values to multiples of `GRID`."""
    return np.rint(values / GRID) * GRID


def round_to_float32(values: np.ndarray) -> np.ndarray:
    """Round float64 values to float32, and return them as float64."""
    return values.astype(np.float32).astype(np.float64)
