"""HTML pages; all numbers come from `runs`, `gate` and `model.drift`."""
