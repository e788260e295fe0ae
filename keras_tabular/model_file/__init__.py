"""The file of a trained model: its networks, and everything that is needed to use them."""
