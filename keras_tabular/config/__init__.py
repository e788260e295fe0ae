"""`params.yaml` and `data/schema.yaml`, typed and checked."""
