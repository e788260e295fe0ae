"""The rows of a table into train, validation and test."""
