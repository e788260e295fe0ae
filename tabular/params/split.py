"""The section `split`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from tabular.schema import Schema
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


def not_heeded(split: Split, schema: Schema) -> Iterator[str]:
    """What the schema says of the rows and the rule of the split leaves aside."""
    declared = {
        "group": (("group", "column", "file"), "rows of one group may be on both sides"),
        "time": (("time", "column", "file"), "earlier rows are tested by later ones"),
        "split": (("column",), "its shares are mixed"),
        "test_files": (("file",), "their rows are mixed with the others"),
    }
    for key, (rules, then) in declared.items():
        if getattr(schema, key) and split.by not in rules:
            yield f"data/schema.yaml has {key}, and split.by is {split.by}: {then}"
