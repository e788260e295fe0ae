"""The Python API: predict data frames, and infer the schema of a table.

`keras_tabular` offers the names of this module, and imports it when one of them is
used.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Columns, Schema
from keras_tabular.core import VERSION
from keras_tabular.core.errors import UserError, quote
from keras_tabular.core.typed_yaml import parse_section, parse_yaml
from keras_tabular.model.files import scratch_folder
from keras_tabular.model.predict import Predictor, load_predictor, predict_file
from keras_tabular.schema_inference.schema import propose_schema as infer_schema_of_file
from keras_tabular.table.cells import TEXT_TYPES, as_texts, possible_kinds
from keras_tabular.table.source import check_columns

__all__ = ["Model", "UserError", "__version__", "infer_schema", "load_model"]

__version__ = VERSION
FRAME = "data frame"  # its name in messages
CONVERSION_ERRORS = (pa.ArrowException, TypeError, ValueError, OverflowError)


@dataclass(frozen=True)
class Model:
    """A trained model with the schema of its table, as `load_model` returns it."""

    _predictor: Predictor

    @property
    def schema(self) -> Schema:
        """The columns that the model reads, their kinds and their checks."""
        return self._predictor.schema

    def predict(
        self,
        frame: pd.DataFrame,
        *,
        ignore_extra: bool = False,
    ) -> pd.DataFrame:
        """Check and predict rows.

        Unknown categories, and failed checks whose policy is `warn`, are Python
        warnings.

        Args:
            frame: The rows, with all columns that the model reads. The target and the
                columns in `ignore` of the schema are optional.
            ignore_extra: Whether to leave out other columns, which are otherwise an
                error.

        Returns:
            The columns that the command `predict` writes, with the index of `frame`:
            the columns in `ignore`, `predicted`, and the probabilities of classes or
            the interval of a value.

        Raises:
            UserError: The columns are not those of the schema, or a row fails a check.

        Examples:
            >>> import keras_tabular
            >>> import pandas
            >>> model = keras_tabular.load_model("models/model.keras")
            >>> rows = pandas.read_csv("data/raw/diabetes.csv").head(3)
            >>> model.predict(rows).round(2)
               predicted  probability_1
            0          1           0.78
            1          0           0.02
            2          1           0.91
        """
        return self._predict(frame, 0, ignore_extra)

    def explain(
        self,
        frame: pd.DataFrame,
        columns: int = 3,
        *,
        ignore_extra: bool = False,
    ) -> pd.DataFrame:
        """Predict rows, and name the columns that moved each prediction most.

        Args:
            frame: The rows, as for `predict`.
            columns: Number of columns to name for each row; at least 1.
            ignore_extra: Whether to leave out other columns, which are otherwise an
                error.

        Returns:
            The columns of `predict`, then `reason_1`, the name of the column that moved
            the prediction most, `reason_1_effect`, by how much it moved it, and so on.

        Raises:
            UserError: The columns are not those of the schema, a row fails a check, or
                the model's file has no summary of the training rows.

        Examples:
            >>> import keras_tabular
            >>> import pandas
            >>> model = keras_tabular.load_model("models/model.keras")
            >>> rows = pandas.read_csv("data/raw/diabetes.csv").head(3)
            >>> list(model.explain(rows, columns=1))
            ['predicted', 'probability_1', 'reason_1', 'reason_1_effect']
        """
        return self._predict(frame, columns, ignore_extra)

    def _predict(
        self,
        frame: pd.DataFrame,
        n_reasons: int,
        ignore_extra: bool,
    ) -> pd.DataFrame:
        tables: list[pa.Table] = []
        with frame_as_file(frame, self.schema.features) as file:
            names = check_columns(
                file,
                self.schema,
                self.schema.features,
                allow_others=ignore_extra,
            )
            columns = self._predictor.output_schema(names, n_reasons)
            counts = predict_file(
                file,
                names,
                self._predictor,
                columns,
                tables.append,
                display_name=FRAME,
                n_reasons=n_reasons,
            )
        for message in counts.warnings():
            warnings.warn(message, stacklevel=3)
        predictions = pa.concat_tables([columns.empty_table(), *tables]).to_pandas()
        return predictions.set_axis(frame.index)


def load_model(path: str | Path) -> Model:
    """Load a model that the pipeline has trained.

    The model's file contains everything that predictions need. `data/schema.yaml` and
    `params.yaml` are not read. TensorFlow is imported and set up so that results
    repeat: on the CPU, with fixed settings. If other code has used it before, and the
    last digits may differ for that reason, there is a Python warning.

    Args:
        path: The `.keras` file.

    Returns:
        The model, with the methods `predict` and `explain`, and its `schema`.

    Raises:
        UserError: The file does not exist or is not a model of this library.

    Examples:
        >>> import keras_tabular
        >>> model = keras_tabular.load_model("models/model.keras")
        >>> list(model.schema.features)[:3]
        ['Pregnancies', 'Glucose', 'BloodPressure']
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file. Run `dvc repro` to train a model.")
    return Model(load_predictor(path, path.read_bytes()))


def infer_schema(
    table: pd.DataFrame | str | Path,
    target: str,
    max_rows: int = 200_000,
) -> Schema:
    """Infer the schema of a table: the kinds of its columns, the task and the classes.

    The command `infer-schema` writes the same schema with comments and questions. Read
    these before you train a model.

    Args:
        table: A data frame, or the path of a file or folder.
        target: The column to predict.
        max_rows: Number of rows to look at.

    Returns:
        The schema. Its fields are the keys of `data/schema.yaml`.

    Raises:
        UserError: The table cannot be read, or `target` is not a column that can be
            predicted.

    Examples:
        >>> import keras_tabular
        >>> schema = keras_tabular.infer_schema("data/raw/diabetes.csv", "Outcome")
        >>> schema.task, schema.classes
        ('binary', (0, 1))
        >>> schema.columns["BMI"].kind
        'real'
    """
    if not isinstance(table, str | Path):
        with frame_as_file(table, {}) as file:
            schema = infer_schema(file, target, max_rows)
        return schema.model_copy(update={"source": FRAME})
    path = Path(table)
    if not path.exists():
        raise UserError(
            f"{table}: no such file. Expected a table, or a folder of tables.",
        )
    inferred = infer_schema_of_file(path, target, max_rows)
    return parse_section(parse_yaml(inferred.text), Schema, path)


@contextmanager
def frame_as_file(frame: pd.DataFrame, columns: Columns) -> Iterator[Path]:
    """Yield a temporary Parquet file with the columns of a data frame.

    Args:
        columns: The columns whose kind is known, which need one value in each cell.

    Raises:
        UserError: This is not a data frame, or a cell is not one value. An error that
            is raised in the block names the data frame instead of the file.
    """
    if not isinstance(frame, pd.DataFrame):
        raise UserError(
            f"expected a pandas DataFrame, got {type(frame).__name__}. Use"
            " pandas.DataFrame([row]) for a row, or a list of rows.",
        )
    pa.table({}).to_pandas()  # makes Arrow look for pandas again, see `hide_pandas`
    names = [str(name) for name in frame.columns]
    arrays = [
        _to_arrow(frame.iloc[:, position], name, columns)
        for position, name in enumerate(names)
    ]
    with scratch_folder() as folder:
        file = Path(folder, "frame.parquet")
        pq.write_table(pa.table(arrays, names), file)
        try:
            yield file
        except UserError as error:
            raise UserError(str(error).replace(str(file), FRAME)) from None


def _to_arrow(
    cells: pd.Series,
    name: str,
    columns: Columns,
) -> pa.Array | pa.ChunkedArray:
    """Convert a column of a data frame.

    If its cells have several types, they become the texts that a CSV has.
    """
    column = columns.get(name)
    with suppress(*CONVERSION_ERRORS):
        values = pa.array(cells, from_pandas=True)
        if column is None or possible_kinds(values.type):
            return values
    kind = column.kind if column else None
    texts = []
    for row, cell in enumerate(cells):
        try:
            value = pa.array([cell], from_pandas=True)
            text = as_texts(value, kind)[0].as_py()
        except CONVERSION_ERRORS:
            raise UserError(
                f"{FRAME}, row {row}, column {name}: expected a number of at most 64"
                " bits, a date, true, false or text in UTF-8, got"
                f" {quote(str(cell))}",
            ) from None
        if column and value.type not in TEXT_TYPES:
            text = text.replace(".", column.decimal_point)
        texts.append(text)
    return pa.array(texts, "string")
