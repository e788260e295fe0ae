"""What the values of a column look like: profile, bins and summaries; no model is involved."""
