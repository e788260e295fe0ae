"""Runs of the pipeline in different revisions: their comparison, and the verdict of the gate."""
