"""Networks: what they read, how they learn, the same bits on every CPU, and stacked networks."""
