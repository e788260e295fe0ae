"""The section `search`."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from tabular.typed_yaml import Count, Section, Seed


class Candidates(Section):
    """What a search tries for one key of `train`: a list of values, or all from `low` to `high`."""

    values: tuple[Any, ...] | None = None
    low: int | float | None = None
    high: int | float | None = None
    log: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_a_list(cls, found: Any) -> Any:
        if not isinstance(found, list | tuple | dict):
            raise ValueError("expected a list of values, or low and high")
        return {"values": found} if isinstance(found, list | tuple) else found

    @model_validator(mode="after")
    def _one_way_or_the_other(self) -> Self:
        if (self.values is None) != (self.low is not None and self.high is not None):
            raise ValueError("expected a list of values, or low and high")
        if self.values is not None and (not self.values or self.low is not None or self.log):
            raise ValueError("expected a list of one value or more, without low, high and log")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError("expected low below high")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError("expected low above 0 where log is true")
        return self

    @property
    def limits(self) -> tuple[Any, ...]:
        """All values of a list; the two ends of a range."""
        return (self.low, self.high) if self.values is None else self.values


class Search(Section):
    """What a search tries, and by which score it chooses."""

    trials: Count = 30
    round: Count = 1
    seed: Seed = 1
    score: str = "loss"
    folds: Annotated[int, Field(strict=True, ge=2)] | None = None
    space: dict[str, Candidates]
