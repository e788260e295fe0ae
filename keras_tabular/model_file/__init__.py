"""The file of a trained model: the networks, and all that is needed to use them."""
