"""A verdict on the run, with the reason for each rule of `evaluate.gate`."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path

from stages.lib.gate import judge, run_at, run_before
from stages.lib.params import PARAMS, load_params
from stages.lib.stage import UserError, run, write_json


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("metrics", type=Path, help="JSON file of the scores")
    parser.add_argument("verdict", type=Path, nargs="?", help="JSON file to write the verdict to")
    parser.add_argument("--against", metavar="REV", help="compare with this revision's run")
    parser.add_argument("--fail", action="store_true", help="exit with 1 when the run fails")
    args = parser.parse_args()
    params = load_params()
    data, gate = params.data, params.evaluate.gate

    try:
        metrics = json.loads(args.metrics.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{args.metrics}: {error.strerror}; `dvc repro` writes it") from None
    except ValueError as error:
        raise UserError(f"{args.metrics}: not JSON: {error}; `dvc repro` writes it anew") from None
    last = (
        run_at(args.against, args.metrics, PARAMS, data)
        if args.against
        else run_before(args.metrics, PARAMS, data)
    )
    verdict = judge(metrics, last, gate, data)
    if args.verdict:
        write_json(args.verdict, verdict)
    for check in verdict["checks"]:
        print(f"{check['verdict']}: {check['reason']}")
    print(f"Gate: {verdict['verdict']}")
    if args.fail and verdict["verdict"] == "fail":
        sys.exit(1)


if __name__ == "__main__":
    run(main)
