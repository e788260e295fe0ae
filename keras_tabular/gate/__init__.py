"""The rules of the gate, the verdict, and its words; the scores come from `evaluation`."""
