"""New rows through a trained model."""
