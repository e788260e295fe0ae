"""Explanations of a model: attribution, importance, effects, slices, subgroups, largest errors.

None of them changes a score.
"""
