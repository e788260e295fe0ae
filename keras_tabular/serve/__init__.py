"""A model behind HTTP: requests, limits, log, counters and a page."""
