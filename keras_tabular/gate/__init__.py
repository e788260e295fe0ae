"""The rules of the gate, and the verdict; the scores come from `evaluation`."""
