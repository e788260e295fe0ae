"""A model behind HTTP: requests, limits, log and counters; rows are predicted in `prediction`."""
