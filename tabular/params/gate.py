"""The section `gate`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from tabular.metrics import flatten
from tabular.typed_yaml import Section


def _by_dotted_key(limits: Any) -> Any:
    """`{test: {accuracy: 0.7}}` as `{test.accuracy: 0.7}`."""
    return dict(flatten(limits)) if isinstance(limits, dict) else limits


Limits = Annotated[dict[str, float], BeforeValidator(_by_dotted_key)]


class Gate(Section):
    """What a run has to hold to be accepted; the limits are by key of the metrics."""

    lowest: Limits = Field(default_factory=dict)
    highest: Limits = Field(default_factory=dict)
    worse_than_last: Limits = Field(default_factory=dict)
    beat_baselines: tuple[Literal["constant", "linear", "boosted"], ...] = ()
