"""The rules of the gate, and the verdict; the scores come from `evaluation`.

The comparison with another run is in `runs.comparison`.
"""
