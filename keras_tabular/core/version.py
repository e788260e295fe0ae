"""The version of this project, in a module that imports nothing."""

VERSION = "0.6.0.dev0"  # also in the models that it writes
