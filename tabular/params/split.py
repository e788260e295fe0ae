"""The section `split`."""

from typing import Annotated, Literal

from pydantic import Field

from tabular.typed_yaml import Section, Seed, Share


class Split(Section):
    """How the rows are parted: by what, the shares, and the seed of a draw or a hash."""

    by: Literal["random", "hash", "group", "time", "column", "file"] = "random"
    test_size: Share
    validation_size: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    stratify: bool = False

    @property
    def role(self) -> str | None:
        """The key of the schema that names the column of the rule; None where it needs none."""
        return {"group": "group", "time": "time", "column": "split"}.get(self.by)
