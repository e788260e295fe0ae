"""Estimators for scikit-learn: the training of the pipeline, for a data frame."""

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from keras_tabular.api import FRAME, Model, frame_as_file
from keras_tabular.config.params import PARAMS, Params, find_mistakes
from keras_tabular.config.schema import SCHEMA, Schema, load_schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_text
from keras_tabular.core.parallel import call_in_new_process
from keras_tabular.core.typed_yaml import parse_section, read_yaml
from keras_tabular.model.files import scratch_folder
from keras_tabular.model.predict import Predictor, load_predictor
from keras_tabular.schema_inference.columns import infer_columns
from keras_tabular.schema_inference.sample import read_sample
from keras_tabular.schema_inference.schema import ask_questions
from keras_tabular.table.checks import check_of_cell, declared_checks, failed_cells
from keras_tabular.table.parquet import FOLD_KEY, origin_names, write_part
from keras_tabular.table.rows import cell_failures, parse_files, raise_failures

PARAMS_OF_A_PROJECT = Path(__file__).with_name("new_project") / "files/params.yaml"
BUILD_OF_A_PROJECT = "keras_tabular.new_project.files.network:build"
MAX_ROWS_TO_INFER = 200_000
# Kinds of targets by those of NumPy; others are categories.
KINDS_OF_TARGETS = {"b": "boolean", "i": "integer", "u": "integer", "f": "real"}
# With more rows, they are put into a random order: the training computes some
# statistics from the first rows alone.
MAX_ROWS_IN_ORDER = 100_000
MAX_LOADED_MODELS = 4


@lru_cache(MAX_LOADED_MODELS)
def load_once(content: bytes) -> Predictor:
    """Load a model from the content of its file; copies of an estimator share it."""
    return load_predictor(Path("model.keras"), content)


@dataclass(kw_only=True, eq=False, repr=False)
class TabularEstimator(BaseEstimator):
    """What the estimators of classes and of values have in common.

    A model is trained as in the pipeline, and in another process: nothing that this one
    has imported or set changes the model, and the training changes nothing here. The
    same rows, parameters and packages give the same bytes. Predictions are those of the
    model's file.

    Args:
        schema: The schema of the columns, or its file. If None, the kinds of the
            columns are inferred as `infer-schema` does, whose questions become Python
            warnings, and all features may have missing values.
        build: Builds the layers of a network, as `network.py` of a project does.
        verbose: Whether to show the progress.
        seed: This and the following ones are keys of the section `train` of
            params.yaml; None stands for its default.
        networks: Changes to `train.networks`, such as `{"plain": {"units": [32]}}`. The
            parameter `networks__plain__units` sets one of them.

    Attributes:
        n_features_in_: Number of columns of `X` in `fit`.
        feature_names_in_: Names of the columns of `X`, if all are texts.
        schema_: The schema of the training rows.
        oof_predictions_: Predictions for the rows of `X` by networks that have not
            learnt them: probabilities, shape (rows, classes), or values, shape (rows,).
            It is empty without folds.
    """

    schema: Schema | str | Path | None = None
    build: Callable[..., Any] | None = None
    verbose: bool = False
    seed: int | None = None
    imputation: str | None = None
    missing_indicators: bool | None = None
    ignore: Any = None
    max_categories: int | None = None
    max_tokens: int | None = None
    text_length: int | None = None
    normalization: str | None = None
    loss: str | None = None
    exact: bool | None = None
    folds: int | str | None = None
    forward_chaining: int | None = None
    members: Any = None
    networks: Mapping[str, Mapping[str, Any]] | None = None

    def set_params(self, **params: Any) -> Self:
        """Set parameters, also keys of networks such as `networks__plain__units`.

        Raises:
            ValueError: There is no such parameter. Keys of networks are checked by
                `fit`.
        """
        networks = params.pop("networks", self.networks)
        for name in [*params]:
            parameter, *keys = name.split("__")
            if parameter == "networks":
                value = params.pop(name)
                for key in reversed(keys):
                    value = {key: value}
                networks = deepcopy(networks or {})
                update_section(networks, value)
        return super().set_params(networks=networks, **params)

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Train the model.

        Args:
            X: Data frame of pandas or Polars, or array of numbers or texts, shape
                (rows, columns). Columns of a frame may have numbers, booleans, texts,
                categories, dates or times. Values may be missing.
            y: Target, shape (rows,): classes as integers, booleans or texts, or numbers
                for regression. No value may be missing.
            sample_weight: Weight of each row in training, 0 or more, shape (rows,).
            groups: Group of each row, of any type, shape (rows,). All rows of a group
                are in the same fold. The default is what the keys `time` or `group` of
                the schema say.

        Returns:
            The estimator.

        Raises:
            ValueError: The columns are not those of the schema, a cell does not fit its
                column, `y` has a missing value or a single class, or a parameter is
                wrong.
        """
        with scratch_folder() as name:
            folder = Path(name)
            frame = self._to_frame(X, is_fit=True)
            y_name = str(getattr(y, "name", None) or "target")
            y = column_or_1d(y, warn=True)
            if is_classifier(self):
                y = check_classes(y)
            else:
                y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
            check_consistent_length(frame, y, sample_weight, groups)
            frame, schema = self._add_target(frame, y, y_name, sample_weight)
            params = self._parse_params(schema, groups)
            places = write_rows(folder / "train", frame, schema, params, groups)
            oof = call_in_new_process(
                "keras_tabular.runs.repeat:train_and_calibrate",
                folder,
                schema,
                params,
                self.build or BUILD_OF_A_PROJECT,
                self.verbose,
                is_reusable=not self.build,  # whose module may change
            )
            self._content = (folder / "model.keras").read_bytes()
        self.schema_ = schema.without(params.train.ignore)
        self.oof_predictions_ = self._arrange(oof[places[: len(oof)]])
        return self

    def explain(self, X: Any, columns: int = 3) -> pd.DataFrame:
        """Predict rows, and name the columns that moved each prediction most.

        Args:
            X: The rows, as for `predict`.
            columns: Number of columns to name for each row; at least 1.

        Returns:
            The columns `predicted`, the probabilities or the interval, then
            `reason_1`, the name of the column that moved the prediction most,
            `reason_1_effect`, by how much it moved it, and so on. The index is that of
            `X`.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: See `predict`.
        """
        return self._predict(X, columns)

    def save(self, path: str | Path) -> None:
        """Write the model to a `.keras` file, as all commands read it.

        Args:
            path: The file. Its folder is created if there is none.

        Raises:
            NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        with atomic_write(Path(path)) as file:
            file.write_bytes(self._content)

    def write_settings(self, project: str | Path) -> None:
        """Write the schema and the parameters into a project that `new` has created.

        The table of the project has the columns of `X` and the target. Its other
        columns are ignored. The keys `source` and `group` of `data/schema.yaml` and the
        comments in `params.yaml` stay. Copy a `build` of your own into `network.py`.

        Args:
            project: Folder of the project.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: The folder is not that of a project.
        """
        from dvc.utils.serialize import modify_yaml  # takes half a second

        check_is_fitted(self)
        path = Path(project, SCHEMA)
        schema = self.schema_.model_dump(exclude_defaults=True)
        old = read_yaml(path)
        schema["source"] = old["source"]
        columns = schema["columns"]
        if group := old.get("group"):
            schema["group"] = group
            columns.setdefault(group, old["columns"][group])
        unfitted = {*old.get("columns", ()), *old.get("ignore", ())} - columns.keys()
        schema["ignore"] = sorted(unfitted.union(self.schema_.ignore))
        text = yaml.safe_dump(
            schema,
            default_flow_style=None,
            sort_keys=False,
            allow_unicode=True,
        )
        write_text(path, text)
        with modify_yaml(Path(project, PARAMS)) as content:
            self._update_params(content)
            content["train"]["ignore"] = []  # the schema has them

    @property
    def model_(self) -> Any:
        """The model as Keras loads it: a `keras.Model` of the raw columns."""
        check_is_fitted(self)
        return load_once(self._content).model.plain

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "oof_predictions_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        return tags

    def _arrange(self, y_pred: np.ndarray) -> np.ndarray:
        """Turn outputs of the model, shape (rows, outputs), into predictions."""
        task = self.schema_.learning_task
        if not task.classes:
            return y_pred[:, 0].astype(np.float64)
        order = [task.classes.index(label) for label in self.classes_.tolist()]
        probabilities = task.probabilities(y_pred)[:, order]
        # Those of several classes are float32, whose sum is not quite 1.
        return probabilities / probabilities.sum(axis=1, keepdims=True)

    def _to_frame(self, X: Any, *, is_fit: bool = False) -> pd.DataFrame:
        """Check X, and return it as a data frame that has texts as names of columns."""
        if hasattr(X, "to_pandas"):
            X = X.to_pandas()
        is_frame = isinstance(X, pd.DataFrame)
        if is_fit or not is_frame:
            X = validate_data(
                self,
                X,
                reset=is_fit,
                skip_check_array=is_frame,
                dtype=None,
                ensure_all_finite=False,
                ensure_min_samples=2 if is_fit else 1,
            )
        if not is_frame:
            X = pd.DataFrame(X, columns=getattr(self, "feature_names_in_", None))
        return X.set_axis(X.columns.map(str), axis=1)

    def _add_target(
        self,
        frame: pd.DataFrame,
        y: np.ndarray,
        y_name: str,
        sample_weight: Any,
    ) -> tuple[pd.DataFrame, Schema]:
        """Add the target and the weights to the features, and find the schema."""
        schema = self.schema
        if schema is None:
            if y_name in frame:
                raise UserError(
                    f"X has a column {y_name}, which is the name of y. Rename it, or"
                    " leave it out of X.",
                )
            content = infer_features(frame)
            target = {"kind": KINDS_OF_TARGETS.get(y.dtype.kind, "category")}
            content["columns"][y_name] = target
            content |= {"target": y_name, "task": "regression"}
            if is_classifier(self):
                target["values"] = np.unique(y).tolist()
                content["task"] = "multiclass"
                if len(target["values"]) == 2:
                    content |= {"task": "binary", "positive": target["values"][1]}
        else:
            if not isinstance(schema, Schema):
                schema = load_schema(Path(schema))
            content = schema.model_dump()
        added = {content["target"]: y}
        if sample_weight is not None:
            content["weight"] = "sample_weight"
            content["columns"]["sample_weight"] = {"kind": "real"}
            added["sample_weight"] = column_or_1d(sample_weight)
        schema = parse_section(content, Schema, "schema")
        if bool(schema.classes) is not is_classifier(self):
            raise UserError(
                f"schema: {type(self).__name__} is not for the task {schema.task}",
            )
        if schema.classes:
            self.classes_ = np.unique(schema.classes)
        return frame.assign(**added), schema

    def _parse_params(self, schema: Schema, groups: Any) -> Params:
        """Return the sections of params.yaml, with the parameters of this estimator."""
        content = read_yaml(PARAMS_OF_A_PROJECT)
        self._update_params(content)
        is_by_time = schema.time and groups is None
        content["split"]["by"] = "time" if is_by_time else "random"
        params = parse_section(content, Params, type(self).__name__)
        if mistakes := [*find_mistakes(params, schema)]:
            raise UserError("\n".join(mistakes))
        return params

    def _update_params(self, content: Any) -> None:
        """Change sections of params.yaml to the parameters of this estimator."""
        for key, value in self.get_params(deep=False).items():
            for section in (content["train"], content["evaluate"]):
                if key in section and value is not None:
                    update_section(section, {key: value})

    def _predict(self, X: Any, n_reasons: int = 0) -> pd.DataFrame:
        check_is_fitted(self)
        frame = self._to_frame(X)
        features = frame.drop(columns=[*self.schema_.ignore], errors="ignore")
        return Model(load_once(self._content)).explain(features, n_reasons)


@dataclass(kw_only=True, eq=False, repr=False)
class TabularClassifier(ClassifierMixin, TabularEstimator):
    """Predict classes by networks that are trained as in the pipeline.

    Args:
        class_weight: As in the section `train`.
        threshold: As in the section `evaluate`: how to choose between two classes.

    Attributes:
        classes_: The classes, shape (classes,).
    """

    class_weight: Any = None
    threshold: Any = None

    def predict(self, X: Any) -> np.ndarray:
        """Predict the class of each row.

        Args:
            X: The rows. A frame needs all columns that the model reads, in any order;
                an array needs those of `fit`, in their order.

        Returns:
            Classes of the type of `classes_`, shape (rows,).

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: A column is missing or new, or a cell does not fit its column.
        """
        return self._predict(X)["predicted"].to_numpy(self.classes_.dtype)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probability of each class.

        Args:
            X: The rows, as for `predict`.

        Returns:
            Probabilities in the order of `classes_`, float64, shape (rows, classes).

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: A column is missing or new, or a cell does not fit its column.
        """
        predictions = self._predict(X).filter(regex="^probability_")
        return self._arrange(predictions.to_numpy())


@dataclass(kw_only=True, eq=False, repr=False)
class TabularRegressor(RegressorMixin, TabularEstimator):
    """Predict values by networks that are trained as in the pipeline.

    Args:
        coverage: As in the section `evaluate`: the share of the true values inside of
            the intervals.
    """

    coverage: float | None = None

    def predict(self, X: Any) -> np.ndarray:
        """Predict the value of each row.

        Args:
            X: The rows. A frame needs all columns that the model reads, in any order;
                an array needs those of `fit`, in their order.

        Returns:
            Values in units of the target, float64, shape (rows,).

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: A column is missing or new, or a cell does not fit its column.
        """
        return self._predict(X)["predicted"].to_numpy(np.float64)

    def predict_interval(self, X: Any) -> np.ndarray:
        """Predict an interval for each row, which has the true value with `coverage`.

        Args:
            X: The rows, as for `predict`.

        Returns:
            Both ends in units of the target, float64, shape (rows, 2); NaN if the model
            was trained without folds.

        Raises:
            NotFittedError: `fit` was not called.
            ValueError: A column is missing or new, or a cell does not fit its column.
        """
        predictions = self._predict(X)
        return predictions.reindex(columns=["low", "high"]).to_numpy(np.float64)


def check_classes(y: np.ndarray) -> np.ndarray:
    """Check the classes of all rows, and return them as the schema has them.

    Returns:
        Integers, booleans or texts, shape (rows,).
    """
    if pd.isna(y).any():
        raise UserError("y: expected a class in every row, got a missing value")
    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise UserError(f"y: expected two or more classes, got {np.unique(y)}")
    kind = KINDS_OF_TARGETS.get(y.dtype.kind)
    return y.astype({None: str, "real": int}.get(kind, y.dtype))


def infer_features(frame: pd.DataFrame) -> dict[str, Any]:
    """Infer the schema of features, without a target.

    Integers may be real numbers in other rows, and all values may be missing there.
    """
    with frame_as_file(frame, {}) as file:
        sample = read_sample([file], MAX_ROWS_TO_INFER)
    inferred = infer_columns(sample, target="")
    ask_questions(sample, inferred)
    columns = {}
    questions = []
    for name, column in inferred.items():
        dtype = frame[name].dtype
        if column.questions:
            questions.append(f"{name}: {' '.join(column.questions)}")
        if dtype == "category":
            columns[name] = {"kind": "category", "nullable": True}
        elif not column.is_ignored:
            is_real = column.kind == "integer" or dtype.kind == "f"
            kind = "real" if is_real else column.kind
            columns[name] = column.declare() | {"kind": kind, "nullable": True}
    if questions:
        message = (
            "Questions about the columns. To answer them, write a schema with `python"
            " -m keras_tabular infer-schema`, and pass its path as `schema`:"
        )
        warnings.warn("\n".join([message, *questions]), stacklevel=4)
    ignore = [name for name in frame if name not in columns]
    return {"source": FRAME, "columns": columns, "ignore": ignore}


def update_section(section: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Change keys of a section of params.yaml, and of the sections in it.

    Args:
        changes: The new values, also those of NumPy. Of a section, they are the keys to
            change in it.
    """
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(section.get(key), Mapping):
            update_section(section[key], value)
        else:
            section[key] = value.tolist() if hasattr(value, "tolist") else value


def write_rows(
    folder: Path,
    frame: pd.DataFrame,
    schema: Schema,
    params: Params,
    groups: Any,
) -> np.ndarray:
    """Check the rows, and write them as the stage `split` writes training rows.

    Returns:
        The place of each row in the written rows, shape (rows,).
    """
    with frame_as_file(frame, schema.columns) as file:
        table = pa.concat_tables(parse_files([file], schema))
    table = table.drop_columns(origin_names(table.column_names))
    checks = declared_checks(schema, params.validate)
    failures = []
    for name, check_name, rows in failed_cells(table, schema.columns):
        check = check_of_cell(checks, name, check_name)
        failures.extend(cell_failures(name, check_name, check, rows, table[name]))
    raise_failures(failures, 0, lambda row: f"{FRAME}, row {row}")
    keys = find_fold_keys(table, schema, groups)
    if keys is not None:
        table = table.append_column(FOLD_KEY, pa.array(keys))
    order = np.arange(len(table))
    if len(table) > MAX_ROWS_IN_ORDER:
        order = np.random.default_rng(params.train.seed).permutation(order)
        table = table.take(order)
    size = params.ingest.rows_per_file
    for number, start in enumerate(range(0, len(table), size)):
        write_part(folder, number, table[start : start + size].combine_chunks())
    return np.argsort(order)


def find_fold_keys(table: pa.Table, schema: Schema, groups: Any) -> np.ndarray | None:
    """Return the fold key of each row, see `FOLD_KEY`; None to deal rows one by one."""
    if groups is None:
        if schema.time:
            times = table[schema.time].to_numpy()
            return np.searchsorted(np.sort(times), times) / len(times)
        if not schema.group:
            return None
        groups = table[schema.group].to_pandas()
    keys = column_or_1d(groups)
    return keys if keys.dtype.kind in "iu" else pd.factorize(keys)[0]
