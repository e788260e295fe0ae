"""Score a model on labelled rows, with intervals and baselines on the same rows."""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

from keras_tabular.core.errors import align_columns
from keras_tabular.core.files import write_json
from keras_tabular.evaluation.records import ScoreRow, compare_scores
from keras_tabular.model import files
from keras_tabular.report import formats
from keras_tabular.runs.run import find_evaluation, read_model
from keras_tabular.table.parquet import hash_parts
from keras_tabular.tasks.task import Task

SPLIT = Path("data/split")  # baselines learn from its training rows


def main(parser: ArgumentParser) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=Path,
        help="also write the scores to this JSON file",
    )
    args = files.parse_model_and_rows(parser)
    content = read_model(args.model)
    schema, metadata = files.read_schema(args.model, content)

    from keras_tabular.evaluation.labelled_file import score_file

    evaluation = find_evaluation(content)
    train = SPLIT / "train"
    trained_on = metadata.trained_on
    has_training_rows = (
        trained_on is not None
        and train.is_dir()
        and hash_parts(train) == trained_on.md5
    )
    with files.open_rows(args.rows, schema) as rows:
        from keras_tabular.model import saved_model  # starts TensorFlow

        result = score_file(
            rows,
            saved_model.load_saved_model(args.model, content),
            schema,
            metadata.validate_params,
            split=SPLIT if has_training_rows else None,
            thresholds=evaluation.baseline_thresholds if evaluation else {},
        )
    for warning in result.warnings:
        print(f"warn: {warning}", file=sys.stderr)
    print(f"{result.rows:,} rows of {files.display_path(args.rows).name}")
    task = schema.learning_task
    score_rows = compare_scores(
        result.scores,
        base={},
        custom_metrics={},
        keys=task.metrics,
        first=result.main_metrics,
    )
    print(align_columns(score_lines(score_rows, task)))
    if not has_training_rows:
        print(
            f"No baselines, because {train} does not contain the training rows of"
            f" {args.model}",
            file=sys.stderr,
        )
    if args.output:
        scores = [score.model_dump(exclude_none=True) for score in result.scores]
        write_json(args.output, result._asdict() | {"scores": scores})


def score_lines(rows: Mapping[str, ScoreRow], task: Task) -> list[list[str]]:
    """Return a header and a line for each metric.

    The cells of a line are the score of the model, its interval, and for each baseline
    its score and the difference of the model from it.
    """
    baselines = [task.baselines[name] for name in rows["loss"].baselines]
    lines = [["score", "model", "95% CI", *baselines]]
    for row in rows.values():
        label = f"{row.label} ({row.average})" if row.average else row.label
        value = formats.format_score(row.model, *row.baselines.values())
        interval = row.model.interval if row.model else None
        cells = [label, value, formats.format_ends(interval)]
        for baseline in row.baselines.values():
            text = formats.format_score(baseline, row.model)
            if baseline and (baseline.difference or row.outcome(baseline) == "same"):
                text += f", {formats.format_difference(row, baseline)}"
            cells.append(text)
        lines.append(cells)
    return lines
