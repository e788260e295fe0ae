"""Scores of the model beside its baselines, and the data of the plots."""

import json
from argparse import ArgumentParser
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from stages.lib.params import MAIN_SCORE, load_params
from stages.lib.stage import UserError, run, whole, write_json
from stages.lib.table import feature_arrays, labels, read_parts, write_part
from stages.lib.words import BASELINE_WORDS, FINITE, SCORE_WORDS


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the .keras file to score")
    parser.add_argument("split", type=Path, help="folder of the tables train, validation and test")
    parser.add_argument("held_out", type=Path, help="folder of the outputs of the folds' members")
    parser.add_argument("facts", type=Path, help="JSON file on how the training repeats")
    parser.add_argument("metrics", type=Path, help="JSON file for the scores")
    parser.add_argument("plots", type=Path, help="folder for the data of the plots")
    parser.add_argument("predicted", type=Path, help="folder for what the model says of test rows")
    args = parser.parse_args()
    params = load_params()
    data, threshold = params.data, params.evaluate.threshold

    from stages.lib import importance, plots, scores
    from stages.lib.model_file import predict, read_model

    model = read_model(args.model)
    y, predicted = {}, {}
    for name in ("train", "validation", "test"):
        outputs = [
            (labels(part, data)[:, 0], predict(model, feature_arrays(part, data)))
            for part in read_parts(args.split / name)
        ]
        y[name], predicted[name] = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        if count := int((~np.isfinite(predicted[name])).any(axis=1).sum()):
            raise UserError(
                f"{args.split / name}: {count} of {len(y[name])} rows: found no number; "
                f"expected {FINITE}"
            )
    result = {name: scores.score(y[name], predicted[name], data, threshold) for name in y}
    test = result["test"]
    main_score = MAIN_SCORE[data.task]
    low, high = (
        scores.mae_interval(y["test"], predicted["test"][:, 0])
        if data.task == "regression"
        else scores.accuracy_interval(test["accuracy"], test["rows"])
    )
    test |= {f"{main_score}_low": low, f"{main_score}_high": high}

    held_out = [np.column_stack(part.columns) for part in read_parts(args.held_out)]
    if any(map(len, held_out)):
        folds = np.concatenate(held_out)
        result["cross_validation"] = scores.score(y["train"], folds, data, threshold)
        if not len(y["validation"]):  # the folds are what watched the training
            result["validation"] = result["cross_validation"]

    baseline = scores.score_baselines(args.split, data, threshold)
    rises = importance.permutation_importance(
        partial(predict, model), next(read_parts(args.split / "test")), y["test"], data
    )
    with whole(args.plots) as folder:
        folder.mkdir()
        plots.write_plots(folder, y["test"], predicted["test"], rises, data, threshold)
    with whole(args.predicted) as folder:
        columns = {f"output_{i}": column for i, column in enumerate(predicted["test"].T)}
        write_part(folder, 0, pa.table({"actual": y["test"], **columns}))
    facts = json.loads(args.facts.read_text())
    write_json(args.metrics, result | {"baseline": baseline} | facts)

    shown = "{:.6g}" if data.task == "regression" else "{:.2%}"
    others = ", ".join(
        f"{BASELINE_WORDS[name]} {shown.format(found[main_score])}"
        for name, found in baseline.items()
    )
    print(
        f"{SCORE_WORDS[main_score]}: {shown.format(test[main_score])} "
        f"(95% interval {shown.format(low)} to {shown.format(high)}, {others})"
    )


if __name__ == "__main__":
    run(main)
