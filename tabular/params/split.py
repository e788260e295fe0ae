"""The section `split`."""

from typing import Annotated, Literal

from pydantic import Field

from tabular.typed_yaml import Section, Seed, Share


class Split(Section):
    """How the rows are parted: by what, the shares, and the seed of a draw or a hash."""

    by: Literal["random", "hash", "group", "time", "column"] = "random"
    test_size: Share
    validation_size: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    stratify: bool = False
