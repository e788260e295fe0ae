"""From raw columns to what the layers of a network read, as Keras layers; labels are in `tasks`."""
