"""Write what a pull request changes, in Markdown: scores, parameters, a rerun."""

from argparse import ArgumentParser
from pathlib import Path

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import load_schema
from keras_tabular.core.files import atomic_write
from keras_tabular.core.metrics import TASKS
from keras_tabular.experiments.comparison import compare
from keras_tabular.experiments.gate import base_of, evaluate_gate
from keras_tabular.experiments.rerun import rerun
from keras_tabular.experiments.run import WORKSPACE, Run, mismatch, resolve
from keras_tabular.report.page import render

MARKER = "<!-- pr-report -->"  # by which CI finds the comment that it wrote before


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("base", help="the revision to compare the workspace with, such as main")
    add("-o", "--output", type=Path, default="pr.md", help="the Markdown to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("gate", "split", "train", schema=schema)

    this, base = Run(WORKSPACE), Run(resolve(args.base))
    evaluation, reason = this.require_evaluation(), mismatch(this, base)
    verdict = evaluate_gate(evaluation, base_of(this, base), params, schema, this.networks)
    comparison = compare(this, None if reason else base, verdict)
    task, head = TASKS[schema.task], resolve("HEAD")
    text = render(
        "pull_request.md",
        comparison,
        marker=MARKER,
        summary_keys={*evaluation.primary_metrics, task.main, task.second, "loss"},
        uncommitted=this.uncommitted,
        not_compared=reason,
        commit=head.label,
        changed_files=rerun(head.commit),
    )
    with atomic_write(args.output) as file:
        file.write_text(text, encoding="utf-8")
    print(f"{args.output}: gate {verdict.verdict}")
