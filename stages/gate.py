"""The stage `gate` of dvc.yaml."""

import json
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import write_json
from keras_tabular.evaluation.records import read_scores
from keras_tabular.gate.rules import evaluate_gate
from stages import run


def main(metrics: Path, verdict_file: Path) -> None:
    """Check the scores against the rules of `gate` in params.yaml, and give a verdict with reasons.

    Args:
        metrics: Folder of the scores and of networks.json.
        verdict_file: JSON file to write the verdict to.
    """
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)
    networks = json.loads((metrics / "networks.json").read_text("utf-8"))["networks"]
    verdict = evaluate_gate(read_scores(metrics), params, schema, networks)
    write_json(verdict_file, verdict.model_dump(exclude_none=True))
    print(*verdict.lines(), sep="\n")


if __name__ == "__main__":
    run(main)
