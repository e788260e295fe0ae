"""The way from raw columns to what the layers of a network read; labels are in `tasks`."""
