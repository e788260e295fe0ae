"""What a search may try: `search.space` as Optuna's distributions."""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tabular.config.sections import Search
from tabular.config.train import Resolved
from tabular.config.typed_yaml import Section


def as_yaml(value: Any) -> str:
    """A value of `params.yaml` as `dvc exp run -S` reads it."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(map(as_yaml, value))}]"
        case dict():
            return "{" + ",".join(f"{key}:{as_yaml(v)}" for key, v in value.items()) + "}"
        case Section():
            return as_yaml(value.model_dump())
    return str(value)


class Space:
    """The space of a search; Optuna knows a value of a list by its text.

    Attributes:
        distributions: by key.
        present: what `train` has now, as far as it lies in the space.
    """

    def __init__(self, search: Search, train: Resolved) -> None:
        self.distributions: dict[str, BaseDistribution] = {}
        self.present: dict[str, Any] = {}
        self._train = train
        self._values: dict[str, dict[str, Any]] = {}
        for key, candidates in search.space.items():
            limits = [train.changed({key: value}).value(key) for value in candidates.limits]
            now = train.value(key)
            if candidates.values is not None:
                self._values[key] = {as_yaml(value): value for value in limits}
                self.distributions[key] = CategoricalDistribution(tuple(self._values[key]))
                now = as_yaml(now)
                inside = now in self._values[key]
            else:
                kind = IntDistribution if isinstance(limits[0], int) else FloatDistribution
                self.distributions[key] = kind(*limits, log=candidates.log)
                inside = limits[0] <= now <= limits[1]
            if inside:
                self.present[key] = now

    def train(self, params: dict[str, Any]) -> Resolved:
        """`train` with the parameters of a trial: numbers to three digits, for people to read."""
        changes = {}
        for key, value in params.items():
            changes[key] = self._values[key][value] if key in self._values else value
            if isinstance(value, float) and value != self.present.get(key):
                ends = self.distributions[key]
                changes[key] = min(max(float(f"{value:.3g}"), ends.low), ends.high)
        return self._train.changed(changes)
