"""Inspection of a model: weak slices, largest errors, importance and effects of columns."""
