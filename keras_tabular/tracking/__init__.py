"""Committed runs and models on an MLflow server; DVC and git remain the record."""
