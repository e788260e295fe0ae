"""The search for better values of `train`."""
