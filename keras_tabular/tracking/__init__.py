"""Logs committed runs and their models to MLflow."""
