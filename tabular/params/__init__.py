"""`params.yaml`: a typed section in each module, and the checks of the whole file."""
