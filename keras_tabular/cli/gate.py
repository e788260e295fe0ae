"""Check scores against the rules of the gate, and compare them with another run."""

import sys
from argparse import ArgumentParser

from keras_tabular.config.params import load_settings
from keras_tabular.gate.rules import evaluate_gate
from keras_tabular.runs.comparison import compare_with_base
from keras_tabular.runs.run import WORKSPACE, Run, base_run


def main(parser: ArgumentParser) -> None:
    parser.add_argument(
        "base",
        nargs="?",
        help="the revision to compare with; else gate.base",
    )
    parser.add_argument(
        "--fail-on",
        choices=("fail", "undecided"),
        default="fail",
        help="exit with 1 then",
    )
    args = parser.parse_args()
    schema, params = load_settings("gate")
    run = Run(WORKSPACE)
    base = Run(args.base) if args.base else base_run(run, params.gate.base)
    verdict = evaluate_gate(run.require_evaluation(), params.gate, schema.learning_task)
    verdict = compare_with_base(verdict, run, base, params.gate)
    print(*verdict.lines(), sep="\n")
    if verdict.status in ("fail", args.fail_on):
        sys.exit(1)
