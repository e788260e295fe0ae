"""Where a model is weak, and what each column does to its answers."""
