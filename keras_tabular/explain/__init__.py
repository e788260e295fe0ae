"""Explanations of a model: importance, effects, and where the errors are larger.

None of them changes a score of the test rows. The reasons for a single prediction are
in `network.attribution`.
"""
