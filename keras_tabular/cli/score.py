"""Score a model on labelled rows, with intervals and baselines on the same rows."""

import sys
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

from keras_tabular.config.task import Task
from keras_tabular.core.errors import align_columns
from keras_tabular.core.files import write_json
from keras_tabular.evaluation.records import ScoreRow, compare_scores
from keras_tabular.model import files
from keras_tabular.report import formats
from keras_tabular.runs.run import find_evaluation, read_model
from keras_tabular.table.parquet import hash_parts

SPLIT = Path("data/split")  # the baselines learn from its training rows


def main(parser: ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="FILE", type=Path,
        help="also write the scores to this JSON file")  # fmt: skip
    args = files.parse_model_and_rows(parser)
    content = read_model(args.model)
    schema, metadata = files.read_schema(args.model, content)

    from keras_tabular.evaluation.labelled_file import score_file

    evaluation = find_evaluation(content)
    train = SPLIT / "train"
    trained_on = metadata.trained_on
    thresholds = evaluation.baseline_thresholds if evaluation else {}
    has_training_rows = (
        trained_on and train.is_dir() and hash_parts(train) == trained_on.md5
    )
    split = SPLIT if has_training_rows else None
    with files.open_rows(args.rows, schema) as rows:
        from keras_tabular.model.saved_model import (
            load_saved_model,
        )  # starts TensorFlow

        model = load_saved_model(args.model, content)
        file = score_file(
            rows,
            model,
            schema,
            metadata.validate_params,
            split,
            thresholds,
        )
    for warning in file.warnings:
        print(f"warn: {warning}", file=sys.stderr)
    print(f"{file.rows:,} rows of {files.display_path(args.rows).name}")
    task = schema.learning_task
    score_rows = compare_scores(file.scores, {}, {}, task.metrics, file.main_metrics)
    print(align_columns(score_lines(score_rows, task)))
    if not split:
        problem = f"{train} does not contain the training rows of {args.model}"
        print(f"No baselines, because {problem}", file=sys.stderr)
    if args.output:
        scores = [score.model_dump(exclude_none=True) for score in file.scores]
        write_json(args.output, file._asdict() | {"scores": scores})


def score_lines(rows: Mapping[str, ScoreRow], task: Task) -> list[list[str]]:
    """Return a header and a line for each metric.

    The cells of a line are the score of the model, its interval, and for each baseline
    its score and the difference of the model from it.
    """
    lines = [
        [
            "score",
            "model",
            "95% CI",
            *(task.baselines[name] for name in rows["loss"].baselines),
        ],
    ]
    for row in rows.values():
        label = f"{row.label} ({row.average})" if row.average else row.label
        value = formats.format_score(row.model, *row.baselines.values())
        interval = formats.format_ends(row.model.interval if row.model else None)
        cells = [label, value, interval]
        for baseline in row.baselines.values():
            text = formats.format_score(baseline, row.model)
            if baseline and (baseline.difference or row.outcome(baseline) == "same"):
                text += f", {formats.format_difference(row, baseline)}"
            cells.append(text)
        lines.append(cells)
    return lines
