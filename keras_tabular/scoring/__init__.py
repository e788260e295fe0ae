"""Scores of predictions, their intervals and differences, as records; no model is applied here."""
