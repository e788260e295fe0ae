"""The section `drift`."""

from typing import Literal

from tabular.typed_yaml import Section, Share


class Drift(Section):
    """From where on new rows are no longer as the training rows, and what that does."""

    distance: Share = 0.1
    importance: Share = 0.02
    policy: Literal["error", "warn"] = "error"
