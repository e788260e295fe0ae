"""The `.keras` file of a model, and new rows through it: read, check, predict, drift.

HTTP is in `serve`; scores of labelled rows are in `evaluation`.
"""
