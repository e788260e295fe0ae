"""The schema reads, the pipeline runs, and the model predicts what was scored."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.table.parquet import part_paths, read_parts

SCHEMA = load_schema()


def run(*command: str) -> str:
    """Run a command and return its output; fail if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Project(unittest.TestCase):
    """The project as it stands, after a run of what has changed."""

    @classmethod
    def setUpClass(cls) -> None:
        run("dvc", "repro")

    def test_params_fit_the_table(self) -> None:
        load_params("train", "evaluate", schema=SCHEMA)
        assert SCHEMA.features

    def test_every_output_is_what_the_lock_file_names(self) -> None:
        assert "up to date" in run("dvc", "status")

    def test_predict_gives_the_predictions_that_were_scored(self) -> None:
        scored = pa.concat_tables(read_parts(Path("data/predictions"))).drop_columns("actual")
        (first, *_) = part_paths(Path("data/split/test"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "predictions.parquet")  # a CSV has the delimiter of the table
            run(sys.executable, "-m", "keras_tabular", "predict", str(first), "-o", str(file))
            predictions = pq.read_table(file)
        prefix = "predicted" if SCHEMA.task == "regression" else "probability_"
        names = [name for name in predictions.column_names if name.startswith(prefix)]
        for name, outputs in zip(names, scored.columns, strict=True):
            expected = outputs.to_numpy()[: len(predictions)]
            np.testing.assert_array_equal(predictions[name].to_numpy(), expected)


if __name__ == "__main__":
    unittest.main()
