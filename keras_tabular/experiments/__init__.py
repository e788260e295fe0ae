"""Runs: what the revisions of the project hold, compared and judged."""
