"""Divide the rows of a table into train, validation and test."""
