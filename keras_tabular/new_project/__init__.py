"""Projects with a table of their own: create and upgrade."""
