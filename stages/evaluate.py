"""Scores of the model beside its baselines, and the data of the plots."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pyarrow as pa

from tabular.files import atomic_write, write_json
from tabular.metrics import BASELINES, METRICS, TASKS
from tabular.params.evaluate import Choice
from tabular.params.loading import load_params
from tabular.process import run
from tabular.progress import Bar
from tabular.schema import load_schema
from tabular.table.parquet import read_parts, write_part


def sentence(scores: dict[str, Any], task: str) -> str:
    """The main score with its interval, cross-validated, and those of the baselines."""
    main_score, names = TASKS[task].main, TASKS[task].baselines
    number = "{:.6g}" if task == "regression" else "{:.2%}"

    def shown(found: dict[str, Any], key: str = main_score) -> str:
        return number.format(found[key])

    test, folds = scores["test"], scores.get("cross_validation")
    low, high = (shown(test, f"{main_score}_{end}") for end in ("low", "high"))
    baselines = {name: scores["baseline"][name] for name in names.values()}
    constant = baselines.pop(names["constant"])
    return "".join(
        [
            f"{METRICS[main_score].label}: {shown(test)} on {test['rows']} test rows ",
            f"(95% interval {low} to {high})",
            f", {shown(folds)} cross-validated" if folds else "",
            *(
                f"{', ' if number else '; '}{BASELINES[name]} {shown(other)}"
                + (f" and {shown(other['cross_validation'])} cross-validated" if folds else "")
                for number, (name, other) in enumerate(baselines.items())
            ),
            f", {BASELINES[names['constant']]} {shown(constant)}",
        ]
    )


def threshold_sentence(threshold: float, scores: dict[str, Any]) -> str:
    """What a threshold that was chosen has come to."""
    found = [
        f"recall {of['recall']:.2%}, precision {of['precision']:.2%}, F1 {of['f1']:.2%} {where}"
        for where, of in (
            ("on the test rows", scores["test"]),
            ("cross-validated", scores["cross_validation"]),
        )
    ]
    return f"Threshold {threshold:.4f}: {'; '.join(found)}"


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, required=True, help="the .keras file to score")
    add("--split", type=Path, required=True, help="folder of the tables train, validation, test")
    add("--oof", type=Path, required=True, help="folder of the out-of-fold predictions")
    add("--metrics", type=Path, required=True, help="JSON file for the scores that decide")
    add("--scores", type=Path, required=True, help="JSON file for all other scores")
    add("--plots", type=Path, required=True, help="folder for the data of the plots")
    add("--predictions", type=Path, required=True, help="folder for the outputs of test rows")
    args = parser.parse_args()
    schema = load_schema()
    load_params(schema=schema)

    from tabular.evaluation.plot_data import times, write_plot_data
    from tabular.evaluation.result import evaluate
    from tabular.evaluation.scores import headline
    from tabular.model import saved_model

    model = saved_model.read_model(args.model)
    saved_model.check_model(model, schema)
    threshold, chosen = model.threshold, model.metadata.get("threshold_choice")
    choice = Choice.model_validate(chosen) if chosen else None
    oof = pa.concat_tables(read_parts(args.oof))
    print("Scoring the model and its baselines, then shuffling each column", file=sys.stderr)
    bar = Bar(1)
    result = evaluate(
        *(model.predict, args.split, oof, schema, threshold, choice),
        saved_model.multiply_adds(model.network),
        progress=lambda more, column: bar.advance(more, f"importance of {column}"),
    )
    bar.close()
    y, outputs, _ = result.test
    time = times(args.split / "test", schema)
    with atomic_write(args.plots) as folder:
        folder.mkdir()
        write_plot_data(folder, y, outputs, result.importance, schema, threshold, time)
    with atomic_write(args.predictions) as folder:
        columns = {f"output_{i}": column for i, column in enumerate(outputs.T)}
        write_part(folder, 0, pa.table({"actual": y, **columns}))
    first, rest = headline(result.scores, schema)
    if schema.task == "binary":
        first["threshold"] = threshold
    write_json(args.metrics, first)
    write_json(args.scores, rest | {"repeats": model.metadata.get("repeats")})
    print(sentence(result.scores, schema.task))
    if choice:
        print(threshold_sentence(threshold, result.scores))
    if result.ahead:
        print(
            "warn: better than the networks by more than chance: "
            f"{', '.join(BASELINES[name] for name in result.ahead)}; use one of them, or try "
            "another of train.networks, more rows, or python -m commands.search"
        )


if __name__ == "__main__":
    run(main)
