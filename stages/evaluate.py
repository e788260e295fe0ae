"""Scores of the model beside its baselines, and the data of the plots."""

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pyarrow as pa

from tabular.errors import UserError, listed
from tabular.files import atomic_write, write_json
from tabular.metrics import BASELINES, TASKS, metric, numbers
from tabular.params.evaluate import Choice
from tabular.params.loading import load_params
from tabular.process import run
from tabular.progress import Bar
from tabular.schema import load_schema
from tabular.table.parquet import read_parts, read_rows, write_part

# Of a table, in slices and in pictures of its columns.
MAX_ROWS, MIN_ROWS, MAX_CELLS = 200_000, 1000, 20_000_000
UNDEFINED = "–"


def sentence(scores: dict[str, Any], task: str) -> str:
    """The score that decides with its interval, cross-validated, and those of the baselines."""
    key, names = scores["decides"][0], TASKS[task].baselines
    flat = numbers(scores)

    def shown(of: str, score: str = key) -> str:
        value = flat.get(f"{of}.{score}")
        if value is None:
            return UNDEFINED
        return f"{value:.6g}" if task == "regression" else f"{value:.2%}"

    def crossed(of: str) -> str:
        folds = shown(f"{of}cross_validation")
        return "" if folds == UNDEFINED else f"{' and' if of else ','} {folds} cross-validated"

    low, high = (shown("test", f"{key}_{end}") for end in ("low", "high"))
    constant = names["constant"]
    others = [name for name in names.values() if name != constant]
    return (
        f"{metric(key).label}: {shown('test')} on {scores['test']['rows']} test rows "
        f"(95% interval {low} to {high}){crossed('')}; "
        + ", ".join(
            f"{BASELINES[name]} {shown(f'baseline.{name}')}{crossed(f'baseline.{name}.')}"
            for name in others
        )
        + f", {BASELINES[constant]} {shown(f'baseline.{constant}')}"
    )


def threshold_sentence(threshold: float, scores: dict[str, Any]) -> str:
    """What a threshold that was chosen has come to."""

    def shown(of: dict[str, Any], key: str) -> str:
        return f"{of[key]:.2%}" if key in of else UNDEFINED

    found = [
        f"recall {shown(of, 'recall')}, precision {shown(of, 'precision')}, "
        f"F1 {shown(of, 'f1')} {where}"
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
    add("--tests", type=Path, required=True, help="folder of the other files that are scored")
    add("--oof", type=Path, required=True, help="folder of the out-of-fold predictions")
    add("--metrics", type=Path, required=True, help="JSON file for the scores that decide")
    add("--scores", type=Path, required=True, help="JSON file for all other scores")
    add("--plots", type=Path, required=True, help="folder for the data of the plots")
    add("--slices", type=Path, required=True, help="JSON file for where the model is weak")
    add("--effects", type=Path, required=True, help="JSON file for what each column does")
    add("--columns", type=Path, required=True, help="JSON file for train against test rows")
    add("--errors", type=Path, required=True, help="JSON file for the rows it is most wrong on")
    add("--predictions", type=Path, required=True, help="folder for the outputs of test rows")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", schema=schema)

    for name in params.evaluate.tests:
        if not (args.tests / name).is_file():
            there = listed(sorted(p.name for p in args.tests.glob("[!.]*"))) or "nothing"
            raise UserError(f"evaluate.tests: found {name!r}; {args.tests} has {there}")

    from tabular.evaluation.columns import describe_columns
    from tabular.evaluation.effects import column_effects
    from tabular.evaluation.errors import largest_errors
    from tabular.evaluation.plot_data import times, write_plot_data
    from tabular.evaluation.result import evaluate, interval_scores
    from tabular.evaluation.scores import headline
    from tabular.evaluation.slices import slice_scores
    from tabular.model import saved_model
    from tabular.prediction.labelled import score_file

    model = saved_model.read_model(args.model)
    saved_model.check_model(model, schema)
    threshold, chosen = model.threshold, model.metadata.get("threshold_choice")
    choice = Choice.model_validate(chosen) if chosen else None
    oof, work = pa.concat_tables(read_parts(args.oof)), saved_model.multiply_adds(model.network)
    calibration = model.metadata.get("calibration", {})
    print("Scoring the model and its baselines, then shuffling each column", file=sys.stderr)
    bar = Bar(1)
    result = evaluate(
        *(model.predict, args.split, oof, schema, threshold, choice, work),
        progress=lambda more, column: bar.advance(more, f"importance of {column}"),
        temperature=calibration.get("temperature", 1.0),
    )
    bar.close()
    if model.intervals:
        result.scores["interval"] = interval_scores(result.rows["test"], model.intervals)
    if params.evaluate.tests:
        result.scores["tests"] = {}
    for name in params.evaluate.tests:
        thresholds = result.scores.get("thresholds", {})
        found = score_file(
            args.tests / name, model, schema, params.validate, args.split, thresholds
        )
        for said in found["told"]:
            print(f"warn: {name}: {said}")
        print(f"{name}: {sentence(found, schema.task)}")
        result.scores["tests"][name.partition(".")[0]] = found["test"] | {
            "training_rows": found["training_rows"],
            "baseline": found.get("baseline", {}),
            "paired_difference": found["paired_difference"]["test"],
        }
    test, started = result.rows["test"], time.monotonic()
    rows = max(min(MAX_ROWS, MAX_CELLS // len(schema.columns)), MIN_ROWS)
    train, held_out = (read_rows(args.split / name, rows) for name in ("train", "test"))
    tables = {"cross_validation": train, "test": held_out}
    tables = {name: tables[name][: len(found.y)] for name, found in result.rows.items()}
    important = result.important(schema)
    slices = slice_scores(
        tables, result.rows, schema, result.scores["decides"], important, params.evaluate.slices
    )
    sliced = time.monotonic()
    effects = column_effects(model.predict_members, held_out, schema, important, work)
    moved = time.monotonic()
    columns = describe_columns(train, held_out, schema)
    print(
        f"Weak slices among {slices['looked_at']}: {sliced - started:.1f} s; effects of "
        f"{len(effects['columns'])} columns: {moved - sliced:.1f} s; training and test rows of "
        f"{len(columns)} columns: {time.monotonic() - moved:.1f} s",
        file=sys.stderr,
    )
    write_json(args.slices, slices)
    write_json(args.effects, effects)
    write_json(args.columns, columns)
    write_json(args.errors, {"rows": largest_errors(args.split / "test", test, schema)})
    with atomic_write(args.plots) as folder:
        folder.mkdir()
        costs, when = choice.cost if choice else None, times(args.split / "test", schema)
        write_plot_data(folder, test, result.importance, schema, costs, when)
    with atomic_write(args.predictions) as folder:
        outputs = {f"output_{i}": column for i, column in enumerate(test.outputs.T)}
        write_part(folder, 0, pa.table({"actual": test.y, **outputs}))
    first, rest = headline(result.scores, schema)
    if schema.task == "binary":
        first["threshold"] = threshold
    write_json(args.metrics, first)
    if calibration:
        rest["calibration"] = calibration
    write_json(args.scores, rest | {"repeats": model.metadata.get("repeats")})
    print(sentence(result.scores, schema.task))
    if choice:
        print(threshold_sentence(threshold, result.scores))
    if held := result.scores.get("interval"):
        print(
            f"Intervals of {held['asked']:.0%} hold {held['coverage']:.1%} of the values of test "
            f"rows (95% interval {held['coverage_low']:.1%} to {held['coverage_high']:.1%}); mean "
            f"width {held['mean_width']:.6g}"
        )
    for name in result.scores["classes_not_found"]:
        print(f"warn: recall of {name} is 0: no test row of it is predicted to be of it")


if __name__ == "__main__":
    run(main)
