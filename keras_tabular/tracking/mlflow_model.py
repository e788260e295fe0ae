"""The model of a run in MLflow, which contains a copy of this file and of the library."""

from typing import Any

import mlflow.pyfunc
import pandas as pd

from keras_tabular.api import load_model


class TabularModel(mlflow.pyfunc.PythonModel):
    """A model that predicts data frames of raw rows as the command `predict` does with files."""

    def load_context(self, context: Any) -> None:
        """Load the .keras file."""
        self.model = load_model(context.artifacts["model"])

    def predict(self, context: Any, model_input: pd.DataFrame) -> pd.DataFrame:
        """Check and predict rows."""
        return self.model.predict(model_input)


mlflow.models.set_model(TabularModel())
