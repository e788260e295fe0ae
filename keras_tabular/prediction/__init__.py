"""New rows through a model: read, check, predict, drift; HTTP is in `serving`."""
