"""Reproducible Keras models for tables.

`load_model` and `infer_schema` do in Python what the commands `predict` and
`infer-schema` do.
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

__all__ = ["Model", "UserError", "__version__", "infer_schema", "load_model"]


def __getattr__(name: str) -> Any:
    """Import the API when it is used first; stages and commands do without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("keras_tabular.api"), name)


def __dir__() -> list[str]:
    return __all__
