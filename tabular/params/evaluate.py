"""The section `evaluate`."""

from tabular.typed_yaml import Section, Share


class Evaluate(Section):
    """How probabilities become classes."""

    threshold: Share = 0.5
