"""The section `split`."""

from typing import Annotated

from pydantic import Field

from tabular.typed_yaml import Section, Seed, Share


class Split(Section):
    """Shares and seed of scikit-learn's `train_test_split`."""

    test_size: Share
    validation_size: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    stratify: bool = False
