"""Score one small network by cross-validation, as a first look at a table.

The command runs the stages in a temporary folder, with fewer networks and folds. It
scores no test row, and changes no file of the project.
"""

import shutil
import sys
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path

from keras_tabular.config.params import load_settings
from keras_tabular.core.typed_yaml import read_yaml
from keras_tabular.evaluation.summary import format_scores
from keras_tabular.model.files import scratch_folder
from keras_tabular.runs.repeat import train_and_evaluate

CONCLUSION = """\
This is a first look by one small network and three folds, which also decided how long
to train: the scores are a little too good. `make repro` trains all networks, and scores
them on the test rows."""


def main(parser: ArgumentParser) -> None:
    parser.parse_args()
    schema, params = load_settings("drift", "evaluate", "train", "validate")
    networks = list(params.train.networks)
    network = "plain" if "plain" in networks else networks[0]
    small = {"members": [{"network": network}], "folds": 3, "forward_chaining": 0}
    sys.path.insert(0, str(Path.cwd()))  # where `keras-tabular` does not look
    with scratch_folder() as folder:
        stages = read_yaml(Path("dvc.yaml"))["stages"]
        for stage in ("ingest", "validate", "split"):
            _, _, module, *paths = stages[stage]["cmd"].split()
            import_module(module).main([f"{folder}/{path}" for path in paths])
        data = Path(folder, "data")
        # The training rows replace the test rows. Their scores are not shown.
        shutil.rmtree(data / "split/test")
        shutil.copytree(data / "split/train", data / "split/test")
        evaluation = train_and_evaluate(
            data,
            schema,
            params,
            params.train.with_values(small),
        )
    for key in evaluation.main_metrics[:2]:
        print(format_scores(evaluation, schema.learning_task, key, "cross_validation"))
    print(CONCLUSION)
