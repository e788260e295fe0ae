"""Files, environment and lock file of a project with a table of its own."""
