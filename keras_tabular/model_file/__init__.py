"""The `.keras` file of a model and its metadata; how a model is made or explained is elsewhere."""
