"""The version of this project, in a module that imports nothing."""

VERSION = "0.5.0"  # also in the models that it writes
