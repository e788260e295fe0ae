"""Write a Markdown comment on a pull request: the gate, scores, changes, and a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.experiments.comparison import Comparison
from keras_tabular.experiments.gate import compare_with_base, evaluate_gate, make_base
from keras_tabular.experiments.rerun import rerun
from keras_tabular.experiments.run import WORKSPACE, Run, mismatch
from keras_tabular.report.page import render


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", help="the revision to compare with, such as main")
    add("-o", "--output", type=Path, default="pr.md", help="the Markdown file to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)

    this, base = Run(WORKSPACE), Run(args.base)
    evaluation, reason = this.require_evaluation(), mismatch(this, base)
    verdict = evaluate_gate(evaluation, params, schema, this.networks)
    limits = params.gate.worse_than_last
    verdict = compare_with_base(verdict, evaluation, make_base(this, base), limits)
    task, head = schema.learning_task, Run("HEAD")
    text = render(
        "pull_request.md",
        Comparison(this, None if reason else base, verdict),
        summary_metrics={*evaluation.primary_metrics, task.main_metric, task.second_metric, "loss"},
        not_compared=reason,
        commit=head.label,
        changed_files=rerun(head.sha),
    )
    with atomic_write(args.output) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.output}: gate {verdict.status}")
