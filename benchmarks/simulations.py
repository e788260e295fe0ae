"""Measure how often the statements of the program are true, in simulated tables.

The other modules that this one names have the simulations. They draw rows of every kind
that the reader of a statement may have, see `benchmarks.rows`. The output is a table
for each module: of each statement and family of kinds, it shows the worst share of all
kinds, numbers of rows and metrics. Below it, there is a line for each share that misses
its limit, and the exit code is then 1. The figures in benchmarks/EVIDENCE.md are from
this script, which takes about ten minutes with two cores.

    python -m benchmarks.simulations
    python -m benchmarks.simulations drift leaks
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from keras_tabular.config.schema import Schema

MODULES = (
    "intervals",
    "trainings",
    "verdicts",
    "gate_warnings",
    "repeats",
    "thresholds",
    "leaks",
    "drift",
)
DRAWS = 400
PROCESSES = 2


class Measurement(NamedTuple):
    """A share that was measured in a simulation, and the limit that it has to keep.

    Attributes:
        claim: The statement of a page, the line of the table.
        family: Column of the table.
        where: Kind of rows, number of rows and metric.
        limit: None if the page does not claim anything.
        is_minimum: Whether the share should be large, and not small.
    """

    claim: str
    family: str
    where: str
    share: float
    limit: float | None = None
    is_minimum: bool = False

    def is_kept(self, draws: int) -> bool:
        """Check whether the share keeps its limit within two standard errors."""
        if self.limit is None:
            return True
        excess = self.limit - self.share if self.is_minimum else self.share - self.limit
        return excess <= 2 * (self.limit * (1 - self.limit) / draws) ** 0.5


Simulation = Callable[[str, int], Iterator[Measurement]]
# The simulations of a module, with the names of the kinds of rows that they draw.
Simulations = Mapping[Simulation, Sequence[str]]


def build_schema(task: str, **columns: dict[str, Any]) -> Schema:
    """Build a schema with a target `y` and some columns, or one real column `x`."""
    content: dict[str, Any] = {"source": "t.csv", "task": task, "target": "y"}
    target: dict[str, Any] = {"kind": "real"}
    if task == "binary":
        content["positive"] = 1
        target = {"kind": "integer", "values": [0, 1]}
    columns = columns or {"x": {"kind": "real"}}
    return Schema.model_validate(content | {"columns": columns | {"y": target}})


def run(task: tuple[Simulation, str], draws: int) -> list[Measurement]:
    """Run a simulation for a kind of rows."""
    simulation, kind = task
    return list(simulation(kind, draws))


def format_table(measurements: Sequence[Measurement]) -> str:
    """Format a table with the worst share of each claim and family."""
    families = [*dict.fromkeys(each.family for each in measurements)]
    lines = [["claim", *families], ["---"] * (len(families) + 1)]
    for claim in dict.fromkeys(each.claim for each in measurements):
        cells = [claim]
        for family in families:
            of_cell = [
                m for m in measurements if (m.claim, m.family) == (claim, family)
            ]
            shares = [each.share for each in of_cell]
            if shares:
                worst = min(shares) if of_cell[0].is_minimum else max(shares)
                cells.append(f"{worst:.3f}")
            else:
                cells.append("")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=MODULES, metavar="MODULE")
    parser.add_argument("--draws", type=int, default=DRAWS, metavar="N")
    args = parser.parse_args()
    missed = 0
    with ProcessPoolExecutor(PROCESSES) as pool:
        pending = {}
        for name in args.modules:
            module = import_module(f"benchmarks.{name}")
            tasks = [(s, k) for s, kinds in module.SIMULATIONS.items() for k in kinds]
            pending[name] = pool.map(partial(run, draws=args.draws), tasks)
        for name, results in pending.items():
            measurements = [each for result in results for each in result]
            print(f"\n{name}\n\n{format_table(measurements)}\n", flush=True)
            for each in measurements:
                if not each.is_kept(args.draws):
                    missed += 1
                    sign = "<" if each.is_minimum else ">"
                    where = f"{each.claim}: {each.where}"
                    print(f"FAIL  {where}: {each.share:.3f} {sign} {each.limit:g}")
    if missed:
        sys.exit(f"\n{missed} limits missed")


if __name__ == "__main__":
    main()
