"""Score a model on any labelled file: scores, intervals, and the baselines on the same rows."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from tabular.core.errors import align_columns
from tabular.core.files import write_json
from tabular.core.metrics import BASELINES, TASKS, flatten, nested
from tabular.core.process import run
from tabular.prediction.inputs import load_schema_and_params, parse_model_and_rows
from tabular.report.formats import baseline_values, format_difference, format_interval, format_score
from tabular.runs.comparison import compare_scores
from tabular.runs.rerun import last_output
from tabular.runs.run import WORKSPACE, Run


def lines_of(scores: dict[str, Any], task: str) -> list[list[str]]:
    """A header, and a line for each score: the model's with its interval, then the baselines'.

    Under a baseline's score stands by how much the model's differs from it.
    """
    every = {"test": dict.fromkeys(TASKS[task].scores, 0.0)}  # so that an undefined one has a line
    found = list(compare_scores(scores, every, "test", {}).by_key.values())
    names = list(found[0].baselines) if found else []
    lines = [["score", "model", "95% interval", *(BASELINES[name] for name in names)]]
    for score in found:
        label = f"{score.label} ({score.average})" if score.average else score.label
        mine = format_score(score.value, *baseline_values(score))
        cells = [label, mine, format_interval(score.interval)]
        for name in names:
            other = score.baselines[name]
            value = format_score(other.value if other else None, score.value)
            told = other and (other.interval or other.verdict == "same")
            cells.append(f"{value}, {format_difference(other)}" if told else value)
        lines.append(cells)
    return lines


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--split", type=Path, default="data/split", help="folder that the baselines learn from")
    add("--scores", type=Path, default="metrics/scores.json", help="of evaluate, for thresholds")
    add("-o", "--output", type=Path, help="a JSON file for all of it")
    args = parse_model_and_rows(parser, "+")
    content = last_output(args.model)
    schema, params = load_schema_and_params(args.model, content, "validate")
    split = args.split if args.split.is_dir() else None
    thresholds = Run(WORKSPACE).load(args.scores).get("thresholds", {}) if split else {}

    from tabular.evaluation.labelled import score_file
    from tabular.model import saved_model

    model = saved_model.read_model(args.model, content)
    saved_model.check_model(model, schema)
    found = score_file(args.rows, model, schema, params.validate, split, thresholds)
    for said in found["told"]:
        print(f"warn: {said}", file=sys.stderr)
    print(f"{found['test']['rows']:,} rows of {args.rows}")
    print(align_columns(lines_of(found, schema.task)))
    if not split:
        print(f"No {args.split} here, so nothing for baselines to learn from", file=sys.stderr)
    if args.output:
        undefined = dict.fromkeys(TASKS[schema.task].scores)
        write_json(args.output, found | {"test": nested(undefined | dict(flatten(found["test"])))})


if __name__ == "__main__":
    run(main)
