"""The library of the stages and the commands."""
