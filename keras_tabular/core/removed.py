"""What has left the library, and what replaces it."""

REMOVED_IN = "0.8.0"
# By the name of a command, or of a key of params.yaml or of data/schema.yaml.
REPLACEMENTS: dict[str, str] = {}
