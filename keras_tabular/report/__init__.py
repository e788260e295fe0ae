"""Pages about a run, from what `experiments` has read; nothing is computed here but pictures."""
