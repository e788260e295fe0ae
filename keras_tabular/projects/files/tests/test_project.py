"""The pipeline runs, and the saved model makes the predictions that were scored."""

import subprocess
import unittest

import numpy as np
import pandas as pd

import keras_tabular


def run(*command: str) -> str:
    """Run a command and return its output. Raise an error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class TestProject(unittest.TestCase):
    """Tests of the project after `dvc repro`."""

    @classmethod
    def setUpClass(cls) -> None:
        run("dvc", "repro")

    def test_outputs_are_those_in_the_lock_file(self) -> None:
        assert "up to date" in run("dvc", "status")

    def test_model_makes_the_predictions_that_were_scored(self) -> None:
        model = keras_tabular.load_model("models/model.keras")
        predictions = model.predict(pd.read_parquet("data/split/test"), ignore_extra=True)
        if model.schema.task == "regression":
            outputs = predictions[["predicted"]]
        else:
            outputs = predictions.filter(regex="^probability_")
        scored = pd.read_parquet("data/predictions").drop(columns="actual")
        np.testing.assert_array_equal(outputs, scored)


if __name__ == "__main__":
    unittest.main()
