"""What a model says of new rows as columns of a table, and the rows that are set aside."""

import numpy as np
import pyarrow as pa

from stages.lib.new_rows import Failure
from stages.lib.params import Data
from stages.lib.stage import UserError
from stages.lib.table import ARROW_TYPES
from stages.lib.words import FINITE

REJECTED = ("rejected_line", "rejected_reason")


def answer_columns(outputs: np.ndarray, data: Data, threshold: float) -> dict[str, pa.Array]:
    """`predicted`, and `probability_` and its class for each output that is a probability.

    Args:
        outputs: the model's, float32, shape (rows, outputs).
        threshold: of a binary task; a probability from here on means the positive class.
    """
    if data.task == "regression":
        return {"predicted": pa.array(outputs[:, 0])}
    classes = pa.array(data.classes, ARROW_TYPES[data.columns[data.target].kind])
    words = classes.cast(pa.string()).to_pylist()[-outputs.shape[1] :]  # binary: the positive one
    places = outputs[:, 0] >= threshold if data.task == "binary" else outputs.argmax(axis=1)
    return {
        "predicted": classes.take(pa.array(places.astype(np.int64))),
        **{f"probability_{word}": pa.array(outputs[:, i]) for i, word in enumerate(words)},
    }


def output_schema(data: Data, identifiers: list[str], numbered: bool) -> pa.Schema:
    """The columns of the output: `row` where `numbered`, the identifiers, the answer.

    Raises:
        UserError: an identifier has the name of another column.
    """
    nothing = np.empty((0, len(data.classes) if data.task == "multiclass" else 1), np.float32)
    answer = {name: a.type for name, a in answer_columns(nothing, data, 0.5).items()}
    first = {"row": pa.int64()} if numbered else {}
    for name in identifiers:
        if name in first | answer:
            raise UserError(
                f"data.ignore: found {name!r}, which is the name of a column of the output too; "
                "rename it here and in the file, or leave it out of the file"
            )
    return pa.schema(first | dict.fromkeys(identifiers, pa.string()) | answer)


def without_number(outputs: np.ndarray, failures: list[Failure]) -> list[Failure]:
    """The rows for which the model gives no finite number and that have no other failure."""
    failed = {failure.row for failure in failures}
    rows = np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist()
    return [Failure(r, "predicted", "finite", "no number", FINITE) for r in rows if r not in failed]


def set_aside(texts: pa.Table, failures: list[Failure], places: dict[int, str]) -> pa.Table:
    """The rows of `places`, with `rejected_line` and `rejected_reason`."""
    reasons: dict[int, list[str]] = {row: [] for row in places}
    for failure in failures:
        reasons[failure.row].append(
            f"{failure.column}: found {failure.found!r}; expected {failure.expected}"
        )
    added = [list(places.values()), ["; ".join(reason) for reason in reasons.values()]]
    columns = texts.take(pa.array(places)).columns
    return pa.table([*columns, *map(pa.array, added)], [*texts.column_names, *REJECTED])
