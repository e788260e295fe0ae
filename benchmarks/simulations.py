"""What the simulations have in common: their measurements, schemas and output."""

import sys
from argparse import ArgumentParser
from itertools import chain
from typing import Any, NamedTuple

from keras_tabular.config.schema import Schema
from keras_tabular.tasks.task import Binary, Regression

BINARY = Binary((0, 1))
REGRESSION = Regression()


class Measurement(NamedTuple):
    """A share that was measured in a simulation, and the limit that it has to keep.

    Attributes:
        is_minimum: Whether the share has to be at least the limit, and not at most.
    """

    name: str
    share: float
    limit: float
    is_minimum: bool

    @property
    def is_kept(self) -> bool:
        """Whether the share keeps its limit."""
        return self.share >= self.limit if self.is_minimum else self.share <= self.limit


def at_most(name: str, share: float, limit: float = 1.0) -> Measurement:
    """Return a measurement that has to be at most a limit."""
    return Measurement(name, float(share), limit, is_minimum=False)


def at_least(name: str, share: float, limit: float = 0.0) -> Measurement:
    """Return a measurement that has to be at least a limit."""
    return Measurement(name, float(share), limit, is_minimum=True)


def build_schema(task: str, **columns: dict[str, Any]) -> Schema:
    """Build a schema with a target `y` and some columns, or one real column `x`."""
    content: dict[str, Any] = {"source": "t.csv", "task": task, "target": "y"}
    target: dict[str, Any] = {"kind": "real"}
    if task == "binary":
        content["positive"] = 1
        target = {"kind": "integer", "values": [0, 1]}
    columns = columns or {"x": {"kind": "real"}}
    return Schema.model_validate(content | {"columns": columns | {"y": target}})


def simulate(module: str) -> None:
    """Print the measurements of a script; exit with 1 if one exceeds its limit.

    Args:
        module: Name of the script. Its functions that begin with `measure_` yield
            measurements.
    """
    script = sys.modules[module]
    missed = 0
    ArgumentParser(description=(script.__doc__ or "").partition("\n")[0]).parse_args()
    simulations = [
        each for name, each in vars(script).items() if name.startswith("measure_")
    ]
    for measurement in chain.from_iterable(simulation() for simulation in simulations):
        missed += not measurement.is_kept
        verdict = "pass" if measurement.is_kept else "FAIL"
        limit = (
            f"{'at least' if measurement.is_minimum else 'at most'}"
            f" {measurement.limit:g}"
        )
        print(
            f"{verdict}  {measurement.name:58}{measurement.share:8.3f}  {limit}",
            flush=True,
        )
    if missed:
        sys.exit(f"\n{missed} limits exceeded")
