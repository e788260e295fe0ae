"""The pipeline runs, and the saved model makes the predictions that were scored."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import load_schema
from keras_tabular.table.parquet import part_paths, read_parts


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
        scored = pa.concat_tables(read_parts(Path("data/predictions"))).drop_columns("actual")
        (first_part, *_) = part_paths(Path("data/split/test"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "predictions.parquet")  # a CSV has the delimiter of the table
            command = ("-m", "keras_tabular", "predict", str(first_part), "-o", str(file))
            run(sys.executable, *command)
            predictions = pq.read_table(file)
        prefix = "predicted" if load_schema().task == "regression" else "probability_"
        names = [name for name in predictions.column_names if name.startswith(prefix)]
        for name, outputs in zip(names, scored.columns, strict=True):
            expected = outputs.to_numpy()[: len(predictions)]
            np.testing.assert_array_equal(predictions[name].to_numpy(), expected)


if __name__ == "__main__":
    unittest.main()
