"""The model: from the columns of a table to one trained and saved Keras file."""
