"""Search for better parameters of `train`."""
