"""Reproducible Keras models for tables.

`load_model` and `infer_schema` do in Python what the commands `predict` and
`infer-schema` do. `TabularClassifier` and `TabularRegressor` train as the pipeline
does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_tabular.api import (
        Model,
        UserError,
        __version__,
        infer_schema,
        load_model,
    )
    from keras_tabular.estimator import TabularClassifier, TabularRegressor

__all__ = [
    "Model",
    "TabularClassifier",
    "TabularRegressor",
    "UserError",
    "__version__",
    "infer_schema",
    "load_model",
]


def __getattr__(name: str) -> Any:
    """Import the API when it is used first; stages and commands do without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "estimator" if name.startswith("Tabular") else "api"
    return getattr(import_module(f"keras_tabular.{module}"), name)


def __dir__() -> list[str]:
    return __all__
