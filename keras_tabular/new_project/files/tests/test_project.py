"""The pipeline runs, and the saved model makes the predictions that were scored."""

import subprocess
import unittest

import numpy as np
import pandas as pd

import keras_tabular


class TestProject(unittest.TestCase):
    """Tests of the project after `dvc repro`."""

    @classmethod
    def setUpClass(cls) -> None:
        subprocess.run(["dvc", "repro"], check=True)

    def test_outputs_are_those_in_the_lock_file(self) -> None:
        assert "up to date" in subprocess.check_output(["dvc", "status"], text=True)

    def test_model_makes_the_predictions_that_were_scored(self) -> None:
        model = keras_tabular.load_model("models/model.keras")
        test_rows = pd.read_parquet("data/split/test")
        predictions = model.predict(test_rows[[*model.schema.features]])
        scored = pd.read_parquet("data/predictions")
        for name in predictions.columns:
            np.testing.assert_array_equal(predictions[name], scored[name])


if __name__ == "__main__":
    unittest.main()
