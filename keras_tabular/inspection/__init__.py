"""Explanations of a model: attribution, importance, effects, slices, largest errors.

None of them changes a score.
"""
